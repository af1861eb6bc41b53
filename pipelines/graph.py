"""DVC's graph, read through DVC's command line, and the time from each of its stages to the end and to a result."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

from pipelines.processes import environment
from unroll.errors import UnrollError
from unroll.redaction import redacted

Graph = Mapping[str, frozenset[str]]
"""Stage -> the stages whose outputs it reads, in the order of dvc.yaml."""


class DvcError(UnrollError):
    """DVC could not answer: the folder is not a DVC repository, or its dvc.yaml is faulty."""


def read_graph() -> Graph:
    """Read the stages and their edges.

    Raises:
        DvcError: The folder is not a DVC repository, or its dvc.yaml is faulty.
    """
    graph: dict[str, set[str]] = {}
    for line in _dvc("dag", "--dot").splitlines():
        # `"compare";` is a stage; `"export@mnist-lstm" -> "compare";` is an edge: the second reads from the first.
        names = re.findall(r'"([^"]+)"', line)
        for name in names:
            graph.setdefault(name, set())
        if len(names) == 2:
            graph[names[1]].add(names[0])
    return {stage: frozenset(upstream) for stage, upstream in graph.items()}


def read_stale(graph: Graph) -> set[str]:
    """Return the stages that have changed, and all that depend on them: `dvc status` looks only at what is on disk now.

    Raises:
        DvcError: DVC could not compare the stages with its lock file.
    """
    stale = set(json.loads(_dvc("status", "--json")))
    for stage in TopologicalSorter(graph).static_order():
        if graph[stage] & stale:
            stale.add(stage)
    return stale & set(graph)


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
    blocked = {failed}
    for stage in TopologicalSorter(graph).static_order():
        if graph[stage] & blocked:
            blocked.add(stage)
    return blocked - {failed}


def _dvc(*arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", env=environment(), check=False
    )
    if done.returncode != 0:
        output = redacted(done.stderr.strip() or done.stdout.strip() or "no output")
        raise DvcError(f"`dvc {' '.join(arguments)}` in {Path.cwd()} failed (exit status {done.returncode}):\n{output}")
    return done.stdout
