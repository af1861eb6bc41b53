"""What a training prints: lines of progress, the leaderboard, and where everything is."""

import csv
import sys

from rich.console import Console
from rich.table import Table

from pipelines.graph import seconds_of_training
from unroll import paths
from unroll.promotion import results
from unroll.redaction import redacted

COLUMNS = ("experiment", "task", "metric", "value", "baseline", "baseline_value", "parity", "seconds")
_WIDTH_OF_FILES = 140


def print_line(line: str) -> None:
    """Print a line without secrets, whole and at once, from whichever thread."""
    print(redacted(line) + "\n", end="", flush=True)


def read_leaderboard() -> list[dict[str, str]]:
    """Read the leaderboard's rows and add the seconds of each training; empty before the first `compare`."""
    if not paths.LEADERBOARD.exists():
        return []
    with paths.LEADERBOARD.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        seconds = seconds_of_training(row["experiment"])
        row["seconds"] = "" if seconds is None else f"{seconds:.0f}"
    return [{column: row.get(column) or "" for column in COLUMNS} for row in rows]


def print_results(leaderboard: list[dict[str, str]]) -> None:
    """Print the leaderboard, the decisions of the gates, and where plots and models are."""
    if leaderboard:
        table = Table(title="Metrics on the test split, beside the strongest baseline")
        for column in COLUMNS:
            table.add_column(column.replace("_", " "), justify="left" if column in COLUMNS[:3] else "right")
        for row in leaderboard:
            table.add_row(*(_short(row[column]) for column in COLUMNS))
        Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES).print(table)
    if verdicts := [verdict for name in results.exported() if (verdict := results.decided(name))]:
        results.show(verdicts)
    if leaderboard:
        print_line("Compare the runs:  make ui   (MLflow)")
        print_line(f"Plots:             {paths.plots('EXPERIMENT')}/ and {paths.LEADERBOARD_PAGE}")
        print_line(f"Models:            {paths.bundle('EXPERIMENT')}/   (model.onnx and its card)")


def _short(value: str) -> str:
    """Return a number with at most five significant digits: `0.98870000001` -> `0.9887`."""
    try:
        return f"{float(value):.5g}"
    except ValueError:
        return value
