"""What a training prints: lines of progress, the leaderboard, and where everything is."""

import sys
from collections.abc import Collection

from rich.console import Console
from rich.table import Table

from pipelines.graph import seconds_of_training
from unroll import paths
from unroll.config.reading import entry_names
from unroll.files import read_json
from unroll.promotion import results as gates
from unroll.redaction import redacted

COLUMNS = ("experiment", "task", "metric", "value", "baseline", "baseline_value", "parity", "seconds")
_WIDTH_OF_FILES = 140


def print_line(line: str) -> None:
    """Print a line without secrets, whole and at once, from whichever thread."""
    print(redacted(line) + "\n", end="", flush=True)


def read_results(experiments: Collection[str] | None = None) -> list[dict[str, str]]:
    """Return the leaderboard so far, of these experiments or of all, with the seconds of each training."""
    rows = [read_json(path) for path in paths.RESULTS.glob("*.json")]
    names = experiments or (entry_names("experiments") if rows else [])
    rows = sorted((row for row in rows if row["experiment"] in names), key=lambda row: (row["task"], row["experiment"]))
    for row in rows:
        seconds = seconds_of_training(row["experiment"])
        row["seconds"] = "" if seconds is None else f"{seconds:.0f}"
    return [{column: _short(row.get(column)) for column in COLUMNS} for row in rows]


def leaderboard_table(results: list[dict[str, str]]) -> Table:
    """Return the rows as a table for a terminal."""
    table = Table(title="Metrics on the test split, beside the strongest baseline")
    for column in COLUMNS:
        table.add_column(column.replace("_", " "), justify="left" if column in COLUMNS[:3] else "right")
    for row in results:
        table.add_row(*row.values())
    return table


def print_results(results: list[dict[str, str]]) -> None:
    """Print the leaderboard, the decisions of the gates, and where plots and models are."""
    if results:
        Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES).print(leaderboard_table(results))
    shown = {row["experiment"] for row in results} or set(gates.exported())
    if verdicts := [verdict for name in gates.exported() if name in shown and (verdict := gates.decided(name))]:
        gates.show(verdicts)
    if results:
        print_line("Compare the runs:  make ui   (MLflow)")
        print_line(f"Plots:             {paths.plots('EXPERIMENT')}/ and {paths.LEADERBOARD_PAGE}")
        print_line(f"Models:            {paths.bundle('EXPERIMENT')}/   (model.onnx and its card)")


def _short(value: object) -> str:
    """Return a number with at most five significant digits: `0.98870000001` -> `0.9887`."""
    return f"{value:.5g}" if isinstance(value, float) else str(value or "")
