"""What the gates said last of each experiment, in models/EXPERIMENT/promotion.json, and all of it as one table."""

import sys
from collections.abc import Sequence
from typing import Any

from unroll import paths
from unroll.config.reading import entry_names
from unroll.files import read_json, sha256_of, write_json
from unroll.promotion.gates import GATES, Verdict

WIDTH = 140
_MARKS = {True: "passed", False: "refused", None: "–"}


def write(verdict: Verdict) -> None:
    """Keeps what was decided."""
    write_json(paths.promotion(verdict.experiment), verdict.plain())


def decided(experiment: str) -> Verdict | None:
    """What was decided of the bundle that is there now; None where there is no bundle, or nothing was decided."""
    graph, path = paths.graph(experiment), paths.promotion(experiment)
    if not graph.is_file() or not path.is_file():
        return None
    verdict = Verdict.of(read_json(path))
    return verdict if verdict.model_sha256 == sha256_of(graph) else None


def exported() -> list[str]:
    """Experiments of params.yaml that have a bundle, in its order."""
    # A folder without params.yaml has no experiments, either.
    names = entry_names("experiments") if paths.PARAMS.exists() else []
    return [name for name in names if paths.graph(name).is_file()]


def undecided() -> list[str]:
    """Those whose bundle no gate has seen."""
    return [name for name in exported() if decided(name) is None]


def table(verdicts: Sequence[Verdict]) -> Any:
    """A line an experiment, for the terminal: what each gate said, what was decided then, and why."""
    from rich.table import Table

    shown = Table(title="What the gates decided", show_lines=False)
    for name in ("experiment", *GATES, "decision"):
        shown.add_column(name, no_wrap=True)
    shown.add_column("why", overflow="fold")
    for verdict in verdicts:
        marks = [_MARKS[gate.passed] for gate in verdict.gates] or ["–"] * len(GATES)
        decision = f"{verdict.decision} v{verdict.version}" if verdict.version else verdict.decision
        shown.add_row(verdict.experiment, *marks, decision, verdict.why)
    return shown


def show(verdicts: Sequence[Verdict]) -> None:
    """Prints the table; where the output is a file, there is no width to fit into."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else WIDTH).print(table(verdicts))
