"""The next price: as a level (the classic of the tutorials), or as a residual over the last known price."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray

from unroll import config
from unroll.domains.task import Prediction, Task, TensorSpec
from unroll.features.build import known_column
from unroll.features.samples import Samples, Tensors
from unroll.features.splits import named_periods
from unroll.models.heads import LinearHead
from unroll.models.preprocessing import LogReturns, PriceLevels


def price_task(name: str, section: config.PriceTask) -> Task:
    """Price levels, scaled to the training range; many to one, or many to many in step."""
    return _task(name, section, section.every_step)


def log_return_task(name: str, section: config.LogReturnTask) -> Task:
    """A residual over the last known price on the log scale: an output of zero is persistence."""
    return _task(name, section, every_step=False)


def _task(name: str, section: config.PriceTask | config.LogReturnTask, every_step: bool) -> Task:
    columns, target = section.columns, section.target
    levels = isinstance(section, config.PriceTask)
    # Only a residual forecast reads the known price; a level's scale is the target's own.
    position = columns.index(target if levels else known_column(target))
    volumes = tuple(index for index, column in enumerate(columns) if column == "volume")
    return Task(
        name=name,
        kind=section.kind,
        topology="many_to_many" if every_step else "many_to_one",
        reader="prices",
        inputs=TensorSpec("inputs", "float32", ("batch", "time", len(columns)), f"{', '.join(columns)} of past days"),
        outputs=(
            TensorSpec(
                "price", "float32", ("batch", "time") if every_step else ("batch",), f"{target} of the next day"
            ),
        ),
        features=len(columns),
        input_steps=section.window,
        steps=section.window if levels else section.window - 1,
        make_preprocessing=lambda: (
            PriceLevels(len(columns), position) if levels else LogReturns(len(columns), position, volumes)
        ),
        make_head=lambda size: LinearHead(size, 1, start_at_zero=not levels),
        loss=_squared_error,
        metrics=metrics,
        per_sample_loss=per_sample_loss,
        headline="rmse",
        higher_is_better=False,
        baselines=baselines,
        plot=lambda folder, title, prediction, rows, evaluation: plot(
            folder, title, prediction, rows, evaluation, levels=levels, periods=named_periods(section.splits, rows)
        ),
        periods=lambda rows: named_periods(section.splits, rows),
        details={
            "prices": {
                "columns": list(columns),
                "target": target,
                "known": known_column(target),
                "window": section.window,
                "every_step": every_step,
            }
        },
        every_step=every_step,
        # Each step's target is the price of the next day, which a backward layer would have read.
        causal=every_step,
        min_steps=1 if levels else 2,
    )


def _squared_error(output: Any, target: Any) -> Any:
    return F.mse_loss(output.squeeze(-1), target)


def metrics(prediction: Prediction, rows: Tensors) -> dict[str, Any]:
    """Errors in the price's unit and beside persistence.

    Args:
        prediction: float [sample] or [sample, step].
        rows: `targets` and `last`, as `prediction`.

    Returns:
        rmse, mae, ratio_to_persistence (RMSE over the RMSE of the last known price), rows; for outputs at each step
        also `by_step`.
    """
    target, last = rows["targets"].astype(np.float64), rows["last"].astype(np.float64)
    error, naive = prediction.astype(np.float64) - target, last - target
    found: dict[str, Any] = {
        "rmse": float(np.sqrt(np.mean(error**2))),
        "mae": float(np.mean(np.abs(error))),
        "ratio_to_persistence": float(np.sqrt(np.mean(error**2) / np.mean(naive**2))),
        "rows": len(target),
    }
    if error.ndim == 2:
        rmse, base = np.sqrt(np.mean(error**2, axis=0)), np.sqrt(np.mean(naive**2, axis=0))
        found["by_step"] = [
            {"step": step + 1, "rmse": float(rmse[step]), "ratio_to_persistence": float(rmse[step] / base[step])}
            for step in range(error.shape[1])
        ]
    return found


def per_sample_loss(prediction: Prediction, rows: Tensors) -> NDArray[np.float64]:
    """Squared error of each row; of outputs at each step, of the last: the others are known by then."""
    error = prediction.astype(np.float64) - rows["targets"]
    squares: NDArray[np.float64] = (error[:, -1] if error.ndim == 2 else error) ** 2
    return squares


def baselines(samples: Samples) -> dict[str, Prediction]:
    """Persistence (the last known price), persistence with the training split's mean growth, and a 5-day mean."""
    persistence, drift, mean = [], [], []
    tensors = samples.tensors
    for fold in samples.folds:
        growth = np.log(tensors["targets"][fold.train] / tensors["last"][fold.train]).mean()
        last = tensors["last"][fold.test]
        persistence.append(last)
        drift.append(last * np.exp(growth))
        mean.append(_recent_mean(samples, fold.test))
    found = {"persistence": persistence, "drift": drift, "mean_of_5_days": mean}
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _recent_mean(samples: Samples, index: Any, days: int = 5) -> Prediction:
    """Mean of the target's last days: [sample] or [sample, step]; at a window's first steps, of those there are."""
    last = samples.tensors["last"]
    if last.ndim == 2:
        sums = np.cumsum(np.pad(last[index], ((0, 0), (days, 0))), axis=1, dtype=np.float64)
        counts = np.minimum(np.arange(1, last.shape[1] + 1), days)
        return ((sums[:, days:] - sums[:, :-days]) / counts).astype(np.float32)
    # The samples of a ticker follow each other by a day, so the days before a sample's are in the samples before it.
    series = samples.tensors["series"]
    starts = np.searchsorted(series, series[index])
    return np.array(
        [last[max(start, row - days + 1) : row + 1].mean() for start, row in zip(starts, index, strict=True)],
        dtype=np.float32,
    )


_CURVES = (("k", 1.2, "real"), ("0.65", 0.9, "persistence: the day before's price"), ("C3", 1.1, "predicted"))
"""Colour, width and name of each curve."""


def plot(
    folder: Path,
    title: str,
    prediction: Prediction,
    rows: Tensors,
    evaluation: Mapping[str, Any],
    *,
    levels: bool,
    periods: Mapping[str, NDArray[np.bool_]],
) -> None:
    """Predicted against real, with what the figures mean in the caption; for each step, its error."""
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
