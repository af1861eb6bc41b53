"""DVC's graph, read and run through DVC's command line: which stages there are, which are stale, and running one.

DVC decides what has to be done and does it; here is only the order, several at a time, and what is shown meanwhile.
"""

import json
import queue
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import IO, Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger

from pipelines.processes import Children, environment
from pipelines.retries import AFTER_NETWORK_FAULTS
from unroll.errors import PASSING_EXIT, UnrollError
from unroll.files import write_text

Graph = Mapping[str, frozenset[str]]
"""Stage -> the stages whose outputs it reads, in the order of dvc.yaml."""

KEPT_ERROR_LINES = 30

# What `dvc repro` says to a person at a keyboard about itself; all of it is said better by the flow.
_CHATTER = re.compile(
    r"\s*$|Running stage '|> |(Generating|Updating) lock file '|Use `dvc push`|To track the changes with git, run:"
    r"|\s+git add |To enable auto staging, run:|\s+dvc config core\.autostage|Data and pipelines are up to date"
    r"|Stage '.*' didn't change, skipping|Stage '.*' is cached - skipping run"
)


class DvcError(UnrollError):
    """DVC itself could not answer: there is no repository, or its dvc.yaml is faulty."""


class StageError(UnrollError):
    """One stage failed.

    Attributes:
        stage: Its name.
        exit_status: Of DVC's process; negative where a signal ended it.
        lines: The last lines that it wrote to its standard error.
        passing: Whether a server was away, so that another try may succeed.
    """

    def __init__(self, stage: str, exit_status: int, lines: Iterable[str]) -> None:
        self.stage = stage
        self.exit_status = exit_status
        self.lines = tuple(lines)
        # DVC's own status is the same for every failed stage; what the command ended with stands in what DVC says.
        self.passing = any(re.search(rf"\bexited with {PASSING_EXIT}$", line) for line in self.lines)
        super().__init__("\n    ".join([f"{stage} failed (exit status {exit_status}):", *self.lines]))


@dataclass
class Outcome:
    """What became of the stages that were to be run."""

    done: dict[str, float] = field(default_factory=dict)
    """Stage -> seconds."""
    failed: dict[str, BaseException] = field(default_factory=dict)
    blocked: list[str] = field(default_factory=list)
    """Stages that were not started, because one that they build on failed."""


def say(line: str) -> None:
    """Prints one line at once and whole, whichever thread says it."""
    print(line + "\n", end="", flush=True)


def read_graph() -> Graph:
    """Asks DVC for its graph.

    Raises:
        DvcError: This is no DVC repository, or its dvc.yaml is faulty.
    """
    graph: dict[str, set[str]] = {}
    for line in _dvc("dag", "--dot").splitlines():
        # `"compare";` is a stage, `"evaluate@mnist-lstm" -> "compare";` says that the second reads from the first.
        names = re.findall(r'"([^"]+)"', line)
        for name in names:
            graph.setdefault(name, set())
        if len(names) == 2:
            graph[names[1]].add(names[0])
    return {stage: frozenset(upstream) for stage, upstream in graph.items()}


def read_stale(graph: Graph) -> set[str]:
    """Asks DVC which stages have changed; adds all that build on them, because DVC looks at what is on disk now.

    Raises:
        DvcError: DVC could not tell.
    """
    changed = set(json.loads(_dvc("status", "--json")))
    return (changed | _descendants(graph, changed)) & set(graph)


def run_stages(graph: Graph, stale: set[str], slots: int, seconds: Mapping[str, float]) -> Outcome:
    """Runs the stale stages as Prefect tasks, `slots` at a time, each as soon as those it reads from are done.

    Of several that are ready, the one with the longest way to the end of the graph starts first. A stage that fails
    stops only those that build on it. To be called inside a flow; when it is interrupted, every stage is stopped.

    Args:
        graph: The whole graph.
        stale: The stages to run, closed under "builds on".
        slots: Stages at a time, 1 or more.
        seconds: Stage -> how long it will take, about; a stage that is missing counts as 1 second.
    """
    way = _longest_way(graph, seconds)
    # Stage -> those that it still waits for; the one with the longest way comes first, then dvc.yaml's order counts.
    order = sorted((stage for stage in graph if stage in stale), key=lambda stage: -way[stage])
    waiting = {stage: set(graph[stage] & stale) for stage in order}
    running: dict[PrefectFuture[None], tuple[str, float]] = {}
    finished: queue.SimpleQueue[PrefectFuture[None]] = queue.SimpleQueue()
    outcome = Outcome()
    total = len(waiting)

    def progress(stage: str, event: str) -> None:
        say(f"[{len(outcome.done):>{len(str(total))}}/{total}] {stage}: {event}")

    children = Children()
    try:
        while True:
            # A task that waits would hold a thread of Prefect's task runner: only what can start is submitted.
            ready = [stage for stage, missing in waiting.items() if not missing]
            for stage in ready[: slots - len(running)]:
                del waiting[stage]
                progress(stage, "started")
                future = run_stage.submit(stage, children)
                running[future] = (stage, time.monotonic())
                future.add_done_callback(finished.put)
            if not running:
                break
            future = finished.get()
            stage, started = running.pop(future)
            error = _error_of(future)
            if error is not None:
                outcome.failed[stage] = error
                progress(stage, "FAILED")
                continue
            outcome.done[stage] = time.monotonic() - started
            progress(stage, f"done in {outcome.done[stage]:.1f} s")
            for missing in waiting.values():
                missing.discard(stage)
    finally:
        children.stop()
    outcome.blocked = list(waiting)
    return outcome


def sort_lock_file(graph: Graph, path: Path = Path("dvc.lock")) -> None:
    """Puts the stages of dvc.lock into the graph's order, the one in which plain `dvc repro` writes them.

    DVC appends a stage when it ends, and which of two ends first is chance: equal runs would write different files.
    """
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8")
    # Stages are indented by two, what belongs to them by more; another section may follow.
    section = re.search(r"^stages:\n((?:  .*\n)+)", text, re.MULTILINE)
    if section is None:
        return
    position = {stage: index for index, stage in enumerate(graph)}
    entries = re.split(r"^(?=  \S)", section[1], flags=re.MULTILINE)
    entries.sort(key=lambda entry: position.get(entry.partition(":\n")[0].strip(" '\""), len(position)))
    ordered = text[: section.start(1)] + "".join(entries) + text[section.end(1) :]
    if ordered != text:
        write_text(path, ordered)


@task(name="dvc-stage", task_run_name="{stage}", cache_policy=NO_CACHE, **AFTER_NETWORK_FAULTS)
def run_stage(stage: str, children: Children) -> None:
    """Runs one DVC stage, without those it builds on, and shows its output line by line.

    Args:
        stage: A name of DVC's graph, `train@mnist-lstm`.
        children: What the flow stops when it is interrupted: this task's thread does not hear of it.

    Raises:
        StageError: It failed; the message ends with what it wrote to its standard error.
    """
    logger = get_run_logger()
    errors: deque[str] = deque(maxlen=KEPT_ERROR_LINES)

    def tell(line: str) -> None:
        if children.stopped:
            return  # a stage that was told to stop has nothing more to say
        say(f"{stage} | {line}")
        logger.info(line)

    def tell_error(line: str) -> None:
        errors.append(line)
        tell(line)

    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", stage]
    with children.start(command) as process:
        reader = threading.Thread(target=_forward, args=(process.stderr, tell_error), daemon=True)
        reader.start()
        _forward(process.stdout, tell)
        reader.join()
        status = process.wait()
    if status != 0:
        raise StageError(stage, status, errors)


def _forward(pipe: IO[str] | None, tell: Callable[[str], None]) -> None:
    for line in pipe or ():
        if not _CHATTER.match(line):
            tell(line.rstrip())


def _dvc(*arguments: str) -> str:
    """Standard output of a DVC command that answers a question."""
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments]
    answer = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", env=environment(), check=False
    )
    if answer.returncode != 0:
        said = answer.stderr.strip() or answer.stdout.strip() or "nothing"
        raise DvcError(f"`dvc {' '.join(arguments)}` in {Path.cwd()} failed (exit status {answer.returncode}):\n{said}")
    return answer.stdout


def _descendants(graph: Graph, stages: Iterable[str]) -> set[str]:
    """All that build on `stages`, near or far."""
    found: set[str] = set()
    edge = set(stages)
    while edge:
        edge = {stage for stage, upstream in graph.items() if upstream & edge} - found
        found |= edge
    return found


def _longest_way(graph: Graph, seconds: Mapping[str, float]) -> dict[str, float]:
    """Stage -> seconds from its start to the end of the longest chain that begins with it."""
    ways: dict[str, float] = {}
    for stage in reversed(list(TopologicalSorter(graph).static_order())):
        after = [ways[other] for other, upstream in graph.items() if stage in upstream]
        ways[stage] = seconds.get(stage, 1.0) + max(after, default=0.0)
    return ways


def _error_of(future: PrefectFuture[None]) -> BaseException | None:
    result: Any = future.result(raise_on_failure=False)
    return result if isinstance(result, BaseException) else None
