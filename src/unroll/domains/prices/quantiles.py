"""Quantiles of the next day's log return: a forecast of how far, where no forecast of where to holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unroll import config
from unroll.domains.task import Prediction, Task, TensorSpec
from unroll.features.samples import Fold, Samples, Tensors
from unroll.features.splits import named_periods
from unroll.models.heads import MonotoneQuantileHead
from unroll.models.preprocessing import EwmaReturns

Levels = tuple[float, ...]


def quantile_task(name: str, section: config.ReturnQuantileTask) -> Task:
    """Many to one: past closes → quantiles of the next log return."""
    levels = section.quantiles

    def units() -> EwmaReturns:
        return EwmaReturns(section.decay, section.volatility_window)

    return Task(
        name=name,
        kind=section.kind,
        topology="many_to_one",
        reader="prices",
        inputs=TensorSpec("inputs", "float32", ("batch", "time", 1), "close of past days"),
        outputs=(
            TensorSpec(
                "log_return_quantiles",
                "float32",
                ("batch", len(levels)),
                "quantiles of the next day's log return (1 = 100 %), rising",
            ),
        ),
        features=1,
        input_steps=section.volatility_window + section.window + 1,
        steps=section.window,
        make_preprocessing=units,
        make_head=lambda size: MonotoneQuantileHead(size, levels),
        loss=lambda output, target: pinball(output, target, torch.tensor(levels, device=output.device)),
        metrics=lambda prediction, rows: metrics(prediction, rows, levels),
        per_sample_loss=lambda prediction, rows: per_sample_loss(prediction, rows, levels),
        headline="pinball",
        higher_is_better=False,
        baselines=lambda samples: baselines(samples, levels, units()),
        plot=lambda folder, title, prediction, rows, evaluation: plot(
            folder, title, prediction, rows, evaluation, levels
        ),
        periods=lambda rows: named_periods(section.splits, rows),
        details={
            "prices": {
                "columns": ["close"],
                "target": "close",
                "window": section.volatility_window + section.window + 1,
                "every_step": False,
            },
            "quantiles": list(levels),
        },
        min_steps=section.volatility_window + 2,
    )


def pinball(output: Tensor, target: Tensor, levels: Tensor) -> Tensor:
    """Mean pinball loss of quantiles [batch, level] for targets [batch].

    Source: Koenker & Bassett 1978.
    """
    error = target.unsqueeze(-1) - output
    return torch.maximum(levels * error, (levels - 1) * error).mean()


def metrics(prediction: Prediction, rows: Tensors, levels: Levels) -> dict[str, Any]:
    """Pinball loss, coverage of intervals, and the share below each quantile.

    Args:
        prediction: float [sample, level].
        rows: `targets` float32 [sample], log returns.
        levels: Quantile levels.

    Returns:
        pinball: mean over rows and levels, in log return; coverage_80 where 0.1 and 0.9 are among the levels; below:
        the share of rows under each quantile, which should be its level.
    """
    target = rows["targets"].astype(np.float64)[:, None]
    quantiles = prediction.astype(np.float64)
    found: dict[str, Any] = {
        "pinball": float(per_sample_loss(prediction, rows, levels).mean()),
        "below": {f"{level:g}": float((target[:, 0] < quantiles[:, rank]).mean()) for rank, level in enumerate(levels)},
        "rows": len(target),
    }
    if 0.1 in levels and 0.9 in levels:
        low, high = quantiles[:, [levels.index(0.1)]], quantiles[:, [levels.index(0.9)]]
        found["coverage_80"] = float(((target >= low) & (target <= high)).mean())
    return found


def per_sample_loss(prediction: Prediction, rows: Tensors, levels: Levels) -> NDArray[np.float64]:
    """Pinball loss of each row, float64 [sample]."""
    error = rows["targets"].astype(np.float64)[:, None] - prediction.astype(np.float64)
    level = np.asarray(levels)
    losses: NDArray[np.float64] = np.maximum(level * error, (level - 1) * error).mean(1)
    return losses


def baselines(samples: Samples, levels: Levels, units: EwmaReturns) -> dict[str, Prediction]:
    """What a sceptic would forecast with.

    constant: quantiles of all past returns; rolling_60 and rolling_250: of the last days'; ewma: the volatility of the
    moment times the quantiles of past standardized returns; linear: quantile regression of the standardized return on
    recent standardized returns and their size.
    """
    found: dict[str, list[Prediction]] = {
        name: [] for name in ("constant", "rolling_60", "rolling_250", "ewma", "linear_quantile_regression")
    }
    tensors = samples.tensors
    returns = tensors["targets"].astype(np.float64)
    inputs = torch.from_numpy(tensors["inputs"])
    volatility = units.last_volatility(inputs).numpy().astype(np.float64)
    features = _linear_features(units.prepare(inputs).squeeze(-1).numpy().astype(np.float64))
    for fold in samples.folds:
        past = np.concatenate([fold.train, fold.valid])
        today = volatility[fold.test, None]
        rows = len(fold.test)
        constant = np.quantile(returns[past], levels)
        found["constant"].append(np.tile(constant, (rows, 1)))
        found["rolling_60"].append(_rolling(samples, fold, levels, 60, constant))
        found["rolling_250"].append(_rolling(samples, fold, levels, 250, constant))
        standardized = returns[past] / volatility[past]
        found["ewma"].append(today * np.quantile(standardized, levels))
        found["linear_quantile_regression"].append(
            today * _linear_quantiles(features[past], standardized, features[fold.test], levels)
        )
    return {name: np.concatenate(parts).astype(np.float32) for name, parts in found.items()}


def _rolling(samples: Samples, fold: Fold, levels: Levels, days: int, constant: NDArray[np.float64]) -> Prediction:
    """Quantiles of a ticker's last days; `constant` for a ticker without a past."""
    returns, series = samples.tensors["targets"].astype(np.float64), samples.tensors["series"]
    # A ticker's samples follow each other by a day: the returns before a sample's are the targets before it.
    starts = np.maximum(np.searchsorted(series, series[fold.test]), fold.test - days)
    pasts = [returns[start:row] for start, row in zip(starts, fold.test, strict=True)]
    return np.stack([np.quantile(past, levels) if len(past) else constant for past in pasts])


def _linear_features(standardized: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standardised returns [sample, day] → the last three, and the mean size of the last 1, 5 and all days."""
    size = np.abs(standardized)
    return np.column_stack([standardized[:, -3:], size[:, -1], size[:, -5:].mean(1), size.mean(1)])


def _linear_quantiles(
    features: NDArray[np.float64], target: NDArray[np.float64], wanted: NDArray[np.float64], levels: Levels
) -> NDArray[np.float64]:
    from sklearn.linear_model import QuantileRegressor

    columns = [
        QuantileRegressor(quantile=level, alpha=0.0, solver="highs").fit(features, target).predict(wanted)
        for level in levels
    ]
    # Lines of single quantiles may cross.
    return np.sort(np.column_stack(columns), axis=1)


def plot(
    folder: Path,
    title: str,
    prediction: Prediction,
    rows: Tensors,
    evaluation: Mapping[str, Any],
    levels: Levels,
) -> None:
    """A fan of quantiles around what happened, and how often each quantile held."""
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
