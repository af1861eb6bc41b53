"""Plots of quantile forecasts."""

from unroll.domains.prices.config import QuantileTask
from unroll.plotting.results import Results


def plot_quantiles(section: QuantileTask, results: Results) -> None:
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
