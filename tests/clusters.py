"""Clusters of Dask in processes of this machine, each worker with a folder of its own."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import dask
import distributed


@contextlib.contextmanager
def cluster(folder: Path, workers: int, lost_after: str = "5 minutes") -> Iterator[distributed.LocalCluster]:
    """A running cluster of so many workers with one thread each, and all that it has started gone afterwards.

    A worker that is silent for longer loses its work to others; by default as long as Dask's own default is.
    """
    with (
        dask.config.set({"distributed.scheduler.worker-ttl": lost_after}),
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
