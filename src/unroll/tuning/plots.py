"""Plots of a search: its history, and what each parameter does."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unroll.config.tuning import Choices
from unroll.plotting.figures import entitle, figure, save
from unroll.tracking.search import TrialRecord
from unroll.tuning.space import Space

_LABEL = 24
"""Letters of a choice's label."""


def plot_search(
    folder: Path,
    title: str,
    metric: str,
    trials: Sequence[TrialRecord],
    best: TrialRecord,
    space: Space,
    importances: Mapping[str, float],
) -> None:
    """Write history.png, importance.png, parallel.png and slices.png."""
    complete = [trial for trial in trials if trial.metric is not None]
    _history(folder / "history.png", title, metric, trials, best)
    _importance(folder / "importance.png", title, importances)
    _parallel(folder / "parallel.png", title, metric, complete, best, space)
    _slices(folder / "slices.png", title, metric, complete, best, space)


def _history(path: Path, title: str, metric: str, trials: Sequence[TrialRecord], best: TrialRecord) -> None:
    drawn, axis = figure()
    complete = [trial for trial in trials if trial.metric is not None]
    pruned = [trial for trial in trials if trial.metric is None and trial.steps]
    axis.scatter([one.number for one in complete], [one.metric for one in complete], s=18, label="complete")
    axis.scatter([one.number for one in pruned], [one.steps[max(one.steps)] for one in pruned], s=18, c="0.7",
                 marker="x", label="pruned, at its last epoch")  # fmt: skip
    axis.scatter([best.number], [best.metric], s=60, facecolors="none", edgecolors="C3", label="best")
    axis.set(xlabel="trial", ylabel=f"validation {metric}")
    axis.legend(frameon=False, fontsize=8)
    entitle(drawn, f"{title}: validation {metric} of each trial")
    save(drawn, path)


def _importance(path: Path, title: str, importances: Mapping[str, float]) -> None:
    drawn, axis = figure(height=1.6 + 0.4 * max(1, len(importances)))
    names = list(importances)[::-1]
    axis.barh(range(len(names)), [importances[name] for name in names])
    axis.set_yticks(range(len(names)), names, parse_math=False)
    axis.set(xlabel="share of what the settings change in the metric (PED-ANOVA)")
    if not names:
        axis.text(0.5, 0.5, "too few complete trials", ha="center", va="center", transform=axis.transAxes)
    entitle(drawn, f"{title}: importance of parameters")
    save(drawn, path)


def _parallel(
    path: Path, title: str, metric: str, trials: Sequence[TrialRecord], best: TrialRecord, space: Space
) -> None:
    drawn, axis = figure(width=max(8.0, 2.0 * (len(space) + 1)), height=4.6)
    values = [float(trial.metric or 0) for trial in trials]
    low, high = min(values), max(values)
    for trial in trials:
        heights = [_height(trial.values[name], space[name]) for name in space]
        heights.append(((trial.metric or 0) - low) / ((high - low) or 1))
        style = (
            {"color": "C3", "lw": 1.8, "zorder": 3}
            if trial.number == best.number
            else {"color": "C0", "lw": 0.8, "alpha": 0.4}
        )
        axis.plot(range(len(heights)), heights, **style)
    names = [*space, f"validation {metric}"]
    axis.set_xticks(range(len(names)), names, rotation=15, parse_math=False, size=8)
    axis.set_yticks([])
    axis.set_ylim(-0.1, 1.1)
    for place, name in enumerate(names):
        ticks = _ticks(space[name]) if name in space else [(0, f"{low:.4g}"), (1, f"{high:.4g}")]
        axis.axvline(place, color="0.7", lw=0.8)
        for height, text in ticks:
            axis.text(place, height, f" {text}", size=7, va="center", parse_math=False)
    axis.spines[:].set_visible(False)
    entitle(drawn, f"{title}: settings of the complete trials, the best in red")
    save(drawn, path)


def _slices(
    path: Path, title: str, metric: str, trials: Sequence[TrialRecord], best: TrialRecord, space: Space
) -> None:
    columns = min(3, len(space))
    rows = math.ceil(len(space) / columns)
    drawn, grid = figure(rows, columns, width=3.6 * columns + 0.6, height=3.2 * rows + 0.4)
    axes = list(grid.flat) if len(space) > 1 else [grid]
    for axis, (name, dimension) in zip(axes, space.items(), strict=False):
        chosen = isinstance(dimension, Choices)
        places = [_height(trial.values[name], dimension) if chosen else trial.values[name] for trial in trials]
        axis.scatter(places, [trial.metric for trial in trials], s=14)
        axis.scatter([places[trials.index(best)]], [best.metric], s=60, facecolors="none", edgecolors="C3")
        if isinstance(dimension, Choices):
            axis.set_xticks(*zip(*_ticks(dimension), strict=True), rotation=20, size=7, parse_math=False)
        elif dimension.log:
            axis.set_xscale("log")
        axis.set_xlabel(name, parse_math=False)
        axis.set_ylabel(f"validation {metric}", size=8)
    for axis in axes[len(space) :]:
        axis.set_visible(False)
    entitle(drawn, f"{title}: validation {metric} by parameter")
    save(drawn, path)


def _height(value: Any, dimension: Any) -> float:
    """Return where a value lies in its range, from 0 to 1."""
    if isinstance(dimension, Choices):
        return dimension.choices.index(value) / (len(dimension.choices) - 1)
    low, high, value = (math.log(one) if dimension.log else one for one in (dimension.low, dimension.high, value))
    return float((value - low) / (high - low))


def _ticks(dimension: Any) -> list[tuple[float, str]]:
    if isinstance(dimension, Choices):
        return [(_height(one, dimension), str(one)[:_LABEL]) for one in dimension.choices]
    return [(0, f"{dimension.low:g}"), (1, f"{dimension.high:g}")]
