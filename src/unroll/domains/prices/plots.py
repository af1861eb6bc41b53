"""Plots of price forecasts."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from unroll.domains.prices.config import LevelTask, LogReturnTask, QuantileTask
from unroll.features.splits import named_periods
from unroll.plotting.results import Results

_CURVES = (("k", 1.2, "real"), ("0.65", 0.9, "persistence: the day before's price"), ("C3", 1.1, "predicted"))
"""Colour, width and name of each curve."""


def plot(results: Results) -> None:
    """Predicted against real, with what the figures mean in the caption; for each step, its error."""
    if isinstance(results.section, QuantileTask):
        _plot_quantiles(results.section, results)
        return
    folder, title, prediction, rows = results.folder, results.title, results.prediction, results.rows
    evaluation = results.evaluation
    section = cast(LevelTask | LogReturnTask, results.section)
    levels = isinstance(section, LevelTask)
    periods = named_periods(section.splits, rows)
    from unroll.plotting.figures import dates, figure, save

    test = evaluation["test"]
    curves = [array if array.ndim == 1 else array[:, -1] for array in (rows["targets"], rows["last"], prediction)]
    masks = periods or {"the test split": np.ones(len(prediction), bool)}
    figures = test.get("periods", {"the test split": test})
    drawn, panels = figure(len(masks), 1, width=9, height=1.2 + 2.9 * len(masks))
    for axis, (name, inside) in zip(np.atleast_1d(panels), masks.items(), strict=True):
        for number, one in enumerate(np.unique(rows["series"][inside])):
            shown = inside & (rows["series"] == one)
            for curve, (colour, width, label) in zip(curves, _CURVES, strict=True):
                told = label if number == 0 else None
                axis.plot(dates(rows["day"][shown]), curve[shown], colour, lw=width, label=told)
        axis.set_title(
            f"{name}: RMSE {figures[name]['rmse']:.2f}, MAE {figures[name]['mae']:.2f}, "
            f"{figures[name]['ratio_to_persistence']:.3f} × persistence",
            size=9,
        )
        axis.set_ylabel("price")
        axis.tick_params(axis="x", labelrotation=20, labelsize=8)
    np.atleast_1d(panels)[0].legend(frameon=False, fontsize=8)
    drawn.suptitle(title, size=10)
    drawn.supxlabel(_caption(evaluation, levels), size=8.5)
    save(drawn, folder / "forecast.png")

    if "by_step" in test:
        drawn, axis = figure(width=8, height=3.6)
        steps = test["by_step"]
        axis.bar([one["step"] for one in steps], [one["ratio_to_persistence"] for one in steps], color="C0")
        axis.axhline(1, color="k", lw=0.8)
        axis.set(xlabel="step of the window", ylabel="RMSE / persistence's", title=f"{title}: error at each step")
        axis.set_xticks([one["step"] for one in steps])
        save(drawn, folder / "by_step.png")


def _caption(evaluation: Mapping[str, Any], levels: bool) -> str:
    test = evaluation["test"]
    ratios = [part["ratio_to_persistence"] for part in test.get("periods", {"": test}).values()]
    if levels and max(ratios) > 1:
        return (
            "Yesterday's price alone is nearer than the network, which has to bring a whole price level through\n"
            "saturating cells. Beyond the range of the training days it cannot, and the error grows the further\n"
            "prices leave that range."
        )
    proven, told = True, []
    for name, against in evaluation["against"].items():
        parts = against.get("periods", {"": against}).values()
        proven &= all((part["skill"] or 0) > 0 and (part["p_value"] or 1) < 0.05 for part in parts)
        figures = "; ".join(f"{part['skill'] or 0:+.2%}, p {_two_digits(part['p_value'])}" for part in parts)
        told.append(f"against {name.replace('_', ' ')}: {figures}")
    claim = "Better than every baseline in every period." if proven else "No skill is claimed over every baseline."
    return f"{claim} Squared error saved, with Diebold–Mariano p, by period:\n" + "\n".join(told)


def _two_digits(chance: float | None) -> str:
    if chance is None:
        return "= 1"
    return f"= {chance:.2f}" if chance >= 0.01 else "< 0.01"


def _plot_quantiles(section: QuantileTask, results: Results) -> None:
    """A fan of quantiles around what happened, and how often each quantile held."""
    folder, title, prediction, rows = results.folder, results.title, results.prediction, results.rows
    evaluation = results.evaluation
    levels = section.quantiles
    from unroll.plotting.figures import dates, figure, save

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
    axis.plot(days[shown], real[shown], "k.", ms=3.5, label="what happened")
    axis.set(ylabel="log return of the day, %")
    axis.legend(frameon=False, ncols=4, fontsize=8)
    test, ewma = evaluation["test"], evaluation["baseline"]["ewma"]
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
    axis.set(xlabel="quantile", ylabel="share of days below it", title=f"{title}: calibration")
    axis.legend(frameon=False)
    save(drawn, folder / "calibration.png")
