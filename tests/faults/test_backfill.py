"""A backfill: what another model has scored is scored again, and a kill in between loses nothing."""

import itertools
import json
import os
import shutil
from datetime import UTC, datetime, timedelta, timezone

import pytest
import tiny_bundles
from inboxes import KILLED, Inbox, job_starter


@pytest.fixture(scope="module")
def starter():
    with job_starter() as one:
        yield one


def test_backfill_scores_what_another_model_has_scored_since_a_date(inbox):
    for seed, name in enumerate(("old", "new", "touched", "late")):
        inbox.put(f"{name}.parquet", 3, seed=seed, bad=(0,))
    inbox.put_bytes("garbage.parquet", b"garbage")
    first = inbox.score()
    (marker,) = (inbox.root / "predictions/_scored").glob("old.parquet@*")
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"when": "2020-01-01T00:00:00+00:00"}))
    since = datetime(2020, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    assert inbox.score(since=since).counts()["known"] == 5  # the model is the same

    os.utime(inbox.root / "inbox/touched.parquet")
    after, other = since + timedelta(seconds=1), str(tiny_bundles.digits(inbox.root / "other", "other"))
    assert inbox.score(model=other).counts()["known"] == 5  # without being asked, no job scores again
    os.utime(inbox.root / "inbox/touched.parquet")
    report = inbox.score(since=after, model=other)
    states = {one.file: one.state for one in report.files}
    assert states == {f"{name}.parquet": "scored" for name in ("new", "touched", "late")} | {
        "old.parquet": "known",
        "garbage.parquet": "rejected",
    }
    again = {report.model_version}
    versions = {f"{name}.parquet.parquet": again for name in ("new", "touched", "late")}
    assert inbox.versions() == versions | {"old.parquet.parquet": {first.model_version}}
    assert inbox.ids("predictions") == [1, 2, 1001, 1002, 2001, 2002, 3001, 3002]
    assert inbox.ids("quarantine") == [0, 1000, 2000, 3000]
    assert inbox.score(since=since, model=other).of("scored")[0].file == "old.parquet"
    assert inbox.score(since=since, model=other).counts()["known"] == len(inbox.markers()) == 5


@pytest.mark.parametrize("resumed", [True, False], ids=["resumed", "left to the next job"])
def test_killed_backfill(tmp_path, starter, resumed):
    """Between steps, with three files. Each file's predictions are whole all the time, old or new, and in the end new
    if the backfill is run again; otherwise, the next job scores at most the file that was worked on."""
    inbox, since = Inbox(tmp_path), datetime(2020, 1, 1, tzinfo=UTC)
    old, new = (str(tiny_bundles.digits(tmp_path / name, name)) for name in ("old", "new"))
    names = [f"{name}.parquet" for name in "abc"]
    for seed, name in enumerate(names):
        inbox.put(name, 4, seed=seed, bad=(1,))
    ids = [1000 * seed + row for seed in range(3) for row in (0, 2, 3)]
    for step in itertools.count(1, 4 if resumed else 7):
        for place in ("predictions", "quarantine"):
            shutil.rmtree(tmp_path / place, ignore_errors=True)
        inbox.score(model=old)
        starter.start(inbox, kill_at=step, since=since, model=new)
        status = starter.wait()
        assert status in (0, KILLED)
        assert inbox.ids("predictions") == ids, f"step {step}"
        written = [one.partition("@")[0] for (one,) in inbox.versions().values()]
        assert written == sorted(written), f"step {step}"  # `new` up to some file
        counts = inbox.score(since=since if resumed else None, model=new).counts()
        assert counts["scored"] + counts["known"] == len(inbox.markers()) == 3
        if resumed:
            assert {version.partition("@")[0] for (version,) in inbox.versions().values()} == {"new"}
        else:
            assert counts["scored"] <= 1
        assert (inbox.ids("predictions"), inbox.ids("quarantine")) == (ids, [1, 1001, 2001])
        if not status:
            assert step > 12
            return
