"""The latest verdict on each experiment, in models/EXPERIMENT/promotion.json, and all of them as a table."""

import sys
from collections.abc import Sequence

from unroll import paths
from unroll.config.reading import entry_names
from unroll.files import read_json, sha256_of, write_json
from unroll.promotion.gates import GATES, Verdict

WIDTH = 140
_MARKS = {True: "passed", False: "refused", None: "–"}


def write(verdict: Verdict) -> None:
    """Write a verdict to its file."""
    write_json(paths.promotion(verdict.experiment), verdict.to_json())


def decided(experiment: str) -> Verdict | None:
    """Return the verdict on an experiment's present bundle; None if there is no bundle or no verdict on it."""
    graph, path = paths.graph(experiment), paths.promotion(experiment)
    if not graph.is_file() or not path.is_file():
        return None
    verdict = Verdict.from_json(read_json(path))
    return verdict if verdict.model_sha256 == sha256_of(graph) else None


def exported() -> list[str]:
    """Return the experiments of params.yaml that have a bundle, in the file's order."""
    names = entry_names("experiments") if paths.PARAMS.exists() else []
    return [name for name in names if paths.graph(name).is_file()]


def undecided() -> list[str]:
    """Return the experiments whose bundle the gates have not examined."""
    return [name for name in exported() if decided(name) is None]


def show(verdicts: Sequence[Verdict]) -> None:
    """Print a table with a line per experiment: the result of each gate, the decision, and the reason."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="What the gates decided", show_lines=False)
    for name in ("experiment", *GATES, "decision"):
        table.add_column(name, no_wrap=True)
    table.add_column("reason", overflow="fold")
    for verdict in verdicts:
        marks = [_MARKS[gate.passed] for gate in verdict.gates] or ["–"] * len(GATES)
        decision = f"{verdict.decision} v{verdict.version}" if verdict.version else verdict.decision
        table.add_row(verdict.experiment, *marks, decision, verdict.reason)
    # A file has no width to fit into.
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
