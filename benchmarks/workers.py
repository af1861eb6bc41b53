"""Scoring on a Dask cluster: one worker and two, what distribution costs, and how many workers one job could feed."""

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import distributed
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.digits import SIDE, bundle, digits
from benchmarks.figures import Figure, Report
from unroll.config.scoring import Scoring
from unroll.scoring.dask_engine import DaskEngine
from unroll.scoring.job import score_inbox

MODEL, ROWS, CHUNKS, SIMULATED = "mnist-dense", 100_000, 2, 64


def measure() -> Report:
    """Score a file of several chunks with one worker, then with two."""
    with tempfile.TemporaryDirectory(prefix="unroll-bench-") as name:
        place = Path(name)
        _write(place / "inbox")
        with (
            distributed.LocalCluster(
                n_workers=2,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
                local_directory=str(place / "workers"),
            ) as cluster,
            distributed.Client(cluster, set_as_default=False) as client,
        ):
            _job(place, cluster.scheduler_address)  # The workers open the model.
            busy = _processor_seconds(client)
            two, own, joined = _job(place, cluster.scheduler_address)
            busy = _processor_seconds(client) - busy
            client.retire_workers([next(iter(client.nthreads()))])
            one, _, _ = _job(place, cluster.scheduler_address)
    of_worker, of_job = CHUNKS * ROWS / busy, CHUNKS * ROWS / joined
    figures = (
        Figure("two workers to one, wall time", two, one, one / two, "s", 1.8, True, 1),
        Figure("job and scheduler to workers, processor time", own, busy, own / busy, "s", 0.02, False, 1),
        Figure(
            f"join to {SIMULATED} simulated workers",
            of_job,
            SIMULATED * of_worker,
            of_job / SIMULATED / of_worker,
            "rows/s",
            1.0,
            True,
            1,
        ),
    )
    note = (
        f"{MODEL}, {CHUNKS} chunks of {ROWS:,} digits in one Parquet file on a local disk. Workers are processes of "
        "this machine with one thread each; the job's process has the scheduler, and reading the file for its SHA-256 "
        "counts as work. Nothing was measured on more than one machine. Simulated: what the job can verify and join in "
        f"a processor second, beside what {SIMULATED} workers would score in it, each as the measured ones."
    )
    return Report("Scoring on several workers", figures, note)


def _write(inbox: Path) -> None:
    inbox.mkdir()
    pixels, _ = digits("test")
    count = len(pixels)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(pixels.reshape(-1)), SIDE * SIDE)
    table = pa.concat_tables([pa.table({"pixels": lists})] * -(-ROWS * CHUNKS // count)).slice(0, ROWS * CHUNKS)
    pq.write_table(table, inbox / "rows.parquet", row_group_size=ROWS)
    # A file that has just been made counts as still being written.
    os.utime(inbox / "rows.parquet", (0, 0))


def _job(place: Path, scheduler: str) -> tuple[float, float, float]:
    """Run a job; return its seconds, its processor seconds, and those of them in which it joined chunks."""
    shutil.rmtree(place / "predictions", ignore_errors=True)
    scoring = Scoring(
        model=str(bundle(MODEL)),
        input=str(place / "inbox"),
        output=str(place / "predictions"),
        quarantine=str(place / "quarantine"),
        engine={"kind": "dask", "scheduler": scheduler},  # type: ignore[arg-type]
        settle_seconds=0.0,
    )
    joined, real = [0.0], DaskEngine._join

    def timed(self: DaskEngine, *arguments: Any) -> None:
        before = time.thread_time()
        real(self, *arguments)
        joined[0] += time.thread_time() - before

    began, used = time.perf_counter(), time.process_time()
    with patch.object(DaskEngine, "_join", timed):
        score_inbox(scoring, staging=place / "staging").require_no_failure()
    return time.perf_counter() - began, time.process_time() - used, joined[0]


def _processor_seconds(client: "distributed.Client") -> float:
    return float(sum(client.run(_used).values()))


def _used() -> float:
    own = psutil.Process()
    times = [one.cpu_times() for one in (own, *own.children(recursive=True))]
    return float(sum(one.user + one.system for one in times))
