"""What a scoring job does with an inbox: each row of each file is scored once, and nothing is lost."""

import json
import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sql
import tiny_bundles
from filelock import FileLock
from inboxes import Inbox

from unroll.errors import BundleError, DataError, ParameterError, UnrollError
from unroll.files import sha256_of
from unroll.inference.scorer import Scorer
from unroll.scoring import job, places
from unroll.scoring.job import Model, score_inbox
from unroll.scoring.ledger import Claim, Entry, Ledger


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    tiny_bundles.digits(tmp_path / "bundle")
    (tmp_path / "inbox").mkdir()
    return Inbox(tmp_path)


def ledger_of(inbox: Inbox) -> list[dict[str, object]]:
    engine = sql.create_engine(inbox.ledger_url)
    with engine.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(sql.text("SELECT * FROM scored_files ORDER BY path"))]


def test_new_files_are_scored_once_and_stay(inbox: Inbox) -> None:
    inbox.put("a.parquet", 5)
    inbox.put("day=2026-01-01/part-0.parquet", 3, seed=1)
    report = inbox.score()
    sha = sha256_of(inbox.root / "inbox/a.parquet")
    assert [(one.file, one.rows_in, one.rows_scored) for one in report.of("scored")] == [
        ("a.parquet", 5, 5),
        ("day=2026-01-01/part-0.parquet", 3, 3),
    ]
    assert re.fullmatch(
        rf"{inbox.root}/predictions/scored_on=\d{{4}}-\d\d-\d\d/a-{sha[:8]}\.parquet", report.files[0].output or ""
    )
    assert inbox.names("predictions")[1].startswith("day=2026-01-01/part-0-")
    about = json.loads(pq.read_schema(report.files[0].output).metadata[b"unroll"])
    assert (about["source"], about["source_sha256"]) == ("a.parquet", sha)
    assert inbox.ids("predictions") == [0, 1, 2, 3, 4, 1000, 1001, 1002]
    again = inbox.score()
    assert (again.totals.scored, again.totals.known, again.lines()) == (0, 2, [])
    assert inbox.names("inbox") == ["a.parquet", "day=2026-01-01/part-0.parquet"]


def test_the_ledger_and_every_output_tell_the_registered_model(inbox: Inbox) -> None:
    inbox.put("a.parquet", 4, bad=(1,))
    registered = {"name": "digit-rows", "version": "3", "run_id": "r1"}
    asked: list[str] = []

    def resolve(address: str) -> Model:
        asked.append(address)
        return Model(inbox.root / "bundle", registered)

    report = score_inbox(
        inbox.scoring(model="models:/digit-rows@champion"), resolve=resolve, ledger_url=inbox.ledger_url
    )
    assert asked == ["models:/digit-rows@champion"]
    assert "digit-rows version 3" in report.summary()
    for place in ("predictions", "quarantine"):
        table = inbox.table(place, ".parquet")
        assert json.loads(table.schema.metadata[b"unroll"])["registered"] == registered
    assert set(inbox.table("predictions", ".parquet")["model_version"].to_pylist()) == {report.model_version}
    (row,) = ledger_of(inbox)
    wanted = {
        "path": "a.parquet", "state": "done", "registered_name": "digit-rows", "registered_version": "3", "rows_in": 4,
        "rows_scored": 3, "rows_quarantined": 1, "model_version": report.model_version,
    }  # fmt: skip
    assert wanted.items() <= row.items()
    assert row["size"] == (inbox.root / "inbox/a.parquet").stat().st_size


def test_an_empty_inbox_is_made_and_fine(inbox: Inbox) -> None:
    (inbox.root / "inbox").rmdir()
    report = inbox.score()
    assert report.files == ()
    assert report.model_version.startswith("tiny-digits@")


def test_the_same_bytes_put_again_are_not_scored_again(inbox: Inbox) -> None:
    content = inbox.put("a.parquet", 5)
    output = Path(inbox.score().files[0].output or "")
    before = output.stat()
    (inbox.root / "inbox/a.parquet").unlink()
    inbox.put_bytes("a.parquet", content)
    for _ in range(2):
        assert [one.state for one in inbox.score().files] == ["known"]
    assert output.stat().st_mtime_ns == before.st_mtime_ns


def test_what_is_known_is_not_read_again(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox.put("a.parquet", 5)
    inbox.score()
    monkeypatch.setattr(places, "sha256_of", lambda _: pytest.fail("the file was read"))
    assert inbox.score().totals.known == 1


def test_another_model_does_not_score_again(inbox: Inbox) -> None:
    inbox.put("a.parquet", 5)
    inbox.score()
    tiny_bundles.digits(inbox.root / "other", name="other")
    assert inbox.score(model=str(inbox.root / "other")).totals.known == 1


def test_changed_content_takes_the_place_of_the_old(inbox: Inbox) -> None:
    inbox.put("a.parquet", 5, bad=(0,))
    inbox.score()
    inbox.put("a.parquet", 4, seed=2)
    assert inbox.score().files[0].rows_scored == 4
    assert inbox.ids("predictions") == [2000, 2001, 2002, 2003]
    assert inbox.names("quarantine") == []
    assert inbox.ids("superseded") == [0, 1, 2, 3, 4]
    assert sorted(row["state"] for row in ledger_of(inbox)) == ["done", "superseded"]
    # And back again: the old content is new once more.
    inbox.put("a.parquet", 5, bad=(0,))
    inbox.score()
    assert inbox.ids("predictions") + inbox.ids("quarantine") == [1, 2, 3, 4, 0]
    assert inbox.ids("superseded") == [0, 1, 2, 3, 4, 2000, 2001, 2002, 2003]


def test_content_that_turns_bad_leaves_the_old_predictions(inbox: Inbox) -> None:
    inbox.put("a.parquet", 3)
    inbox.score()
    inbox.put_bytes("a.parquet", b"garbage")
    assert inbox.score().totals.rejected == 1
    assert inbox.ids("predictions") == [0, 1, 2]


def test_equal_content_under_two_names_gives_two_outputs(inbox: Inbox) -> None:
    content = inbox.put("a.parquet", 2)
    for name in ("a.pq", "a.PQ", "b.parquet", "sub/a.parquet"):
        inbox.put_bytes(name, content)
    assert len({one.output for one in inbox.score().of("scored")}) == 5
    assert inbox.ids("predictions") == sorted([0, 1] * 5)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("bad.parquet", b"this is no parquet file", "is no Parquet: it starts with b'this'"),
        ("bad.parquet", b"", r"bad\.parquet is empty"),
        ("bad.parquet", b"PAR1PAR1", "cannot be read"),
        ("bad.csv", b"a,b\n1,2\n", "expected 784 pixel columns"),
        ("bad.docx", b"PK\x03\x04", "no Parquet, no IDX"),
        ("labels", b"\x00\x00\x08\x01\x00\x00\x00\x00", "labels"),
    ],
)
def test_what_cannot_be_scored_is_set_aside_with_the_reason(
    inbox: Inbox, name: str, content: bytes, reason: str
) -> None:
    inbox.put("a.parquet", 2)
    inbox.put_bytes(f"day=1/{name}", content)
    inbox.put("z.parquet", 2, seed=1)
    report = inbox.score()
    assert [one.file for one in report.of("scored")] == ["a.parquet", "z.parquet"]
    assert [one.file for one in report.of("rejected")] == [f"day=1/{name}"]
    assert inbox.names("inbox") == ["a.parquet", "z.parquet"]
    assert inbox.names("quarantine") == [f"day=1/{name}", f"day=1/{name}.reason.json"]
    assert inbox.content("quarantine", name) == content
    note = json.loads(inbox.content("quarantine", ".reason.json"))
    assert note["file"] == f"day=1/{name}"
    assert note["reason"] == report.of("rejected")[0].reason
    assert "put it into the inbox again" in note["what_to_do"]
    assert re.search(reason, note["reason"])


def test_a_truncated_file_is_rejected_whole(inbox: Inbox) -> None:
    content = inbox.put("a.parquet", 400)
    inbox.put_bytes("a.parquet", content[: len(content) // 2])
    inbox.put("b.parquet", 2, seed=1)
    report = inbox.score()
    assert [one.file for one in report.of("rejected")] == ["a.parquet"]
    assert inbox.ids("predictions") == [1000, 1001]
    inbox.put_bytes("a.parquet", content)  # mended
    inbox.score()
    assert inbox.ids("predictions") == [*range(400), 1000, 1001]


def test_two_bad_files_of_one_name_are_both_kept(inbox: Inbox) -> None:
    for content in (b"first", b"second", b"second"):
        inbox.put_bytes("a.parquet", content)
        assert inbox.score().totals.rejected == 1
    kept = [path.read_bytes() for path in (inbox.root / "quarantine").rglob("*.parquet")]
    assert sorted(kept) == [b"first", b"second"]


def test_a_rejected_file_that_is_put_again_is_tried_again(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox.put("a.parquet", 2)
    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "score", lambda *_: (_ for _ in ()).throw(DataError("a passing fault")))
        assert inbox.score().files[0].reason == "a passing fault"
    (rejected,) = (inbox.root / "quarantine").rglob("a.parquet")
    rejected.rename(inbox.root / "inbox/a.parquet")
    assert inbox.score().files[0].rows_scored == 2
    assert inbox.ids("predictions") == [0, 1]


def test_an_inbox_that_is_called_otherwise_is_the_same(inbox: Inbox) -> None:
    inbox.put("a.parquet", 2)
    inbox.score()
    (inbox.root / "link").symlink_to("inbox")
    for one in (f"{inbox.root}/link", f"{inbox.root}/predictions/../inbox"):
        assert inbox.score(input=one).totals.known == 1
    assert len(list((inbox.root / "state").glob("*.lock"))) == 1
    assert inbox.ids("predictions") == [0, 1]


def test_four_inboxes_with_the_same_file_share_an_output(inbox: Inbox) -> None:
    content = inbox.put("a.parquet", 2, bad=(1,))
    for name in ("inbox", "second", "third", "fourth"):
        (inbox.root / name).mkdir(exist_ok=True)
        (inbox.root / name / "a.parquet").write_bytes(content)
        assert inbox.score(input=inbox.address(name)).totals.scored == 1
    assert inbox.ids("predictions") == [0] * 4
    assert inbox.ids("quarantine") == [1] * 4


@pytest.mark.parametrize("kept", [False, True])
def test_a_mended_file_that_comes_while_the_old_one_is_rejected_stays(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    if kept:  # the same garbage came before, and stays with its note
        inbox.put_bytes("a.parquet", b"garbage")
        inbox.score()
    inbox.put_bytes("a.parquet", b"garbage")
    real = Ledger.rejected

    def rejected(self: Ledger, entry: Entry, reason: str) -> None:
        real(self, entry, reason)
        inbox.put("a.parquet", 3)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "rejected", rejected)
        (waits,) = inbox.score().files
    assert (waits.state, waits.reason) == ("waiting", "changed while it was read")
    assert inbox.names("quarantine") == (["a.parquet", "a.parquet.reason.json"] if kept else [])
    assert inbox.score().totals.scored == 1
    assert inbox.ids("predictions") == [0, 1, 2]


def test_what_is_still_being_written_waits(inbox: Inbox) -> None:
    inbox.put("ready.parquet", 2)
    os.utime(inbox.root / "inbox/ready.parquet", (0, 0))
    inbox.put("fresh.parquet", 2)
    hidden = (".hidden.parquet", "a.parquet.part", "b.tmp", "_SUCCESS", "_temporary/0/x.parquet", ".git/x.parquet")
    for name in hidden:
        inbox.put_bytes(name, b"half a fi")
    (inbox.root / "inbox/dangling.csv").symlink_to("nowhere")
    os.mkfifo(inbox.root / "inbox/pipe.csv")
    report = inbox.score(settle_seconds=60.0)
    assert [one.file for one in report.of("scored")] == ["ready.parquet"]
    reasons = {one.file: one.reason or "" for one in report.of("waiting")}
    assert set(reasons) == {*hidden, "dangling.csv", "fresh.parquet", "pipe.csv"}
    assert "60 s" in reasons["fresh.parquet"]
    assert not (inbox.root / "quarantine").exists()
    os.utime(inbox.root / "inbox/fresh.parquet", (0, 0))
    assert [one.file for one in inbox.score(settle_seconds=60.0).of("scored")] == ["fresh.parquet"]


def test_a_file_that_grows_under_an_old_date_waits(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = inbox.put("a.parquet", 2)
    path = inbox.root / "inbox/a.parquet"
    path.write_bytes(whole[:100])
    os.utime(path, (0, 0))

    def meanwhile(_: float) -> None:
        path.write_bytes(whole)
        os.utime(path, (0, 0))

    with monkeypatch.context() as patch:
        patch.setattr(job.time, "sleep", meanwhile)
        assert [one.reason for one in inbox.score(settle_seconds=5.0).of("waiting")] == ["changed while it was read"]
    assert [one.rows_scored for one in inbox.score().files] == [2]


@pytest.mark.parametrize("meanwhile", ["cut", "removed", "renamed", "replaced"])
def test_a_file_that_is_not_the_same_any_more_waits(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    inbox.put("a.parquet", 6, bad=(1,))
    path = inbox.root / "inbox/a.parquet"
    real = Scorer.score

    def score(self: Scorer, batch: pa.RecordBatch) -> pa.RecordBatch:
        if not path.exists():
            pass
        elif meanwhile == "cut":
            path.write_bytes(b"cut")
        elif meanwhile == "removed":
            path.unlink()
        elif meanwhile == "renamed":
            path.rename(path.with_name("b.parquet"))
        else:
            inbox.put("new.parquet", 4, seed=1)
            path.with_name("new.parquet").replace(path)
        return real(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "score", score)
        report = inbox.score()
    assert [(one.file, one.state, one.reason) for one in report.files] == [
        ("a.parquet", "waiting", "changed while it was read")
    ]
    assert inbox.names("predictions") == inbox.names("quarantine") == []
    if meanwhile != "renamed":
        inbox.put("a.parquet", 4, seed=1)
    inbox.score()
    found = [0, 2, 3, 4, 5] if meanwhile == "renamed" else [1000, 1001, 1002, 1003]
    assert inbox.ids("predictions") == found
    assert inbox.ids("quarantine") == ([1] if meanwhile == "renamed" else [])
    assert inbox.names("superseded") == []


def test_a_model_that_cannot_be_used_leaves_all_untouched(inbox: Inbox) -> None:
    inbox.put("a.parquet", 2)
    with (inbox.root / "bundle/model.onnx").open("ab") as file:
        file.write(b"\x00")
    for model, message in (("bundle", "was altered"), ("nothing", "there is no bundle")):
        with pytest.raises(BundleError, match=message):
            inbox.score(model=str(inbox.root / model))
    assert sorted(path.name for path in inbox.root.iterdir()) == ["bundle", "inbox"]


NAMES = [
    "x" * 240 + ".parquet",
    "/".join(["folder-of-forty-characters-and-then-some"] * 30) + "/a.parquet",
    "a b\n\t;$(x)'\".parquet",
    "back\\slash.parquet",
    "a*?[b].parquet",
    os.fsdecode(b"\xff\xfe.parquet"),
    "\u202egnp.parquet",
    "NUL.parquet",
    "..a.parquet".replace("..a", "a.."),
]


@pytest.mark.parametrize("name", NAMES)
def test_strange_names(inbox: Inbox, name: str) -> None:
    inbox.put(name, 2)
    report = inbox.score()
    assert [one.rows_scored for one in report.files] == [2]
    assert all(line["file"].isprintable() and line["what"].isprintable() for line in report.lines())
    assert inbox.score().totals.known == 1
    inbox.put_bytes(name, b"garbage")
    assert inbox.score().totals.rejected == 1
    assert inbox.names("inbox") == []
    assert len(inbox.names("quarantine")) == 2
    for place in ("predictions", "quarantine"):
        assert all(one.isprintable() and "\\" not in one for one in inbox.names(place))


def test_rows_that_cannot_be_scored_go_to_quarantine_and_the_file_stays(inbox: Inbox) -> None:
    inbox.put("a.parquet", 7, bad=(2, 5))
    report = inbox.score()
    (scored,) = report.files
    assert (scored.rows_in, scored.rows_scored, scored.rows_quarantined) == (7, 5, 2)
    assert inbox.names("inbox") == ["a.parquet"]
    aside = inbox.table("quarantine", ".quarantine.parquet")
    assert aside.to_pylist() == [{"row_id": row, "reason": "the pixels are missing"} for row in (2, 5)]
    assert inbox.ids("predictions") == [0, 1, 3, 4, 6]
    for place in ("predictions", "quarantine"):
        about = json.loads(inbox.table(place, ".parquet").schema.metadata[b"unroll"])
        assert (about["rows"], about["set_aside"]) == (5, 2)
    (line,) = report.lines()
    assert f"2 rows set aside in {scored.quarantine}; the first is 2: the pixels are missing" in line["what"]
    assert "7 rows in, 5 scored, 2 set aside" in report.summary()
    assert inbox.score().totals.known == 1


def test_a_check_sets_rows_aside_too(inbox: Inbox) -> None:
    inbox.put("a.parquet", 6, bad=(1,))
    sizes = []

    def check(rows: pa.RecordBatch) -> dict[int, str]:
        sizes.append(len(rows))
        return {2: "too dark"}

    report = score_inbox(inbox.scoring(), ledger_url=inbox.ledger_url, check=lambda _: check)
    assert sizes == [5]  # those that could be scored, all together
    assert (report.totals.rows_scored, report.totals.rows_quarantined) == (4, 2)
    assert inbox.table("quarantine", ".parquet").to_pylist() == [
        {"row_id": 1, "reason": "the pixels are missing"},
        {"row_id": 3, "reason": "too dark"},
    ]


def test_too_many_bad_rows_stop_the_file(inbox: Inbox) -> None:
    content = inbox.put("a.parquet", 10, bad=(0, 1))
    inbox.put("b.parquet", 10, seed=1, bad=(0,))
    report = inbox.score(max_bad_share=0.1)
    assert [(one.file, one.state) for one in report.files] == [("a.parquet", "rejected"), ("b.parquet", "scored")]
    assert "2 of 10 rows cannot be scored, more than the share of 0.1 that may be set aside" in str(
        report.files[0].reason
    )
    assert inbox.content("quarantine", "/a.parquet") == content
    assert inbox.ids("predictions") == list(range(1001, 1010))


def test_a_file_whose_every_row_is_set_aside_is_rejected_whole(inbox: Inbox) -> None:
    inbox.put("a.parquet", 2, bad=(0, 1))
    report = inbox.score(max_bad_share=1.0)
    assert "none of 2 rows can be scored" in (report.files[0].reason or "")
    assert inbox.names("inbox") == inbox.names("predictions") == []
    assert inbox.names("quarantine") == ["a.parquet", "a.parquet.reason.json"]


def test_mended_rows_do_not_replace_those_that_were_set_aside(inbox: Inbox) -> None:
    """They come back under the name that their file had, and are no Parquet at all."""
    inbox.put("a.parquet", 2, bad=(1,))
    inbox.score()
    (name,) = inbox.names("quarantine")
    content = inbox.content("quarantine", name)
    inbox.put_bytes(name, b"mended with a text editor")
    (rejected,) = inbox.score().of("rejected")
    assert rejected.file == name
    assert inbox.content("quarantine", f"/{name}") == content
    assert inbox.content("quarantine", f"-{name}") == b"mended with a text editor"


def test_tickers_that_cannot_be_scored_are_rows_set_aside(inbox: Inbox) -> None:
    tiny_bundles.last_price(inbox.root / "prices")
    days = [date(2018, 8, day) for day in (22, 23, 24)]
    table = pa.table({"ticker": ["A"] * 3 + ["NEW"], "date": [*days, days[0]], "close": [1.0, 2.0, 3.0, 4.0]})
    pq.write_table(table, inbox.root / "inbox/p.parquet")
    (scored,) = inbox.score(model=str(inbox.root / "prices")).files
    assert (scored.rows_in, scored.rows_scored) == (2, 1)
    assert inbox.table("quarantine", ".parquet").to_pylist() == [
        {"row_id": "NEW@2018-08-22", "reason": "has 1 rows, the model needs 3"}
    ]


def test_a_killed_jobs_claim_of_a_file_that_is_gone_is_told(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox.put("a.parquet", 2)
    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "score", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            inbox.score()
    (inbox.root / "inbox/a.parquet").unlink()
    (gone,) = inbox.score().files
    assert (gone.file, gone.state) == ("a.parquet", "gone")
    assert str(gone.reason).endswith("nothing of it was put into place")
    assert inbox.score().files == ()
    inbox.put("a.parquet", 2)
    assert inbox.score().totals.scored == 1


def test_predictions_of_a_file_that_is_gone_stay(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job was killed after it had put them into place, and before the ledger knew."""
    content = inbox.put("a.parquet", 2)
    with monkeypatch.context() as patch:
        patch.setattr("unroll.scoring.ledger.Ledger.done", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            inbox.score()
    (inbox.root / "inbox/a.parquet").unlink()
    (gone,) = inbox.score().files
    assert "its predictions are in" in str(gone.reason)
    assert inbox.score().files == ()
    assert inbox.ids("predictions") == [0, 1]
    inbox.put_bytes("a.parquet", content)
    assert [one.state for one in inbox.score().files] == ["known"]


@pytest.mark.parametrize("error", [BundleError("the graph cannot be run"), RuntimeError("expectation broke")])
def test_files_after_one_at_which_the_program_fails_are_scored(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    inbox.put("a.parquet", 2)
    inbox.put("b.parquet", 3, seed=1)
    real = Scorer.score

    def score(self: Scorer, batch: pa.RecordBatch) -> pa.RecordBatch:
        if batch["row_id"][0].as_py() == 0:
            raise error
        return real(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "score", score)
        report = inbox.score()
    assert [(one.file, one.state) for one in report.files] == [("a.parquet", "failed"), ("b.parquet", "scored")]
    assert str(error) in str(report.files[0].reason)
    assert "1 FAILED" in report.summary()
    with pytest.raises(UnrollError, match="tried again by the next run"):
        report.require_no_failure()
    assert inbox.ids("predictions") == [1000, 1001, 1002]
    inbox.score().require_no_failure()
    assert inbox.ids("predictions") == [0, 1, 1000, 1001, 1002]


def test_what_was_done_before_a_job_broke_off_is_told(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox.put("a.parquet", 2)
    inbox.put("b.parquet", 3, seed=1)
    real, told = Ledger.claim, []

    def claim(self: Ledger, what: Claim, *rest: Any) -> Any:
        if what.path == "b.parquet":
            raise ConnectionError("the wire is cut")
        return real(self, what, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "claim", claim)
        with pytest.raises(UnrollError, match="the wire is cut"):
            score_inbox(inbox.scoring(), ledger_url=inbox.ledger_url, work=inbox.root / "work", stopped=told.append)
    (report,) = told
    assert [(one.file, one.rows_scored) for one in report.files] == [("a.parquet", 2)]


def test_a_change_of_places_leaves_no_row_twice(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job is stopped after it has put predictions into place, and before the ledger knows."""
    inbox.put("a.parquet", 3)
    with monkeypatch.context() as patch:
        patch.setattr("unroll.scoring.ledger.Ledger.done", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            inbox.score()
    assert inbox.ids("predictions") == [0, 1, 2]
    inbox.score(output=inbox.address("elsewhere"))
    assert inbox.names("predictions") == []
    assert inbox.ids("elsewhere") == [0, 1, 2]


def test_places_that_lie_in_one_another_are_refused(inbox: Inbox) -> None:
    for changes in (
        {"output": inbox.address("inbox/predictions")},
        {"quarantine": inbox.address("predictions")},
        {"quarantine": inbox.address("superseded/bad")},
        {"input": str(inbox.root)},
    ):
        with pytest.raises(ParameterError, match="choose places apart"):
            inbox.score(**changes)


def test_a_job_that_waits_too_long_for_another_says_so(inbox: Inbox) -> None:
    inbox.score()
    (lock,) = (inbox.root / "state").glob("*.lock")
    with (
        FileLock(lock),
        pytest.raises(UnrollError, match=r"another scoring job has held .*ledger\.sqlite\..*lock for 0\.1 s"),
    ):
        inbox.score(lock_seconds=0.1)


def test_a_ledger_that_is_no_database_is_a_clear_error(inbox: Inbox) -> None:
    inbox.put("a.parquet", 2)
    (inbox.root / "state").mkdir()
    (inbox.root / "state/ledger.sqlite").write_text("no database, " * 100)
    with pytest.raises(UnrollError, match=r"the ledger .* cannot be used: file is not a database"):
        inbox.score()


def test_neither_memory_nor_threads_show_in_what_is_written(inbox: Inbox) -> None:
    pixels = tiny_bundles.images(3000)
    pq.write_table(tiny_bundles.digits_table(pixels, row_id=np.arange(3000)), inbox.root / "inbox/a.parquet")
    found = []
    for changes in ({"threads": 1, "batch_rows": 7}, {"threads": 3, "batch_rows": 512, "memory_mb": 256}):
        places = {"output": inbox.address(f"out-{len(found)}"), "quarantine": inbox.address(f"bad-{len(found)}")}
        other = Inbox(inbox.root, url=f"sqlite:///{inbox.root}/{len(found)}.sqlite")
        other.score(**places, **changes)
        found.append(other.table(f"out-{len(found)}", ".parquet"))
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """80,000 images, 63 MB, and 320,000; docs/reliability.md has what 2 GB took."""
    tiny_bundles.digits(tmp_path / "bundle")
    pixels = tiny_bundles.images(20_000)
    column = pa.array([row.tobytes() for row in pixels], pa.binary(784))
    code = (
        "import re, sys; sys.path[:0] = sys.argv[3:]\n"
        "from pathlib import Path; from inboxes import Inbox\n"
        "report = Inbox(Path(sys.argv[1])).score(input=sys.argv[2], threads=2, batch_rows=512)\n"
        "print(report.totals.rows_scored, re.search(r'VmHWM:\\s*(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    peaks = []
    for times in (4, 16):
        folder = tmp_path / f"in-{times}"
        folder.mkdir()
        table = pa.table({"pixels": pa.chunked_array([column] * times)})
        pq.write_table(table, folder / "a.parquet", compression="none", use_dictionary=False)
        command = [sys.executable, "-c", code, str(tmp_path), str(folder), str(Path(__file__).parents[1])]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows, peak = map(int, done.stdout.split())
        assert rows == 20_000 * times
        peaks.append(peak)
    assert peaks[1] < 500_000  # KiB
    assert peaks[1] < 1.3 * peaks[0], peaks
