"""The latest verdict on each experiment, in models/EXPERIMENT/promotion.json, and all of them as a table."""

import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from unroll import paths
from unroll.config.reading import entry_names
from unroll.files import read_json, sha256_of, write_json
from unroll.promotion.gates import GATES, Verdict

if TYPE_CHECKING:
    from rich.console import Console

TITLE = "What the gates decided"
_WIDTH = 140


def write(verdict: Verdict) -> None:
    """Write a verdict to its file."""
    write_json(paths.promotion(verdict.experiment), asdict(verdict))


def decided(experiment: str) -> Verdict | None:
    """Return the verdict on an experiment's present bundle; None if there is no bundle or no verdict on it."""
    graph, path = paths.graph(experiment), paths.promotion(experiment)
    if not graph.is_file() or not path.is_file():
        return None
    verdict = TypeAdapter(Verdict).validate_python(read_json(path))
    return verdict if verdict.model_sha256 == sha256_of(graph) else None


def exported() -> list[str]:
    """Return the experiments of params.yaml that have a bundle, in the file's order."""
    names = entry_names("experiments") if paths.PARAMS.exists() else []
    return [name for name in names if paths.graph(name).is_file()]


def unexamined(among: Collection[str] | None = None) -> list[str]:
    """Return the experiments whose bundle the gates have not examined, of these or of all."""
    return [name for name in exported() if (among is None or name in among) and decided(name) is None]


def table(verdicts: Sequence[Verdict]) -> list[dict[str, str]]:
    """Return a row per experiment: the result of each gate, the decision, and the reason."""
    rows = []
    for one in verdicts:
        marks = ["–" if gate.outcome == "skipped" else gate.outcome for gate in one.gates] or ["–"] * len(GATES)
        decision = f"{one.decision} v{one.version}" if one.version else one.decision
        gates = dict(zip(GATES, marks, strict=True))
        rows.append({"experiment": one.experiment, **gates, "decision": decision, "reason": one.reason})
    return rows


def show(verdicts: Sequence[Verdict]) -> None:
    """Print the table of verdicts; the reason is wrapped if the terminal is too narrow."""
    from rich.table import Table

    rows = table(verdicts)
    shown = Table(title=TITLE)
    for name in rows[0]:
        shown.add_column(name, no_wrap=name != "reason", overflow="fold")
    for row in rows:
        shown.add_row(*row.values())
    table_console().print(shown)


def table_console() -> "Console":
    """Return a console to print a table on: as wide as the terminal, or of a width of its own in a file."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _WIDTH)
