"""Errors of price forecasts beside persistence, and their baselines."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unroll.domains.prices.config import LevelTask, LogReturnTask, QuantileTask
from unroll.domains.prices.quantile_metrics import last_prices, live_quantiles, quantile_metrics
from unroll.features.samples import Samples, Tensors
from unroll.features.splits import named_periods
from unroll.metrics.live import Live, numbers_of
from unroll.metrics.metrics import Metrics, Prediction

if TYPE_CHECKING:
    import pandas as pd


def make_metrics(section: LevelTask | LogReturnTask | QuantileTask, samples: Samples) -> Metrics:
    """Return the metrics of a task of any kind."""

    def periods(rows: Tensors) -> Mapping[str, NDArray[np.bool_]]:
        return named_periods(section.splits, rows)

    if isinstance(section, QuantileTask):
        return quantile_metrics(section, periods)
    return Metrics(
        "rmse",
        higher_is_better=False,
        score=score,
        per_sample_loss=per_sample_loss,
        baselines=baselines,
        periods=periods,
        test="diebold_mariano",
    )


def score(prediction: Prediction, rows: Tensors) -> dict[str, Any]:
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


def live_metrics(kind: str, rows: "pd.DataFrame") -> Live:
    """Return the metrics of forecasts whose truth is known."""
    return live_quantiles(rows) if kind == "return_quantiles" else _live_prices(rows)


def _live_prices(rows: "pd.DataFrame") -> Live:
    """Errors in the price's unit; beside persistence, where the predicted return tells the last known price."""
    true, said, last = numbers_of(rows, "truth"), numbers_of(rows, "prediction"), last_prices(rows)
    error, naive = said - true, last - true
    found = {"rmse": float(np.sqrt(np.mean(error**2))), "mae": float(np.mean(np.abs(error)))}
    base = np.mean(naive**2)
    if np.isfinite(base) and base > 0:
        found["ratio_to_persistence"] = float(np.sqrt(np.mean(error**2) / base))
    return found
