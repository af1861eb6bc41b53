"""All experiments in one table and on one page."""

import csv
import io
from typing import Any

from unroll import paths
from unroll.config.reading import entry_names
from unroll.evaluation.leaderboard import read_results
from unroll.files import require, write_text
from unroll.report.page import Entry, render
from unroll.tracking import send_results

COLUMNS = (
    "experiment",
    "task",
    "topology",
    "metric",
    "value",
    "seeds",
    "seed_mean",
    "seed_std",
    "baseline",
    "baseline_value",
    "p_value",
    "test",
    "parity",
)


def run(_: str = "") -> None:
    """Write the leaderboard and its page, and send the results to MLflow.

    DVC runs this stage when all experiments have results. Run by hand, it shows those that exist.
    """
    names = entry_names("experiments")
    missing = [name for name in names if not paths.result(name).is_file()]
    if missing and len(missing) == len(names):
        require(paths.result(names[0]), f"export {names[0]}")
    results = read_results(names)
    write_text(paths.LEADERBOARD, _as_csv(results))
    write_text(paths.LEADERBOARD_PAGE, render([_entry(result) for result in results]))
    send_results(names)
    print(f"{len(results)} experiments: {paths.LEADERBOARD_PAGE} and {paths.LEADERBOARD}")
    if missing:
        print(f"{len(missing)} have no result yet, which `unroll export EXPERIMENT` writes: {', '.join(missing)}")


def _as_csv(results: list[dict[str, Any]]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(results)
    return file.getvalue()


def _entry(result: dict[str, Any]) -> Entry:
    name = result["experiment"]
    folder = require(paths.shown(name), f"evaluate {name}")
    with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
        history = list(csv.DictReader(file))
    return Entry(result, history, {path.stem: path.read_bytes() for path in sorted(folder.glob("*.png"))})
