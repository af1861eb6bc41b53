"""DVC's stages as Prefect tasks, connected as DVC's graph is."""

import contextlib
import math
import re
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.logging import get_run_logger

from pipelines.display import Display
from pipelines.estimates import Estimates
from pipelines.graph import Graph, blocked_by, seconds_to_end, seconds_to_result
from pipelines.processes import Children
from pipelines.schedule import RETRY_WHEN_UNAVAILABLE
from unroll import paths
from unroll.errors import UNAVAILABLE_EXIT, ServiceUnavailable, UnrollError

if TYPE_CHECKING:
    from pipelines.dask_stages import Workers

_SECONDS_TO_ASK = 5.0
"""A stage whose upstream stages are done asks for a slot within milliseconds."""
_DVC_HINTS = ("Use `dvc push`", "Data and pipelines are up to date.")


class StageError(UnrollError):
    """A stage failed. The message ends with its last lines."""


class Slots:
    """A limit on the number of stages that run at the same time.

    Slots go to the stages that are nearest to a result, so that results appear early. Once the longest chain takes as
    long as a slot's share of all that waits, one slot works through it, so that the run ends early.

    Args:
        count: Number of slots, at least 1.
        graph: Stage -> the stages that it waits for.
        to_end: Stage -> seconds from its start to the end of the graph.
        to_result: Stage -> seconds of all stages that are left to the quickest result behind it; may lack stages. It is
            read anew for each free slot.
        seconds: Stage -> its own seconds.

    Attributes:
        not_begun: The stages that have not taken a slot yet.
        done: The stages that have succeeded.
    """

    def __init__(
        self,
        count: int,
        graph: Graph,
        to_end: Mapping[str, float],
        to_result: Mapping[str, float],
        seconds: Callable[[str], float],
    ) -> None:
        self._count = self._free = count
        self._graph, self._to_end, self._to_result = graph, to_end, to_result
        self._seconds = seconds
        self.not_begun, self.done = set(graph), set[str]()
        self._longest: str | None = None
        self._waiting: set[str] = set()
        self._expected_until = time.monotonic() + _SECONDS_TO_ASK
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def take(self, stage: str) -> Iterator[None]:
        """Wait for a slot, and hold it for the block."""
        with self._changed:
            self._waiting.add(stage)
            # A stage that never asks, because Prefect could not start its task, holds the others up for a moment only.
            while not self._changed.wait_for(lambda: self._free > 0 and self._next() == stage, _SECONDS_TO_ASK):
                pass
            if stage == self._critical():
                self._longest = stage
            self._waiting.remove(stage)
            self.not_begun.discard(stage)
            self._free -= 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                if self._longest == stage:
                    self._longest = None
                self._changed.notify_all()

    def completed(self, stage: str) -> None:
        """Note that a stage has succeeded, before it gives its slot back."""
        with self._changed:
            self.done.add(stage)
            self._expected_until = time.monotonic() + _SECONDS_TO_ASK

    def forget(self, stages: Collection[str]) -> None:
        """Stop counting stages that will never begin."""
        with self._changed:
            self.not_begun -= set(stages)

    def _ready(self) -> set[str]:
        """Return the stages that can begin: those that wait, and those that are about to ask for a slot.

        Without the latter, the slot of a stage would never go to the stage that follows it.
        """
        expected = self.not_begun if time.monotonic() < self._expected_until else ()
        return self._waiting | {stage for stage in expected if self._graph[stage] <= self.done}

    def _next(self) -> str:
        """Return the stage that gets the next free slot."""
        return self._critical() or min(self._ready(), key=self._distance)

    def _critical(self) -> str | None:
        """Return the stage of the longest chain that can begin, if that must go on now and no slot works through it."""
        stage = max(self._ready(), key=lambda stage: (self._to_end[stage], stage))
        share = sum(map(self._seconds, self.not_begun)) / self._count
        return stage if self._longest is None and self._to_end[stage] >= share else None

    def _distance(self, stage: str) -> tuple[float, float, str]:
        return self._to_result.get(stage, math.inf), -self._to_end[stage], stage


class Shared:
    """What the stages of one flow run share: slots, child processes, workers, the display, and how long stages take."""

    def __init__(self, graph: Graph, stages: Collection[str], slots: int, workers: "Workers | None") -> None:
        self._workers = workers
        self.estimates = Estimates()
        self._graph = {stage: graph[stage] & set(stages) for stage in stages}
        to_end = seconds_to_end(self._graph, self.estimates.of)
        self._to_result = seconds_to_result(self._graph, self.estimates.of)
        self.slots = Slots(slots, self._graph, to_end, self._to_result, self.estimates.of)
        self.children = Children()
        self.display = Display(
            stages, lambda running: self.estimates.left(running, set(self.slots.not_begun), to_end, slots)
        )

    def run(self, stage: str, report: Callable[[str], None]) -> tuple[int, list[str]]:
        """Run a stage, here or on a worker, and return its exit status and last lines."""
        if self._workers:
            return self._workers.run(stage, self.children, report)
        return self.children.run([sys.executable, "-m", "pipelines.dvc_process", "repro", stage], report)

    def started(self, stage: str) -> None:
        """Show that a stage runs."""
        # One of an earlier process would be shown until the first step.
        paths.progress(stage.partition("@")[2]).unlink(missing_ok=True)
        self.display.started(stage)

    def ended(self, stage: str, status: int) -> None:
        """Show that a stage has ended, unless the run was stopped; keep how long it has taken."""
        if not self.children.stopped:
            seconds = self.display.ended(stage, failed=status != 0)
            if status == 0:
                self.estimates.measured(stage, seconds)
                self.slots.completed(stage)
                done = set(self.slots.done)
                left = {name: upstream - done for name, upstream in self._graph.items() if name not in done}
                self._to_result.update(seconds_to_result(left, self.estimates.of))
            else:
                self.slots.forget(blocked_by(self._graph, stage))


def run_stages(
    graph: Graph, stages: Collection[str], slots: int, workers: "Workers | None" = None
) -> dict[str, State[Any]]:
    """Run stages as Prefect tasks, each as soon as those that it reads from are done and a slot is free.

    A stage that fails blocks only those that depend on it. Must be called inside a flow, whose interruption stops every
    stage.

    Args:
        graph: The whole graph.
        stages: The stages to run.
        slots: The number of stages at a time, at least 1.
        workers: Where most stages run; by default on this machine. They are closed at the end.

    Returns:
        Stage -> its last state: completed, failed, or NotReady where a stage that it depends on failed.
    """
    shared = Shared(graph, stages, slots, workers)
    futures: dict[str, PrefectFuture[None]] = {}
    try:
        for stage in (stage for stage in TopologicalSorter(graph).static_order() if stage in stages):
            upstream = [futures[name] for name in sorted(graph[stage]) if name in futures]
            futures[stage] = run_stage.submit(stage, shared, wait_for=upstream, return_state=False)
        wait(list(futures.values()))
    finally:
        # First the children: what they print meanwhile is not shown any more.
        try:
            shared.children.stop()
        finally:
            shared.display.close()
            if workers:
                workers.close()
    return {stage: future.state for stage, future in futures.items()}


@task(name="dvc-stage", task_run_name="{stage}", cache_policy=NO_CACHE, **RETRY_WHEN_UNAVAILABLE)
def run_stage(stage: str, shared: Shared) -> None:
    """Run one DVC stage, and show and log its output line by line.

    Raises:
        ServiceUnavailable: A server was unavailable; another attempt may succeed.
        StageError: The stage failed for another reason.
    """
    logger = get_run_logger()

    def report(line: str) -> None:
        if line and not line.startswith(_DVC_HINTS):
            shared.display.line(stage, line)
            logger.info(line)

    with shared.slots.take(stage):
        shared.started(stage)
        status, last = shared.run(stage, report)
        shared.ended(stage, status)
    if status == 0:
        return
    # DVC exits alike for every failed stage; its message has the status of the stage's command.
    unavailable = status == UNAVAILABLE_EXIT or any(
        re.search(rf"\bexited with {UNAVAILABLE_EXIT}$", line) for line in last
    )
    kind = ServiceUnavailable if unavailable else StageError
    raise kind("\n    ".join([f"{stage} failed (exit status {status}):", *last]))
