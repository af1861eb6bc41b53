"""DVC's graph, read through DVC's command line, and the order in which its stages should start."""

import json
import re
import subprocess
import sys
from collections.abc import Container, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

from pipelines.processes import environment
from unroll import paths
from unroll.errors import UnrollError
from unroll.files import digest_of
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


def longest_chain_first(graph: Graph, stages: Container[str]) -> list[str]:
    """Sort stages by the expected seconds from their start to the end of the graph, longest first.

    Every stage comes after those that it reads from.
    """
    seconds: dict[str, float] = {}
    for stage in reversed(list(TopologicalSorter(graph).static_order())):
        after = [seconds[other] for other, upstream in graph.items() if stage in upstream]
        seconds[stage] = _expected_seconds(stage) + max(after, default=0.0)
    return sorted((stage for stage in graph if stage in stages), key=lambda stage: -seconds[stage])


def seconds_of_training(experiment: str) -> float | None:
    """Return how long the training of the present weights took; None where this machine did not train them."""
    try:
        timing = json.loads(paths.timing(experiment).read_text(encoding="utf-8"))
        # DVC may have restored the weights of another training; it does not track timings.
        ours = timing["weights_sha256"] == digest_of(paths.weights(experiment))
        return float(timing["seconds"]) if ours else None
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return None


def _expected_seconds(stage: str) -> float:
    """Only the order of magnitude matters, and only until a training has run once."""
    verb, _, name = stage.partition("@")
    return (seconds_of_training(name) or 60.0) if verb == "train" else 10.0


def _dvc(*arguments: str) -> str:
    """Return the standard output of a DVC command."""
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", env=environment(), check=False
    )
    if done.returncode != 0:
        output = redacted(done.stderr.strip() or done.stdout.strip() or "no output")
        raise DvcError(f"`dvc {' '.join(arguments)}` in {Path.cwd()} failed (exit status {done.returncode}):\n{output}")
    return done.stdout
