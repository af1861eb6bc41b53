"""Plots of price forecasts."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from unroll.domains.prices.config import LevelTask, LogReturnTask, QuantileTask
from unroll.features.splits import named_periods
from unroll.plotting.results import Results

_CURVES = (("k", 1.2, "real"), ("0.65", 0.9, "persistence: the day before's price"), ("C3", 1.1, "predicted"))
"""Color, width and name of each curve."""


def plot(results: Results) -> None:
    """Plot predicted and real prices, and the error of each step; or quantiles."""
    if isinstance(results.section, QuantileTask):
        _plot_quantiles(results.section, results)
        return
    from unroll.plotting.figures import dates, figure, save

    folder, title, prediction, rows = results.folder, results.title, results.prediction, results.rows
    section = cast(LevelTask | LogReturnTask, results.section)
    levels = isinstance(section, LevelTask)
    periods = named_periods(section.splits, rows)
    test = results.evaluation["test"]
    curves = [array if array.ndim == 1 else array[:, -1] for array in (rows["targets"], rows["last"], prediction)]
    masks = periods or {"the test split": np.ones(len(prediction), bool)}
    figures = test.get("periods", {"the test split": test})
    drawn, panels = figure(len(masks), 1, width=9, height=1.2 + 2.9 * len(masks))
    for axis, (name, inside) in zip(np.atleast_1d(panels), masks.items(), strict=True):
        for number, one in enumerate(np.unique(rows["series"][inside])):
            shown = inside & (rows["series"] == one)
            for curve, (color, width, label) in zip(curves, _CURVES, strict=True):
                once = label if number == 0 else None
                axis.plot(dates(rows["day"][shown]), curve[shown], color, lw=width, label=once)
        axis.set_title(
            f"{name}: RMSE {figures[name]['rmse']:.2f}, MAE {figures[name]['mae']:.2f}, "
            f"{figures[name]['ratio_to_persistence']:.3f} × persistence{_single_networks(results.evaluation, name)}",
            size=9,
        )
        axis.set_ylabel("price")
        axis.tick_params(axis="x", labelrotation=20, labelsize=8)
    np.atleast_1d(panels)[0].legend(frameon=False, fontsize=8)
    drawn.suptitle(title, size=10)
    drawn.supxlabel(_caption(results.evaluation, levels), size=8.5)
    save(drawn, folder / "forecast.png")

    if "by_step" in test:
        drawn, axis = figure(width=8, height=3.6)
        steps = test["by_step"]
        axis.bar([one["step"] for one in steps], [one["ratio_to_persistence"] for one in steps], color="C0")
        axis.axhline(1, color="k", lw=0.8)
        axis.set(xlabel="step of the window", ylabel="RMSE / RMSE of persistence", title=f"{title}: error at each step")
        axis.set_xticks([one["step"] for one in steps])
        save(drawn, folder / "by_step.png")


def _single_networks(evaluation: Mapping[str, Any], period: str) -> str:
    """Return mean and sample standard deviation over the seeds, which single networks show; empty for one seed."""
    figures = [test.get("periods", {period: test})[period] for test in evaluation["per_seed"].values()]
    ratios = [one["ratio_to_persistence"] for one in figures]
    return f" (single networks {np.mean(ratios):.3f} ± {np.std(ratios, ddof=1):.3f})" if len(ratios) > 1 else ""


def _caption(evaluation: Mapping[str, Any], levels: bool) -> str:
    test = evaluation["test"]
    ratios = [part["ratio_to_persistence"] for part in test.get("periods", {"": test}).values()]
    if levels and max(ratios) > 1:
        return (
            "Yesterday's price alone is a better forecast. The network has to pass the price level through saturating\n"
            "cells, which cannot represent prices beyond the range of the training days: the farther prices leave\n"
            "that range, the larger the error."
        )
    significant, lines = True, []
    for name, against in evaluation["against"].items():
        parts = against.get("periods", {"": against}).values()
        significant &= all((part["skill"] or 0) > 0 and (part["p_value"] or 1) < 0.05 for part in parts)
        figures = "; ".join(f"{part['skill'] or 0:+.2%}, p {_two_digits(part['p_value'])}" for part in parts)
        lines.append(f"against {name.replace('_', ' ')}: {figures}")
    verdict = "Significantly better" if significant else "Not significantly better"
    first = f"{verdict} than every baseline in every period. Reduction of the squared error, with the p-value of"
    return "\n".join([first, "Diebold and Mariano's test, by period:", *lines])


def _two_digits(p_value: float | None) -> str:
    if p_value is None:
        return "= 1"
    return f"= {p_value:.2f}" if p_value >= 0.01 else "< 0.01"


def _plot_quantiles(section: QuantileTask, results: Results) -> None:
    """Plot the quantiles of the last days around the real returns, and the calibration."""
    from unroll.plotting.figures import dates, figure, save

    folder, title, prediction, rows = results.folder, results.title, results.prediction, results.rows
    levels = section.quantiles
    days, real = dates(rows["day"]), rows["targets"] * 100
    shown = slice(-125, None)
    drawn, axis = figure(width=10, height=4.4)
    half = len(levels) // 2
    for rank in range(half):
        axis.fill_between(
            days[shown],
            prediction[shown, rank] * 100,
            prediction[shown, -1 - rank] * 100,
            color="C0",
            alpha=0.16,
            lw=0,
            label=f"{levels[rank]:g} to {levels[-1 - rank]:g}" if rank in (0, half - 1) else None,
        )
    axis.plot(days[shown], prediction[shown, half] * 100, "C0", lw=1, label="median")
    axis.plot(days[shown], real[shown], "k.", ms=3.5, label="real")
    axis.set(ylabel="log return of the day, %")
    axis.legend(frameon=False, ncols=4, fontsize=8)
    test, ewma = results.evaluation["test"], results.evaluation["baseline"]["ewma"]
    skill = 1 - test["pinball"] / ewma["pinball"]
    axis.set_title(
        f"{title}: the last {len(days[shown])} of {len(days):,} test days. Pinball skill against EWMA "
        f"{skill:+.2%}, coverage of the 80 % interval {test.get('coverage_80', float('nan')):.3f}",
        size=9,
    )
    save(drawn, folder / "fan.png")

    drawn, axis = figure(width=4.6, height=4.4)
    axis.plot([0, 1], [0, 1], "0.6", lw=1)
    axis.plot(levels, [test["below"][f"{level:g}"] for level in levels], "C0o-", label="network")
    axis.plot(levels, [ewma["below"][f"{level:g}"] for level in levels], "C1.--", label="EWMA")
    axis.set(xlabel="quantile", ylabel="share of days below the quantile", title=f"{title}: calibration")
    axis.legend(frameon=False)
    save(drawn, folder / "calibration.png")
