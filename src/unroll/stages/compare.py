"""All experiments in one table, and the reach of gradients in one picture."""

from collections import Counter
from itertools import product
from typing import Any

import pandas as pd

from unroll import paths
from unroll.config.reading import entry_names
from unroll.evaluation.leaderboard import cell, read_results
from unroll.files import require, write_text
from unroll.plotting.figures import figure, save
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
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Unroll: leaderboard</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .35rem .7rem; white-space: nowrap; border-bottom: 1px solid #ddd; }}
</style>
<h1>Leaderboard</h1>
<p>Test split. The value is that of the exported model, which averages its networks, one for each seed; seed mean and
seed std are those of the single networks. Beside it is the strongest baseline on the same rows. The p-value (of the
test named beside it) is the probability of a difference at least this large if both were equally good; with a worse
value, a small one means significantly worse. Where parity names a loss by int8, the bundle has weights of 8 bits, and
the loss is that on validation rows; the other figures are those before it.</p>
{table}
<h2>How far back gradients reach</h2>
<img src="gradient_reach.png" alt="Gradient norm by time step" style="max-width: 100%">
</html>
"""


def run(_: str = "") -> None:
    """Write the leaderboard and the gradient picture, and send the results to MLflow.

    DVC runs this stage when all experiments have results. Run by hand, it shows those that exist.
    """
    names = entry_names("experiments")
    missing = [name for name in names if not paths.result(name).is_file()]
    if missing and len(missing) == len(names):
        require(paths.result(names[0]), f"export {names[0]}")
    results = read_results(names)
    frame = pd.DataFrame(results, columns=COLUMNS)
    write_text(paths.LEADERBOARD, frame.to_csv(index=False, lineterminator="\n"))
    table = frame.map(cell).rename(columns=lambda name: name.replace("_", " ")).to_html(index=False, border=0)
    write_text(paths.LEADERBOARD_PAGE, _PAGE.format(table=table))
    _draw_reach(results)
    send_results(names)
    print(f"{len(frame)} experiments: {paths.LEADERBOARD}")
    if missing:
        print(f"{len(missing)} have no result yet, which `unroll export EXPERIMENT` writes: {', '.join(missing)}")


def _draw_reach(results: list[dict[str, Any]]) -> None:
    """Plot the gradient norm of each time step relative to the last step: a line per experiment, a row per task.

    Only many-to-one tasks that several recurrent experiments share are drawn: they can be compared, and their whole
    loss depends on the last step.
    """
    drawable = [result for result in results if result["gradient_reach"] and result["topology"] == "many_to_one"]
    counts = Counter(result["task"] for result in drawable)
    tasks = sorted(task for task, count in counts.items() if count > 1) or sorted(counts)
    drawn, grid = figure(len(tasks) or 1, 2, width=11, height=4.2 * (len(tasks) or 1))
    for axis, (task, moment) in zip(grid.flat, product(tasks, ("untrained", "trained")), strict=False):
        for result in drawable:
            norms = result["gradient_reach"][moment]
            # A head that starts at zero passes no gradient at all before the first step.
            if result["task"] == task and norms[-1] > 0:
                axis.plot(range(1 - len(norms), 1), [norm / norms[-1] for norm in norms], label=result["experiment"])
        axis.set(title=f"{task}, {moment}", xlabel="time step, counted from the last")
        axis.set_ylabel("gradient norm / that at the last step", size=8)
        if axis.lines:
            axis.set_yscale("log")
            axis.legend(frameon=False, fontsize=8)
    drawn.suptitle("How far back the loss is felt: norm of its gradient with respect to each input step", size=10)
    save(drawn, paths.GRADIENT_REACH)
