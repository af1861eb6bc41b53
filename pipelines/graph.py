"""DVC's graph, read by a process that runs DVC, and the time from each of its stages to the end and to a result."""

import json
import math
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

from pipelines.processes import environment
from unroll.errors import UnrollError
from unroll.redaction import redacted

Graph = Mapping[str, frozenset[str]]
"""Stage -> the stages whose outputs it reads."""


class DvcError(UnrollError):
    """DVC could not answer: the folder is not a DVC repository, or its dvc.yaml is faulty."""


@dataclass(frozen=True)
class Plan:
    """What a run has to do.

    Attributes:
        graph: All stages.
        wanted: The stages that belong to the run.
        stale: Those of them that have changed, or depend on one that has.
    """

    graph: Graph
    wanted: frozenset[str]
    stale: frozenset[str]


def read_plan(only: Collection[str] | None = None, meanwhile: Callable[[], object] = lambda: None) -> Plan:
    """Ask DVC for its graph, and for what has changed.

    Args:
        only: The experiments of the run; by default all stages belong to it.
        meanwhile: Called while DVC reads, which takes seconds.

    Raises:
        DvcError: The folder is not a DVC repository, its dvc.yaml is faulty, or there is no such experiment.
    """
    command = [sys.executable, "-m", "pipelines.dvc_process", "read"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, encoding="utf-8", env=environment()
    ) as child:
        try:
            meanwhile()
            out, errors = child.communicate()
        except BaseException:
            child.kill()
            raise
    if child.returncode != 0:
        output = redacted(errors.strip() or out.strip() or "no output")
        raise DvcError(f"DVC cannot read the stages of {Path.cwd()}:\n{output}")
    read = json.loads(out)
    graph = {stage: frozenset(upstream) for stage, upstream in read["stages"].items()}
    wanted = needed_for(graph, only) if only else set(graph)
    return Plan(graph, frozenset(wanted), frozenset(_with_downstream(graph, read["changed"]) & wanted))


def needed_for(graph: Graph, experiments: Collection[str]) -> set[str]:
    """Return the stages that the results of these experiments need.

    Raises:
        DvcError: There is no such experiment.
    """
    needed: set[str] = set()
    missing = [name for name in experiments if f"export@{name}" not in graph]
    if missing:
        known = ", ".join(sorted(stage.partition("@")[2] for stage in graph if stage.startswith("export@")))
        raise DvcError(f"there is no experiment {', '.join(missing)}; there are: {known}")
    left = [f"export@{name}" for name in experiments]
    while left:
        stage = left.pop()
        needed.add(stage)
        left += graph[stage] - needed
    return needed


def seconds_to_end(graph: Graph, seconds: Callable[[str], float]) -> dict[str, float]:
    """Return the seconds from the start of each stage to the end of the graph, along its longest chain."""
    chain: dict[str, float] = {}
    for stage in reversed(list(TopologicalSorter(graph).static_order())):
        after = [chain[other] for other, upstream in graph.items() if stage in upstream]
        chain[stage] = seconds(stage) + max(after, default=0.0)
    return chain


def seconds_to_result(graph: Graph, seconds: Callable[[str], float]) -> dict[str, float]:
    """Return for each stage what the quickest result behind it costs: the seconds of all stages that it needs."""
    nearest: dict[str, float] = {}
    for stage in (stage for stage in graph if stage.startswith("export@")):
        needed = needed_for(graph, [stage.partition("@")[2]])
        cost = sum(map(seconds, needed))
        for one in needed:
            nearest[one] = min(cost, nearest.get(one, math.inf))
    return nearest


def blocked_by(graph: Graph, failed: str) -> set[str]:
    """Return the stages that depend on a stage, directly or not."""
    return _with_downstream(graph, [failed]) - {failed}


def _with_downstream(graph: Graph, stages: Collection[str]) -> set[str]:
    """Return the stages and all that depend on them."""
    found = set(stages)
    for stage in TopologicalSorter(graph).static_order():
        if graph[stage] & found:
            found.add(stage)
    return found
