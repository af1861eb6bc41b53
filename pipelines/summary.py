"""What the training flow prints: lines of progress, the leaderboard, and where everything is."""

import sys
from collections.abc import Collection, Mapping, Sequence

from rich.console import Console, JustifyMethod
from rich.table import Table

from pipelines.estimates import seconds_of_training
from unroll import paths
from unroll.config.reading import entry_names
from unroll.evaluation import leaderboard
from unroll.promotion import results as gates
from unroll.redaction import redacted

COLUMNS = ("experiment", "task", "metric", "value", "baseline", "baseline_value", "parity", "seconds")


def print_line(line: str) -> None:
    """Print a line without secrets, whole and at once, from whichever thread."""
    print(redacted(line) + "\n", end="", flush=True)


def on_terminal() -> bool:
    """Return whether the output is a terminal that can show more than lines."""
    return sys.stdout.isatty() and not Console().is_dumb_terminal


def read_results(experiments: Collection[str] | None = None) -> list[dict[str, str]]:
    """Return the leaderboard so far, of these experiments or of all, with the seconds that each took to train."""
    names = entry_names("experiments") if experiments is None and paths.RESULTS.is_dir() else experiments or ()
    rows = leaderboard.read_results(names)
    for row in rows:
        seconds = seconds_of_training(row["experiment"])
        row["seconds"] = "" if seconds is None else f"{seconds:.0f}"
    return [{column: leaderboard.cell(row.get(column)) for column in COLUMNS} for row in rows]


def leaderboard_table(results: Sequence[Mapping[str, str]]) -> Table:
    """Return the rows as a table for a terminal."""
    table = Table(title="Metrics on the test split, beside the strongest baseline")
    for column in COLUMNS:
        side: JustifyMethod = "left" if column in COLUMNS[:3] else "right"
        table.add_column(column.replace("_", " "), justify=side, no_wrap=True)
    for row in results:
        table.add_row(*row.values())
    return table


def print_results(results: Sequence[Mapping[str, str]], *, complete: bool = True) -> None:
    """Print the leaderboard, the decisions of the gates, and where plots and models are.

    Args:
        results: Rows of the leaderboard.
        complete: Whether these are all experiments, so that the leaderboard's files show the same.
    """
    if results:
        gates.table_console().print(leaderboard_table(results))
    shown = {row["experiment"] for row in results} or set(gates.exported())
    if verdicts := [verdict for name in gates.exported() if name in shown and (verdict := gates.decided(name))]:
        gates.show(verdicts)
    if results:
        page = f" and {paths.LEADERBOARD_PAGE}" if complete else ""
        print_line("Compare the runs:  make ui   (MLflow)")
        print_line(f"Plots:             {paths.plots('EXPERIMENT')}/{page}")
        print_line(f"Models:            {paths.bundle('EXPERIMENT')}/   (model.onnx and its card)")
