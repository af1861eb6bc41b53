"""All experiments in one table, and the reach of gradients in one picture."""

import csv
import html
import io
from typing import Any

from unroll import params, paths
from unroll.files import read_json, write_text
from unroll.tasks.figures import figure, save

COLUMNS = ("experiment", "task", "topology", "metric", "value", "baseline", "baseline_value", "p_value", "parity")


def run(_: str = "") -> None:
    """Writes the leaderboard and the gradient picture."""
    names = list(params.load_all().experiments)
    evaluations = {name: read_json(paths.evaluation(name)) for name in names}
    rows = [row(name, evaluations[name], read_json(paths.parity(name))) for name in names]
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(paths.LEADERBOARD, text.getvalue())
    write_text(paths.LEADERBOARD_PAGE, _page(rows))
    _draw_reach({name: found for name, found in evaluations.items() if "gradient_reach" in found})
    print(f"{len(rows)} experiments: {paths.LEADERBOARD}")


def row(name: str, evaluation: dict[str, Any], parity: dict[str, Any]) -> dict[str, Any]:
    """One line of the leaderboard: the headline beside the strongest baseline."""
    metric = evaluation["metric"]
    best = max if metric == "accuracy" else min
    strongest = best(evaluation["baseline"], key=lambda key: evaluation["baseline"][key][metric])
    return {
        "experiment": name,
        "task": evaluation["task"],
        "topology": evaluation["topology"],
        "metric": metric,
        "value": evaluation["test"][metric],
        "baseline": strongest,
        "baseline_value": evaluation["baseline"][strongest][metric],
        "p_value": evaluation["against"][strongest]["p_value"],
        "parity": "passed" if parity["passed"] else "failed",
    }


def _page(rows: list[dict[str, Any]]) -> str:
    def cell(value: Any) -> str:
        if isinstance(value, float):
            return f'<td class="number">{value:.5g}</td>'
        return f"<td>{html.escape('' if value is None else str(value))}</td>"

    head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in COLUMNS)
    body = "\n".join("<tr>" + "".join(cell(row[name]) for name in COLUMNS) + "</tr>" for row in rows)
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Unroll: leaderboard</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .35rem .7rem; border-bottom: 1px solid #ddd; }}
.number {{ text-align: right; font-variant-numeric: tabular-nums; }}
</style>
<h1>Leaderboard</h1>
<p>Test split; beside each experiment the strongest of its baselines on the same rows. The p-value (Diebold–Mariano) says
how likely a difference as large as theirs would be if both were equally good.</p>
<table><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table>
<h2>How far back gradients reach</h2>
<img src="gradient_reach.png" alt="Gradient norm by time step" style="max-width: 100%">
</html>
"""


def _draw_reach(evaluations: dict[str, dict[str, Any]]) -> None:
    """Gradient norm at each time step over that at the last one, a line an experiment, a panel a task and moment."""
    tasks = sorted({found["task"] for found in evaluations.values() if len(found["gradient_reach"]["trained"]) > 1})
    drawn, grid = figure(len(tasks), 2, width=11, height=3.4 * len(tasks))
    for line, task in enumerate(tasks):
        for column, moment in enumerate(("untrained", "trained")):
            axis = grid[line, column] if len(tasks) > 1 else grid[column]
            for name, found in evaluations.items():
                if found["task"] != task:
                    continue
                norms = found["gradient_reach"][moment]
                # A head that starts at zero passes no gradient at all before the first step.
                if norms[-1] > 0:
                    back = range(1 - len(norms), 1)
                    axis.plot(back, [norm / norms[-1] for norm in norms], label=name)
            axis.set(title=f"{task}, {moment}", yscale="log", xlabel="steps before the last")
            axis.set_ylabel("gradient norm / that at the last step")
            if axis.lines:
                axis.legend(frameon=False, fontsize=7)
            else:
                axis.set_yscale("linear")
                axis.text(0.5, 0.5, "the head starts at zero: no gradient yet", ha="center", va="center",
                          transform=axis.transAxes)  # fmt: skip
    save(drawn, paths.GRADIENT_REACH)
