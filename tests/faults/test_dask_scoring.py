"""Scoring on a Dask cluster: the bytes of one machine, and each row once, whatever is killed, stopped or done twice."""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import distributed
import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny_bundles
from clusters import cluster
from inboxes import KILLED, Inbox, job_starter
from servers import object_store

from unroll.errors import ServiceUnavailable, UnrollError
from unroll.scoring import dask_engine
from unroll.scoring.dask_engine import DaskEngine
from unroll.scoring.job import score_inbox
from unroll.scoring.publish import FilePublisher

pytestmark = pytest.mark.slow
CHUNK_ROWS = 60
ROW_IDS = [*(first + row for first in (10_000, 20_000) for row in range(500)), 0, 1, 2, 1000, 1001, 1002, 2000, 2002]
SCORED = {"big.parquet", "day=1/wide.parquet", "small-0.parquet", "small-1.parquet", "small-2.parquet"}


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("workers"), 2) as found:
        yield found


@pytest.fixture
def inbox(tmp_path):
    return filled(Inbox(tmp_path))


def filled(inbox):
    """Puts files into an inbox: two of nine chunks each, small ones with a bad row, and garbage."""
    tiny_bundles.digits(inbox.root / "bundle")
    for number, name in enumerate(("big.parquet", "day=1/wide.parquet")):
        ids = np.arange(500) + 10_000 * (1 + number)
        table = tiny_bundles.digits_table(tiny_bundles.images(500, number), row_id=ids)
        pq.write_table(table, inbox.root / "made.parquet", row_group_size=30)
        inbox.put_bytes(name, (inbox.root / "made.parquet").read_bytes())
    for seed in range(3):
        inbox.put(f"small-{seed}.parquet", 3, seed, bad=(1,) if seed == 2 else ())
    inbox.put_bytes("garbage.parquet", b"garbage")
    return inbox


def on(found, **more):
    """Parameters of a job on a cluster."""
    return {"engine": {"kind": "dask", "scheduler": found.scheduler_address}, "chunk_rows": CHUNK_ROWS, **more}


def written(inbox):
    return inbox.files("predictions"), inbox.files("quarantine")


def require_all_once(inbox):
    """Every row is in the output or in quarantine, once; and a job of one machine finds nothing to do."""
    assert (inbox.ids("predictions"), inbox.ids("quarantine")) == (sorted(ROW_IDS), [2001])
    states = {name: marker["state"] for name, marker in inbox.markers().items()}
    assert states == dict.fromkeys(SCORED, "scored") | {"garbage.parquet": "rejected"}
    assert inbox.score().counts()["known"] == 6


def staged(inbox):
    return list((inbox.root / "predictions/_staging").glob("*.parquet"))


def when_chunks_are_sent(monkeypatch, count, action):
    """Does something once, when so many chunks were sent to workers."""
    passed, real = itertools.count(1), DaskEngine._submit

    def submit(self, method, *arguments):
        future = real(self, method, *arguments)
        if method == "score" and next(passed) == count:
            action()
        return future

    monkeypatch.setattr(DaskEngine, "_submit", submit)


def busy_worker(client):
    """The process id of a worker that has something to do."""
    pids = client.run(os.getpid)
    busy = max(client.processing().items(), key=lambda one: len(one[1]))[0]
    return pids[busy]


def test_one_two_and_three_workers_write_the_bytes_of_one_machine(inbox, tmp_path):
    inbox.score(chunk_rows=CHUNK_ROWS)
    local = written(inbox)
    with cluster(tmp_path / "workers", 1) as found, distributed.Client(found, set_as_default=False) as client:
        for count in (1, 2, 3):
            found.scale(count)
            client.wait_for_workers(count)
            for place in ("predictions", "quarantine"):
                shutil.rmtree(tmp_path / place)
            inbox.score(**on(found))
            assert written(inbox) == local
            assert not staged(inbox)
    require_all_once(inbox)


def test_an_object_store_gets_the_bytes_of_one_machine(tmp_path, monkeypatch):
    with object_store() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        inbox = filled(Inbox(tmp_path, "s3://unroll/shared"))
        inbox.score(chunk_rows=CHUNK_ROWS)
        local = written(inbox)
        system, key = inbox._at("predictions")
        for name in [*system.find(key), *system.find(key.replace("predictions", "quarantine"))]:
            system.rm_file(name)
        with cluster(tmp_path / "workers", 2) as found:
            inbox.score(**on(found))
        assert written(inbox) == local
        require_all_once(inbox)


def test_a_worker_is_killed(inbox, workers, monkeypatch):
    with distributed.Client(workers, set_as_default=False) as client:
        when_chunks_are_sent(monkeypatch, 6, lambda: os.kill(busy_worker(client), signal.SIGKILL))
        assert inbox.score(**on(workers)).counts()["failed"] == 0
    require_all_once(inbox)


def test_a_worker_stops_until_its_chunks_were_scored_elsewhere(inbox, tmp_path, monkeypatch):
    stopped = []

    def stop():
        stopped.append(busy_worker(client))
        os.kill(stopped[0], signal.SIGSTOP)

    with cluster(tmp_path / "workers", 2, "10s") as found:
        with distributed.Client(found, set_as_default=False) as client:
            when_chunks_are_sent(monkeypatch, 6, stop)
            inbox.score(**on(found))
        # Dask may have replaced it by now.
        with contextlib.suppress(ProcessLookupError):
            os.kill(stopped[0], signal.SIGCONT)
    require_all_once(inbox)


def test_chunks_that_come_late_change_nothing(inbox, workers, monkeypatch):
    """A worker that was given up writes its chunks when all is published, and some of them again."""
    sent, real = [], DaskEngine._submit

    def submit(self, *order):
        sent.append((self._order, *order))
        return real(self, *order)

    monkeypatch.setattr(DaskEngine, "_submit", submit)
    inbox.score(**on(workers))
    before = written(inbox)
    late = [order for order in sent if order[1] == "score"]
    with distributed.Client(workers, set_as_default=False) as client:
        client.gather([client.submit(dask_engine._on_worker, *order, pure=False) for order in late])
    assert staged(inbox)
    assert written(inbox) == before
    require_all_once(inbox)
    for path in staged(inbox):
        os.utime(path, (0, 0))
    inbox.put("new.parquet", 2, seed=9)
    inbox.score(**on(workers))
    assert not staged(inbox)


def test_each_chunk_is_sent_twice(inbox, workers, monkeypatch):
    real, first = DaskEngine._submit, []

    def twice(self, *order):
        first.append(real(self, *order))
        return real(self, *order)

    monkeypatch.setattr(DaskEngine, "_submit", twice)
    assert inbox.score(**on(workers)).counts()["scored"] == len(SCORED)
    require_all_once(inbox)


def test_two_jobs_at_once(inbox, workers):
    jobs = [
        lambda number=number: score_inbox(inbox.scoring(**on(workers)), staging=inbox.root / f"staging-{number}")
        for number in range(2)
    ]
    with ThreadPoolExecutor(2) as pool:
        for job in [pool.submit(job) for job in jobs]:
            assert job.result().counts()["failed"] == 0
    inbox.score(**on(workers))
    require_all_once(inbox)


@pytest.mark.parametrize("step", [3, 12, 25])
def test_the_job_is_killed(inbox, workers, step):
    with job_starter() as starter:
        starter.start(inbox, kill_at=step, **on(workers))
        assert starter.wait() == KILLED
    inbox.score(**on(workers))
    require_all_once(inbox)


def test_what_other_threads_have_published_when_a_file_ends_the_job_is_reported(inbox, workers, monkeypatch):
    real, published, stopped = FilePublisher._publish, threading.Event(), []

    def publish(self, file, *rest):
        if file.name == "big.parquet":
            published.wait()
            raise UnrollError("the disk is full")
        found = real(self, file, *rest)
        published.set()
        return found

    monkeypatch.setattr(FilePublisher, "_publish", publish)
    with pytest.raises(UnrollError, match="the disk is full"):
        score_inbox(inbox.scoring(**on(workers)), on_stop=stopped.append, staging=inbox.root / "staging")
    done = {name for name, marker in inbox.markers().items() if marker["state"] == "scored"}
    assert done
    assert {one.file for one in stopped[0].of("scored")} == done
    assert not stopped[0].of("failed")


def test_a_file_whose_worker_dies_too_often_fails_and_the_others_go_on(inbox, tmp_path, monkeypatch):
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), cluster(tmp_path / "workers", 2) as found:
        with distributed.Client(found, set_as_default=False) as client:
            when_chunks_are_sent(monkeypatch, 6, lambda: os.kill(busy_worker(client), signal.SIGKILL))
            failed = inbox.score(**on(found)).of("failed")
        assert failed
        assert all("Dask workers died" in one.reason for one in failed)
        inbox.score(**on(found))
    require_all_once(inbox)


_CLUSTER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from clusters import cluster
if __name__ == "__main__":
    with cluster(Path(sys.argv[2]), 2) as found:
        print(found.scheduler_address, flush=True)
        sys.stdin.read()
"""


def test_the_scheduler_is_killed(inbox, tmp_path, monkeypatch):
    program = tmp_path / "cluster.py"
    program.write_text(_CLUSTER)
    command = [sys.executable, str(program), str(Path(__file__).parents[1]), str(tmp_path / "workers")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().strip()
        when_chunks_are_sent(monkeypatch, 6, process.kill)
        with pytest.raises(ServiceUnavailable, match=address):
            inbox.score(engine={"kind": "dask", "scheduler": address}, chunk_rows=CHUNK_ROWS)
    inbox.score()
    require_all_once(inbox)


def test_the_disk_of_a_worker_is_full(tmp_path):
    disk, mount = tmp_path / "workers", shutil.which("mount")
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    if (
        os.geteuid() != 0
        or mount is None
        or subprocess.run([mount, *options], check=False, capture_output=True).returncode
    ):
        pytest.skip("no tmpfs can be mounted here")
    try:
        inbox = Inbox(tmp_path)
        tiny_bundles.digits(tmp_path / "bundle")
        ids = np.random.default_rng(0).integers(0, 2**62, 30_000)
        (tmp_path / "inbox").mkdir()
        pq.write_table(tiny_bundles.digits_table(tiny_bundles.images(30_000), row_id=ids), tmp_path / "inbox/a.parquet")
        with cluster(disk, 1) as found:
            with pytest.raises(UnrollError, match="No space left on device"):
                inbox.score(**on(found, batch_rows=512))
            assert written(inbox) == ({}, {})
            subprocess.run([mount, "-o", "remount,size=8m", str(disk)], check=True)
            inbox.score(**on(found, batch_rows=512))
        assert inbox.ids("predictions") == sorted(ids.tolist())
    finally:
        subprocess.run([shutil.which("umount") or "umount", "--lazy", str(disk)], check=True)
