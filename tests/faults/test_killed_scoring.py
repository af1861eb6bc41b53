"""A scoring job is killed between every two steps and at random moments, and runs beside another: no row is lost, and
none is there twice."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny_bundles
from inboxes import KILLED, Inbox, JobStarter, job_starter
from servers import object_store

from unroll.errors import UnrollError
from unroll.scoring.database import Database
from unroll.scoring.ledger import Ledger


@pytest.fixture(scope="module")
def starter() -> Iterator[JobStarter]:
    with job_starter() as one:
        yield one


def prepared(inbox: Inbox) -> None:
    """Something scored before that has changed since, a file of which a row is bad, one that is no file of digits."""
    inbox.root.mkdir(exist_ok=True)
    tiny_bundles.digits(inbox.root / "bundle")
    inbox.put("a.parquet", 4, seed=1, bad=(0,))
    inbox.score()
    inbox.put("a.parquet", 5, seed=2, bad=(3,))
    inbox.put_bytes("b.parquet", b"garbage")
    inbox.put("day=1/c.parquet", 7, seed=3)


def require_all_once(inbox: Inbox) -> None:
    """Every row that is in the inbox is in the output or in quarantine, once; and nothing half-written is anywhere."""
    assert inbox.ids("predictions") == [2000, 2001, 2002, 2004, *range(3000, 3007)]
    assert inbox.ids("quarantine", ".quarantine.parquet") == [2003]
    assert inbox.ids("superseded") == [1000, 1001, 1002, 1003]
    assert inbox.content("quarantine", "/b.parquet") == b"garbage"
    assert json.loads(inbox.content("quarantine", "b.parquet.reason.json"))["file"] == "b.parquet"
    assert inbox.names("inbox") == ["a.parquet", "day=1/c.parquet"]
    counts = [len(inbox.names(place)) for place in ("predictions", "quarantine", "superseded")]
    assert counts == [2, 3, 2]
    work = inbox.root / "work"
    assert not work.exists() or not any(path.is_file() for path in work.rglob("*"))
    with Ledger(Database(inbox.ledger_url, inbox.address("inbox"))) as ledger:
        assert ledger.unfinished() == []
    again = inbox.score()
    assert (again.totals.known, again.lines()) == (2, [])


def killed_at_every_step(inboxes: Iterator[Inbox], starter: JobStarter, first: int, every: int) -> int:
    """Kills a job after its first step, another after its second, and so on; gives the number of the last one."""
    for at, inbox in enumerate(inboxes):
        step = first + at * every
        prepared(inbox)
        starter.start(inbox, kill_at=step)
        status = starter.wait()
        if status == 0:
            require_all_once(inbox)
            return step
        assert status == KILLED, f"step {step}"
        inbox.score()
        try:
            require_all_once(inbox)
        except AssertionError as error:
            raise AssertionError(f"killed at step {step}: {error}") from error
    raise AssertionError("the job never came to its end")


@pytest.mark.slow
def test_killed_between_every_two_steps(tmp_path: Path, starter: JobStarter) -> None:
    last = killed_at_every_step((Inbox(tmp_path / str(number)) for number in range(1000)), starter, first=1, every=1)
    assert last > 25


def test_killed_at_some_steps(tmp_path: Path, starter: JobStarter) -> None:
    killed_at_every_step((Inbox(tmp_path / str(number)) for number in range(1000)), starter, first=3, every=8)


@pytest.mark.slow
def test_killed_at_some_steps_in_an_object_store(
    tmp_path: Path, starter: JobStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with object_store(tmp_path / "store") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        places = (Inbox(tmp_path / str(number), f"s3://unroll/{number}") for number in range(1000))
        with job_starter() as own:  # it has this store's address
            killed_at_every_step(places, own, first=6, every=11)


@pytest.mark.slow
def test_killed_at_twenty_random_moments(tmp_path: Path, starter: JobStarter) -> None:
    inbox = Inbox(tmp_path)
    tiny_bundles.digits(tmp_path / "bundle")
    moments = random.Random(7)
    files, rows = 60, 20
    for seed in range(files):
        inbox.put(f"day={seed % 3}/{seed:02}.parquet", rows, seed, bad=(seed % rows,))
    killed = 0
    for number in range(20):
        # Something new each time, so that no job finds all done.
        inbox.put(f"late-{number:02}.parquet", rows, files + number)
        job = starter.start(inbox)
        time.sleep(moments.uniform(0.02, 0.3))
        os.kill(job, signal.SIGKILL)
        killed += starter.wait() == KILLED
    assert killed >= 10
    inbox.score()
    aside = [1000 * seed + seed % rows for seed in range(files)]
    wanted = [1000 * seed + row for seed in range(files + 20) for row in range(rows)]
    assert inbox.ids("quarantine") == aside
    assert sorted(inbox.ids("predictions") + aside) == wanted
    assert len(inbox.names("predictions")) == files + 20


def test_two_jobs_at_once_share_the_files(tmp_path: Path, starter: JobStarter) -> None:
    inbox = Inbox(tmp_path)
    tiny_bundles.digits(tmp_path / "bundle")
    names = [f"{seed:02}.parquet" for seed in range(12)]
    for seed, name in enumerate(names):
        inbox.put(name, 3, seed)
    starter.start(inbox)
    with job_starter() as second:
        other = Inbox(tmp_path)
        second.start(other)
        here = [one.file for one in inbox.score().of("scored")]
        assert second.wait() == 0
    assert starter.wait() == 0
    assert set(here) <= set(names)
    assert inbox.ids("predictions") == sorted(1000 * seed + row for seed in range(12) for row in range(3))
    assert len(inbox.names("predictions")) == 12
    assert inbox.names("quarantine") == inbox.names("superseded") == []


def test_a_claim_that_another_job_took_over_is_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a lock that was lost: the other one's entry stands, and this job stops."""
    inbox = Inbox(tmp_path)
    tiny_bundles.digits(tmp_path / "bundle")
    inbox.put("a.parquet", 3)
    real = Ledger.require_claim

    def taken_over(self: Ledger, entry: object) -> None:
        change = "UPDATE scored_files SET token = 'of another job'"
        self._database.run(lambda connection: connection.exec_driver_sql(change))
        real(self, entry)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "require_claim", taken_over)
        with pytest.raises(UnrollError, match=r"the claim of a\.parquet .* was taken over by another job"):
            inbox.score()
    assert [name for name in inbox.names("predictions") if not name.startswith(".staged")] == []
    inbox.score()
    assert inbox.ids("predictions") == [0, 1, 2]


def many_digits(path: Path, rows: int) -> list[int]:
    """A file whose predictions do not compress, for their ids are random; gives these."""
    ids = np.random.default_rng(0).integers(0, 2**62, rows)
    path.parent.mkdir(parents=True)
    pq.write_table(tiny_bundles.digits_table(tiny_bundles.images(rows), row_id=ids), path)
    return sorted(ids.tolist())


def mount(*arguments: str) -> bool:
    """Whether a file system can be mounted so."""
    program = shutil.which("mount")
    return (
        program is not None and not subprocess.run([program, *arguments], check=False, capture_output=True).returncode
    )


def test_a_file_system_that_is_full_stops_the_job_and_rejects_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or not mount("-t", "tmpfs", "-o", "size=32k", "tmpfs", str(disk)):
        pytest.skip("no tmpfs can be mounted here")
    try:
        inbox = Inbox(tmp_path)
        tiny_bundles.digits(tmp_path / "bundle")
        ids = many_digits(tmp_path / "inbox/a.parquet", 6000)
        places = {"output": str(disk / "predictions"), "batch_rows": 500}
        with pytest.raises(UnrollError, match=r"a-[0-9a-f]{8}\.parquet cannot be written: No space left on device"):
            inbox.score(**places)
        assert inbox.names("inbox") == ["a.parquet"]
        assert inbox.names("quarantine") == []
        assert not [path for path in disk.rglob("*") if path.is_file()]
        assert mount("-o", "remount,size=4m", str(disk))
        inbox.score(**places)
        (output,) = disk.rglob("*.parquet")
        assert sorted(pq.read_table(output)["row_id"].to_pylist()) == ids
    finally:
        # Lazily: Arrow's own threads may still be closing the file that was read.
        subprocess.run([shutil.which("umount") or "umount", "--lazy", str(disk)], check=True)


def test_a_file_that_may_not_grow_stops_the_job_and_rejects_nothing(tmp_path: Path) -> None:
    """A full disk, for those who may not mount one."""
    inbox = Inbox(tmp_path)
    tiny_bundles.digits(tmp_path / "bundle")
    ids = many_digits(tmp_path / "inbox/a.parquet", 20_000)
    code = (
        "import resource, sys; sys.path[:0] = sys.argv[2:]; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000,) * 2)\n"
        "from pathlib import Path; from inboxes import Inbox; Inbox(Path(sys.argv[1])).score(batch_rows=512)"
    )
    tests = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), tests], capture_output=True, text=True, check=False
    )
    assert re.search(r"UnrollError: .*a-[0-9a-f]{8}\.parquet cannot be written: .*; make room", done.stderr)
    assert inbox.names("predictions") == []
    assert inbox.names("inbox") == ["a.parquet"]
    inbox.score(batch_rows=512)
    assert inbox.ids("predictions") == ids
