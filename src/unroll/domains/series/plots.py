"""Plots of forecasts of series."""

from typing import cast

import numpy as np

from unroll.domains.series.config import ForecastTask
from unroll.features.samples import linspace_indices
from unroll.plotting.results import Results

_SHOWN = 4
"""Forecasts in the picture of each column."""


def plot(results: Results) -> None:
    """Plot some forecasts with their past, and the error of each step beside those of the baselines."""
    from unroll.plotting.figures import entitle, figure, save

    section = cast(ForecastTask, results.section)
    rows, prediction, levels = results.rows, results.prediction, section.quantiles
    shown = linspace_indices(len(prediction), _SHOWN)
    targets = len(section.targets)
    drawn, panels = figure(targets, len(shown), width=2.9 * len(shown) + 0.6, height=1.9 * targets + 1.1)
    past = min(section.history, 3 * section.horizon)
    steps = np.arange(1, section.horizon + 1)
    for line, target in enumerate(section.targets):
        for place, row in enumerate(shown):
            axis = np.asarray(panels).reshape(targets, len(shown))[line, place]
            known = rows["inputs"][row, section.history - past : section.history, line]
            axis.plot(np.arange(1 - past, 1), known, "0.65", lw=1, label="past")
            for rank in range(len(levels) // 2):
                band = (prediction[row, :, line, edge] for edge in (rank, -1 - rank))
                label = f"{levels[rank]:g} to {levels[-1 - rank]:g}" if rank == 0 else None
                axis.fill_between(steps, *band, color="C0", alpha=0.18, lw=0, label=label)
            axis.plot(steps, prediction[row, :, line, levels.index(0.5)], "C0", lw=1.2, label="median")
            axis.plot(steps, rows["targets"][row, :, line], "k.", ms=2.5, label="real")
            axis.tick_params(labelsize=7)
            if place == 0:
                axis.set_ylabel(target, size=8)
            if line == 0:
                start = rows["first_time"][row].astype("datetime64[s]")
                axis.set_title(f"from {str(start).replace('T', ' ')[:16]}", size=8)
    drawn.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    test = results.evaluation["test"]
    coverage = f", coverage of the 80 % interval {test['coverage_80']:.3f}" if "coverage_80" in test else ""
    entitle(drawn, f"{results.title}: {len(prediction):,} forecasts, MASE {test['mase']:.3f}{coverage}", 9)
    save(drawn, results.folder / "forecasts.png")

    drawn, axis = figure(width=8, height=3.8)
    for number, (name, found) in enumerate(results.evaluation["baseline"].items()):
        values = [one["mase"] for one in found["by_step"]]
        axis.plot(steps, values, f"C{number + 1}", lw=1, label=name.replace("_", " "))
    axis.plot(steps, [one["mase"] for one in test["by_step"]], "C0", lw=2, label="network")
    axis.set(xlabel="step", ylabel="MASE", yscale="log")
    axis.spines[["top", "right"]].set_visible(False)
    drawn.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    entitle(drawn, f"{results.title}: error of each step, relative to the seasonal naive forecast in training", 9)
    save(drawn, results.folder / "by_step.png")
