"""The HTML page: a table of all experiments, then a section for each task with its experiments."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Any

from unroll.report.drawings import TIP, Points, chart, describe, interval, network
from unroll.report.style import CSS, SCRIPT

Result = Mapping[str, Any]
_VERDICTS = {"better": "better than", "worse": "worse than", "open": "not clearly different from"}


@dataclass(frozen=True)
class Entry:
    """What the page shows of an experiment.

    Attributes:
        result: Its row of the leaderboard, with what `export` adds.
        history: Rows of history.csv.
        pictures: PNG files by name.
    """

    result: Result
    history: Sequence[Mapping[str, str]]
    pictures: Mapping[str, bytes]

    @property
    def name(self) -> str:
        return str(self.result["experiment"])

    @property
    def verdict(self) -> str:
        """Whether the interval of the skill lies above 0 (`better`), below (`worse`), or has both sides (`open`)."""
        low, high = self.result["interval"] or (0, 0)
        return "better" if low > 0 else "worse" if high < 0 else "open"


def render(entries: Sequence[Entry]) -> str:
    """Return the page, which refers to no other file; equal entries give equal text.

    Args:
        entries: The experiments, in the order of their tasks.
    """
    counts = {verdict: sum(entry.verdict == verdict for entry in entries) for verdict in _VERDICTS}
    sections = [_task(task, list(group)) for task, group in groupby(entries, lambda entry: entry.result["task"])]
    count = "1 experiment" if len(entries) == 1 else f"{len(entries)} experiments"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Unroll: {count}</title>
<style>{CSS}</style>
</head>
<body>
{TIP}
<header>
<h1>{count} beside their baselines</h1>
<p>{counts["better"]} better than the strongest baseline on the same test rows, {counts["worse"]} worse,
{counts["open"]} not clearly different.</p>
</header>
<main>
{_table(entries)}
{"".join(sections)}
</main>
<footer>
<h2>How to read it, and where it comes from</h2>
<p>Figures are of the test split. An exported model averages its networks, one for each seed. The skill is
1&nbsp;−&nbsp;its mean loss / that of the strongest baseline on the same rows: 100&nbsp;% is no loss at all, 0&nbsp;% as
good as the baseline. Its 95&nbsp;% interval is that of the mean difference on these rows, for these networks; the
p-value is the probability of a difference at least this large if both were equally good. Where parity names a loss by
int8, the bundle has weights of 8 bits, and the loss is that on validation rows; the other figures are those before it.
</p>
<p>Gradients of the loss at the last step are taken with respect to each step of the input. Where a line falls to the
left, the gradient vanishes, and the network cannot learn from those steps.</p>
<p>Each experiment names the hashes of its model and data. Those of all outputs are in <code>dvc.lock</code>:
<code>grep -A 4 "path: models/EXPERIMENT/bundle" dvc.lock</code>. <code>make ui</code> opens MLflow: its experiments are
the tasks, its runs have the names that stand here. Times depend on the machine, so they are not part of this page: see
<code>timing.seconds</code> and <code>timing.samples_per_second</code> in MLflow, or
<code>models/EXPERIMENT/timing.json</code>.</p>
</footer>
<script>{SCRIPT}</script>
</body>
</html>
"""


_HEADS = ("experiment", "task", "topology", "result", "baseline", "skill", "parameters", "model.onnx")
_NUMBERS = {"result", "skill", "parameters", "model.onnx"}


def _table(entries: Sequence[Entry]) -> str:
    heads = "".join(f'<th scope="col"{_number(head)}>{head}</th>' for head in _HEADS)
    return f"""<div class="scroll" tabindex="0" role="region" aria-label="All experiments">
<table>
<caption>All experiments on their test splits, each beside its strongest baseline. Skill is the share of the
baseline’s loss that the model avoids; the line is its 95&nbsp;% interval, from −100&nbsp;% to 100&nbsp;%.</caption>
<thead><tr>{heads}</tr></thead>
<tbody>
{"".join(map(_row, entries))}</tbody>
</table>
</div>"""


def _row(entry: Entry) -> str:
    result = entry.result
    drawn = interval(result["skill"], result["interval"], entry.verdict)
    cells: tuple[tuple[str, float | str], ...] = (
        (escape(result["task"]), ""),
        (_words(result["topology"]), ""),
        (f"{_words(result['metric'])} {_short(result['value'])}", result["value"]),
        (f"{_words(result['baseline'])} {_short(result['baseline_value'])}", ""),
        (f"{drawn}<span>{_percent(result['skill'])}</span>", -1e9 if result["skill"] is None else result["skill"]),
        (f"{result['parameters']:,}", result["parameters"]),
        (_size(result["bytes"]), result["bytes"]),
    )
    columns = zip(_HEADS[1:], cells, strict=True)
    tds = "".join(f'<td{_number(head)} data-key="{key}">{shown}</td>' for head, (shown, key) in columns)
    name = escape(entry.name)
    return f'<tr><th scope="row"><a href="#experiment-{name}">{name}</a></th>{tds}</tr>\n'


def _task(task: str, entries: Sequence[Entry]) -> str:
    title = escape(task)
    return (
        f'<section aria-labelledby="task-{title}">\n<h2 id="task-{title}">{title}</h2>\n{_reach(entries)}'
        + "".join(map(_article, entries))
        + "</section>\n"
    )


def _reach(entries: Sequence[Entry]) -> str:
    """Draw how far back gradients reach in the networks of a task.

    Only those of many-to-one tasks can be compared: their whole loss depends on the last step.
    """
    charts = []
    for moment in ("untrained", "trained"):
        lines: list[tuple[str, Points]] = []
        for entry in entries:
            norms = entry.result["gradient_reach"].get(moment, ())
            # A head that starts at zero passes no gradient at all before the first step.
            if entry.result["topology"] == "many_to_one" and norms and norms[-1] > 0:
                lines.append(
                    (entry.name, [(step - len(norms) + 1, norm / norms[-1]) for step, norm in enumerate(norms)])
                )
        if len(lines) > 1:
            charts.append(chart(f"Gradient norm, {moment}", lines, log=True, x_label="time step before the last"))
    return f'<div class="parts">{"".join(charts)}</div>\n' if charts else ""


def _article(entry: Entry) -> str:
    result, name = entry.result, escape(entry.name)
    about = escape(describe(result["model"], result["topology"]))
    plots = "".join(
        f'<figure><img alt="Plot of {name}: {_words(stem)}" src="data:image/png;base64,'
        f'{base64.b64encode(content).decode()}"><figcaption>{_words(stem).capitalize()}</figcaption></figure>'
        for stem, content in entry.pictures.items()
    )
    return f"""<article aria-labelledby="experiment-{name}">
<h3 id="experiment-{name}">{name}</h3>
<p class="soft">{about}</p>
<div class="parts">
<div class="drawn">
<figure>{network(result["model"], result["topology"])}</figure>
<div class="parts">{_curves(entry)}</div>
</div>
<div class="facts">
<p class="result"><strong>{_words(result["metric"])} {_short(result["value"])}</strong>,
<span class="{entry.verdict}">{_VERDICTS[entry.verdict]}</span> {_words(result["baseline"])}
{_short(result["baseline_value"])}</p>
<dl>{_pairs(_facts(result))}</dl>
<details><summary>Hashes</summary>
<dl>{_pairs({"model.onnx": result["model_sha256"], **result["data"]})}</dl>
</details>
</div>
</div>
<div class="plots">{plots}</div>
</article>
"""


def _facts(result: Result) -> dict[str, str]:
    p_value, rows = result["p_value"], result.get("rows")
    return {
        "skill": _skill(result),
        "p-value": "" if p_value is None else f"{p_value:.2g}, {_words(result['test'])}",
        "test rows": f"{rows:,}" if rows else "",
        "seeds": "" if result["seeds"] == 1 else (
            f"{result['seeds']}; single networks {_short(result['seed_mean'])} ± {_short(result['seed_std'])}"
        ),
        "parity": f"{escape(result['parity'])}; ONNX and torch agree to {result['max_relative_error']:.1e} (relative)",
        "size": f"{result['parameters']:,} parameters a network; model.onnx {_size(result['bytes'])}",
        "training": ", ".join(f"{_words(key)} {_setting(value)}" for key, value in result["training"].items()),
    }  # fmt: skip


def _pairs(facts: Mapping[str, str]) -> str:
    return "".join(f"<dt>{escape(key)}</dt><dd>{value}</dd>" for key, value in facts.items() if value)


def _curves(entry: Entry) -> str:
    runs: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for row in entry.history:
        runs.setdefault((row["fold"], row["seed"]), []).append(row)

    def lines(column: str, label: str) -> list[tuple[str, Points]]:
        found = [[(float(row["epoch"]), float(row[column])) for row in run if row[column]] for run in runs.values()]
        return [(label, points) for points in found if points]

    losses = lines("train_loss", "training") + lines("valid_loss", "validation")
    metrics = lines("valid_metric", "validation")
    charts = [chart("Loss", losses, log=True)] if losses else []
    if metrics:
        charts.append(chart(f"Validation {_words(entry.result['metric'])}", metrics))
    return "".join(charts)


def _skill(result: Result) -> str:
    if result["interval"] is None:
        return _percent(result["skill"])
    low, high = map(_percent, result["interval"])
    return f"{_percent(result['skill'])}, 95&nbsp;% interval {low} to {high}"


def _percent(share: float | None) -> str:
    return "–" if share is None else _minus(f"{100 * share:.1f}") + "&nbsp;%"


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _number(head: str) -> str:
    return ' class="number"' if head in _NUMBERS else ""


def _words(name: str) -> str:
    return escape(name.replace("_", " "))


def _short(value: float) -> str:
    return _minus(f"{value:.4g}")


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def _setting(value: Any) -> str:
    return escape(", ".join(map(str, value))) if isinstance(value, list) else _words(str(value))
