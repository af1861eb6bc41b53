"""DVC's stages as Prefect tasks, connected as DVC's graph is."""

import contextlib
import heapq
import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.logging import get_run_logger

from pipelines.graph import Graph
from pipelines.processes import Children
from pipelines.retries import RETRY_WHEN_UNAVAILABLE
from pipelines.summary import print_line
from unroll.errors import UNAVAILABLE_EXIT, ServiceUnavailable, UnrollError

# Without DVC's own messages below the level of a warning: the flow reports progress.
_REPRO = """
import logging, sys
from dvc.cli import main
logging.disable(logging.INFO)
sys.exit(main(["--wait-for-lock", "repro", "--single-item", sys.argv[1]]))
"""
_DVC_HINTS = ("Use `dvc push`", "Data and pipelines are up to date.")


class StageError(UnrollError):
    """A stage failed. The message ends with its last lines."""


class Slots:
    """A limit of stages at a time. A free slot goes to the stage with the lowest rank of those that wait for one."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: list[int] = []
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def take(self, rank: int) -> Iterator[None]:
        """Wait for a slot, and hold it for the block."""
        with self._changed:
            heapq.heappush(self._waiting, rank)
            self._changed.wait_for(lambda: self._free > 0 and self._waiting[0] == rank)
            heapq.heappop(self._waiting)
            self._free -= 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()


class Shared:
    """What the stages of one flow run share: slots, child processes, and how many of them are done."""

    def __init__(self, slots: int, total: int) -> None:
        self.slots, self.children = Slots(slots), Children()
        self._done, self._total = 0, total
        self._lock = threading.Lock()

    def progress(self, stage: str, event: str, done: int = 0) -> None:
        """Add to the number of stages that are done, and print a line such as `[ 3/101] train@mnist-lstm: started`."""
        with self._lock:
            self._done += done
            if not self.children.stopped:
                print_line(f"[{self._done:>{len(str(self._total))}}/{self._total}] {stage}: {event}")


def run_stages(graph: Graph, order: Sequence[str], slots: int) -> dict[str, State[Any]]:
    """Run stages as Prefect tasks, each as soon as those that it reads from are done and a slot is free.

    A stage that fails blocks only those that depend on it. Must be called inside a flow, whose interruption stops every
    stage.

    Args:
        graph: The whole graph.
        order: The stages to run, each after those that it reads from. Earlier ones are preferred.
        slots: The number of stages at a time, at least 1.

    Returns:
        Stage -> its last state: completed, failed, or NotReady where a stage that it depends on failed.
    """
    shared = Shared(slots, len(order))
    futures: dict[str, PrefectFuture[None]] = {}
    try:
        for rank, stage in enumerate(order):
            upstream = [futures[name] for name in sorted(graph[stage]) if name in futures]
            futures[stage] = run_stage.submit(stage, rank, shared, wait_for=upstream, return_state=False)
        wait(list(futures.values()))
    finally:
        shared.children.stop()
    return {stage: future.state for stage, future in futures.items()}


@task(name="dvc-stage", task_run_name="{stage}", cache_policy=NO_CACHE, **RETRY_WHEN_UNAVAILABLE)
def run_stage(stage: str, rank: int, shared: Shared) -> None:
    """Run one DVC stage, and print and log its output line by line.

    Raises:
        ServiceUnavailable: A server was away; another attempt may succeed.
        StageError: The stage failed for another reason.
    """
    logger = get_run_logger()

    def report(line: str) -> None:
        if line and not line.startswith(_DVC_HINTS):
            print_line(f"{stage} | {line}")
            logger.info(line)

    with shared.slots.take(rank):
        shared.progress(stage, "started")
        started = time.monotonic()
        status, last = shared.children.run([sys.executable, "-c", _REPRO, stage], report)
    if status == 0:
        shared.progress(stage, f"done in {time.monotonic() - started:.1f} s", done=1)
        return
    shared.progress(stage, "FAILED")
    # DVC exits alike for every failed stage; its message has the status of the stage's command.
    unavailable = any(re.search(rf"\bexited with {UNAVAILABLE_EXIT}$", line) for line in last)
    kind = ServiceUnavailable if unavailable else StageError
    raise kind("\n    ".join([f"{stage} failed (exit status {status}):", *last]))
