"""A scoring job is killed between every two steps and at random moments, runs beside another, and runs out of disk: no
row is lost, and none is there twice."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny_bundles
from inboxes import KILLED, Inbox, job_starter
from servers import object_store

from unroll.errors import UnrollError
from unroll.scoring.markers import Markers


@pytest.fixture(scope="module")
def starter():
    with job_starter() as one:
        yield one


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A file that was scored and has changed, one that was rejected and fixed, one of garbage, and a new one."""
    inbox = Inbox(tmp_path_factory.mktemp("prepared"))
    tiny_bundles.digits(inbox.root / "bundle")
    inbox.put("a.parquet", 4, seed=1, bad=(0,))
    inbox.put_bytes("b.parquet", b"garbage")
    inbox.score()
    inbox.put("a.parquet", 5, seed=2, bad=(3,))
    inbox.put("b.parquet", 2, seed=4)
    inbox.put_bytes("c.parquet", b"garbage")
    inbox.put("day=1/d.parquet", 7, seed=3)
    return inbox


def require_all_once(inbox):
    """Every row of the inbox is in the output or in quarantine, once; and nothing half-written is anywhere."""
    predictions, quarantine = inbox.files("predictions"), inbox.files("quarantine")
    assert list(predictions) == ["a.parquet.parquet", "b.parquet.parquet", "day=1/d.parquet.parquet"]
    assert list(quarantine) == ["a.parquet.parquet", "c.parquet.reason.json"]
    assert inbox.ids("predictions") == [2000, 2001, 2002, 2004, *range(3000, 3007), 4000, 4001]
    assert inbox.ids("quarantine") == [2003]
    assert json.loads(quarantine["c.parquet.reason.json"])["file"] == "c.parquet"
    assert {name: marker["state"] for name, marker in inbox.markers().items()} == {
        "a.parquet": "scored",
        "b.parquet": "scored",
        "c.parquet": "rejected",
        "day=1/d.parquet": "scored",
    }
    assert inbox.score().counts()["known"] == 4


def killed_at_every_step(prepared, inbox_of, starter, steps):
    """Kills a job after some step, another after a later one, and so on, until one comes to its end."""
    for step in steps:
        inbox = inbox_of(step)
        prepared.copy_to(inbox)
        starter.start(inbox, kill_at=step)
        status = starter.wait()
        assert status in (0, KILLED), f"step {step}"
        if status:
            inbox.score()
        require_all_once(inbox)
        if not status:
            assert step > 20
            return
    raise AssertionError("the job never came to its end")


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_between_steps(tmp_path, prepared, starter, every):
    killed_at_every_step(prepared, lambda step: Inbox(tmp_path / str(step)), starter, range(every, 100, every))


@pytest.mark.slow
def test_killed_between_steps_in_an_object_store(tmp_path, prepared, monkeypatch):
    with object_store() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with job_starter() as own:  # it has this store's address
            inboxes = {step: Inbox(tmp_path / str(step), f"s3://unroll/{step}") for step in range(6, 100, 7)}
            killed_at_every_step(prepared, inboxes.__getitem__, own, range(6, 100, 7))


def kill_after(job, inbox, markers, delay):
    """Kill a job some seconds after so many files are done, unless it ends before."""
    with contextlib.suppress(ProcessLookupError):
        while len(inbox.marker_names()) < markers:
            os.kill(job, 0)
            time.sleep(0.002)
        time.sleep(delay)
        os.kill(job, signal.SIGKILL)


@pytest.mark.slow
def test_killed_at_25_random_moments(tmp_path, starter):
    inbox = Inbox(tmp_path)
    tiny_bundles.digits(tmp_path / "bundle")
    moments = random.Random(7)
    files, rows, kills = 40, 20, 25
    seeds = {f"day={seed % 3}/{seed:02}.parquet": seed for seed in range(files)}
    for name, seed in seeds.items():
        inbox.put(name, rows, seed, bad=(seed % rows,))
    killed = rounds = 0
    while killed < kills and rounds < 4 * kills:
        # Something new each time, so that no job finds all done; and one file changes on the way.
        inbox.put(f"late-{rounds:03}.parquet", rows, 100 + rounds)
        if rounds == kills // 2:
            seeds["day=0/00.parquet"] = 99
            inbox.put("day=0/00.parquet", rows, 99, bad=(99 % rows,))
        job = starter.start(inbox)
        kill_after(job, inbox, len(inbox.marker_names()) + moments.randint(0, 3), moments.uniform(0, 0.05))
        killed += starter.wait() == KILLED
        rounds += 1
    assert killed == kills
    assert inbox.score().counts()["scored"] < files
    aside = [1000 * seed + seed % rows for seed in seeds.values()]
    wanted = [1000 * seed + row for seed in [*seeds.values(), *range(100, 100 + rounds)] for row in range(rows)]
    assert inbox.ids("quarantine") == sorted(aside)
    assert sorted(inbox.ids("predictions") + aside) == sorted(wanted)
    assert len(inbox.files("predictions")) == len(inbox.markers()) == files + rounds
    assert inbox.score().counts()["known"] == files + rounds


def test_two_jobs_at_once_write_what_one_writes(tmp_path, starter):
    inbox = Inbox(tmp_path)
    tiny_bundles.digits(tmp_path / "bundle")
    for seed in range(12):
        inbox.put(f"{seed:02}.parquet", 3, seed, bad=(1,))
    inbox.score()
    alone = inbox.files("predictions"), inbox.files("quarantine")
    for place in ("predictions", "quarantine"):
        shutil.rmtree(tmp_path / place)
    with job_starter() as second:
        starter.start(inbox)
        second.start(inbox)
        assert (starter.wait(), second.wait()) == (0, 0)
    assert (inbox.files("predictions"), inbox.files("quarantine")) == alone
    assert len(inbox.markers()) == 12
    assert inbox.score().counts()["known"] == 12


def test_a_slow_job_that_publishes_old_content_is_put_right(tmp_path, monkeypatch):
    """Its file changed after its last look, and another job scored the new content meanwhile."""
    inbox = Inbox(tmp_path)
    tiny_bundles.digits(tmp_path / "bundle")
    inbox.put("a.parquet", 3)
    real = Markers.remove

    def meanwhile(self, file):
        monkeypatch.setattr(Markers, "remove", real)
        inbox.put("a.parquet", 3, seed=1)
        inbox.score()
        real(self, file)

    monkeypatch.setattr(Markers, "remove", meanwhile)
    inbox.score()
    assert inbox.ids("predictions") == [0, 1, 2]
    assert inbox.states() == {"a.parquet": "scored"}
    assert inbox.ids("predictions") == [1000, 1001, 1002]
    assert inbox.score().counts()["known"] == len(inbox.markers()) == 1


def many_digits(path, rows):
    """A file whose predictions do not compress, for their ids are random; gives these."""
    ids = np.random.default_rng(0).integers(0, 2**62, rows)
    path.parent.mkdir(parents=True)
    pq.write_table(tiny_bundles.digits_table(tiny_bundles.images(rows), row_id=ids), path)
    return sorted(ids.tolist())


def mount(*arguments):
    """Whether a file system can be mounted so."""
    program = shutil.which("mount")
    return (
        program is not None and not subprocess.run([program, *arguments], check=False, capture_output=True).returncode
    )


@pytest.mark.parametrize("place", ["output", "staging"])
def test_a_full_disk_stops_the_job_and_rejects_nothing(tmp_path, place):
    disk = tmp_path / "staging" if place == "staging" else tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or not mount("-t", "tmpfs", "-o", "size=32k", "tmpfs", str(disk)):
        pytest.skip("no tmpfs can be mounted here")
    try:
        inbox = Inbox(tmp_path)
        tiny_bundles.digits(tmp_path / "bundle")
        ids = many_digits(tmp_path / "inbox/a.parquet", 6000)
        places = {"batch_rows": 500} | ({"output": str(disk / "predictions")} if place == "output" else {})
        with pytest.raises(UnrollError, match="No space left on device"):
            inbox.score(**places)
        assert not [path for path in disk.rglob("*") if path.is_file()]
        assert inbox.files("quarantine") == {}
        assert mount("-o", "remount,size=4m", str(disk))
        inbox.score(**places)
        output = Path(places.get("output", tmp_path / "predictions")) / "a.parquet.parquet"
        assert sorted(pq.read_table(output)["row_id"].to_pylist()) == ids
    finally:
        # Lazily: Arrow's own threads may still be closing the file that was read.
        subprocess.run([shutil.which("umount") or "umount", "--lazy", str(disk)], check=True)


def test_a_file_that_may_not_grow_stops_the_job_and_rejects_nothing(tmp_path):
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
    assert "UnrollError" in done.stderr
    assert inbox.files("predictions") == inbox.files("quarantine") == {}
    inbox.score(batch_rows=512)
    assert inbox.ids("predictions") == ids
