"""Clusters of Dask in processes of this machine, each worker with a folder of its own."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import dask
import distributed

LOST_AFTER = "10s"
"""How long a worker may be silent before its work is given to others; Dask's default is five minutes."""


@contextlib.contextmanager
def cluster(folder: Path, workers: int) -> Iterator[distributed.LocalCluster]:
    """A running cluster of so many workers with one thread each, and all that it has started gone afterwards."""
    with (
        dask.config.set({"distributed.scheduler.worker-ttl": LOST_AFTER}),
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            local_directory=str(folder),
            silence_logs="CRITICAL",
        ) as found,
    ):
        yield found
