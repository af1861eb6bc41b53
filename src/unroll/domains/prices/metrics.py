"""Errors of price and quantile forecasts, and baselines."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unroll.domains.prices.config import LevelTask, LogReturnTask, QuantileTask
from unroll.errors import DataError
from unroll.features.samples import Fold, Samples, Tensors
from unroll.features.splits import named_periods
from unroll.metrics.live import Live, finite_numbers
from unroll.metrics.metrics import Metrics, Prediction

if TYPE_CHECKING:
    import pandas as pd

Levels = tuple[float, ...]


def make_metrics(section: LevelTask | LogReturnTask | QuantileTask, samples: Samples) -> Metrics:
    """Return the metrics of a task."""

    def periods(rows: Tensors) -> Mapping[str, NDArray[np.bool_]]:
        return named_periods(section.splits, rows)

    if isinstance(section, QuantileTask):
        return _quantile_metrics(section, periods)
    return Metrics(
        "rmse",
        higher_is_better=False,
        score=price_scores,
        per_sample_loss=squared_error,
        baselines=price_baselines,
        periods=periods,
        test="diebold_mariano",
    )


def price_scores(prediction: Prediction, rows: Tensors) -> dict[str, Any]:
    """Return errors of prices, absolute and relative to persistence.

    Args:
        prediction: float [sample] or [sample, step].
        rows: `targets` and `last` (the last known price), of the shape of `prediction`.

    Returns:
        rmse and mae in the unit of the price, ratio_to_persistence (RMSE over the RMSE of the last known price), rows;
        for forecasts at every step also `by_step`.
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


def squared_error(prediction: Prediction, rows: Tensors) -> NDArray[np.float64]:
    """Return the squared error of each row, float64 [sample]; of forecasts at every step, that of the last step."""
    error = prediction.astype(np.float64) - rows["targets"]
    squares: NDArray[np.float64] = (error[:, -1] if error.ndim == 2 else error) ** 2
    return squares


def price_baselines(samples: Samples) -> dict[str, Prediction]:
    """Return the last known price, the same with the mean growth of the training split, and a mean of 5 days."""
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
    """Return the mean of the last days, [sample] or [sample, step]; of fewer days at the first steps of a window."""
    last = samples.tensors["last"]
    if last.ndim == 2:
        sums = np.cumsum(np.pad(last[index], ((0, 0), (days, 0))), axis=1, dtype=np.float64)
        counts = np.minimum(np.arange(1, last.shape[1] + 1), days)
        return ((sums[:, days:] - sums[:, :-days]) / counts).astype(np.float32)
    # The samples of a ticker are consecutive days: the days before a sample are in the samples before it.
    series = samples.tensors["series"]
    starts = np.searchsorted(series, series[index])
    return np.array(
        [last[max(start, row - days + 1) : row + 1].mean() for start, row in zip(starts, index, strict=True)],
        dtype=np.float32,
    )


def live_metrics(kind: str, rows: "pd.DataFrame") -> Live:
    """Return the metrics of forecasts whose truth is known."""
    return _live_quantiles(rows) if kind == "return_quantiles" else _live_prices(rows)


def _live_prices(rows: "pd.DataFrame") -> Live:
    """Return errors of prices; relative to persistence only if all last known prices are known and some are wrong."""
    known = {"targets": finite_numbers(rows, "truth"), "last": _last_prices(rows)}
    with np.errstate(divide="ignore", invalid="ignore"):
        found = price_scores(finite_numbers(rows, "prediction"), known)
    return {name: found[name] for name in ("rmse", "mae", "ratio_to_persistence") if np.isfinite(found[name])}


def _quantile_metrics(section: QuantileTask, periods: Callable[[Tensors], Mapping[str, NDArray[np.bool_]]]) -> Metrics:
    levels = section.quantiles
    return Metrics(
        "pinball",
        higher_is_better=False,
        score=lambda prediction, rows: quantile_scores(prediction, rows, levels),
        per_sample_loss=lambda prediction, rows: pinball_loss(prediction, rows, levels),
        baselines=lambda samples: quantile_baselines(samples, section),
        periods=periods,
        test="diebold_mariano",
    )


def quantile_scores(prediction: Prediction, rows: Tensors, levels: Levels) -> dict[str, Any]:
    """Return pinball loss, coverage of the 80 % interval, and the share of targets below each quantile.

    Args:
        prediction: float [sample, level].
        rows: `targets` float32 [sample], log returns.
        levels: Quantile levels.

    Returns:
        pinball: mean over rows and levels, in log return; coverage_80 if 0.1 and 0.9 are among the levels; below: the
        share of targets below each quantile, ideally its level; rows.
    """
    target = rows["targets"].astype(np.float64)[:, None]
    quantiles = prediction.astype(np.float64)
    found: dict[str, Any] = {
        "pinball": float(pinball_loss(prediction, rows, levels).mean()),
        "below": {f"{level:g}": float((target[:, 0] < quantiles[:, rank]).mean()) for rank, level in enumerate(levels)},
        "rows": len(target),
    }
    if 0.1 in levels and 0.9 in levels:
        low, high = quantiles[:, [levels.index(0.1)]], quantiles[:, [levels.index(0.9)]]
        found["coverage_80"] = float(((target >= low) & (target <= high)).mean())
    return found


def pinball_loss(prediction: Prediction, rows: Tensors, levels: Levels) -> NDArray[np.float64]:
    """Return the pinball loss of each row, float64 [sample]."""
    error = rows["targets"].astype(np.float64)[:, None] - prediction.astype(np.float64)
    level = np.asarray(levels)
    losses: NDArray[np.float64] = np.maximum(level * error, (level - 1) * error).mean(1)
    return losses


def quantile_baselines(samples: Samples, section: QuantileTask) -> dict[str, Prediction]:
    """Return simple quantile forecasts, float32 [sample, level] each.

    constant: quantiles of all past returns; rolling_60 and rolling_250: of the last 60 and 250 returns; ewma: the
    current volatility times the quantiles of past standardized returns; linear_quantile_regression: of the standardized
    return on recent standardized returns and their size.
    """
    found: dict[str, list[Prediction]] = {
        name: [] for name in ("constant", "rolling_60", "rolling_250", "ewma", "linear_quantile_regression")
    }
    tensors = samples.tensors
    returns = tensors["targets"].astype(np.float64)
    levels = section.quantiles
    standardized, volatility = ewma_returns(tensors["inputs"][:, :, 0], section.decay, section.volatility_window)
    features = _linear_features(standardized)
    for fold in samples.folds:
        past = np.concatenate([fold.train, fold.valid])
        today = volatility[fold.test, None]
        rows = len(fold.test)
        constant = np.quantile(returns[past], levels)
        found["constant"].append(np.tile(constant, (rows, 1)))
        found["rolling_60"].append(_rolling(samples, fold, levels, 60, constant))
        found["rolling_250"].append(_rolling(samples, fold, levels, 250, constant))
        past_targets = returns[past] / volatility[past]
        found["ewma"].append(today * np.quantile(past_targets, levels))
        found["linear_quantile_regression"].append(
            today * _linear_quantiles(features[past], past_targets, features[fold.test], levels)
        )
    return {name: np.concatenate(parts).astype(np.float32) for name, parts in found.items()}


def ewma_returns(
    closes: NDArray[np.float32], decay: float, window: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return standardized returns and the volatility, as `unroll.models.preprocessing.EwmaReturns` does with torch.

    Args:
        closes: float32 [sample, day].
        decay: Weight of a day relative to the day after it.
        window: Days of returns in each volatility.

    Returns:
        Returns over the volatility of the day before, float64 [sample, day − 1 − window], and the volatility after the
        last day, float64 [sample].
    """
    returns = np.diff(np.log(closes.astype(np.float64)), axis=1)
    weights = decay ** np.arange(window - 1, -1, -1)
    squares = np.lib.stride_tricks.sliding_window_view(returns**2, window, axis=1)
    volatility = np.sqrt(np.maximum(squares @ (weights / weights.sum()), 1e-12))
    return returns[:, window:] / volatility[:, :-1], volatility[:, -1]


def _rolling(samples: Samples, fold: Fold, levels: Levels, days: int, constant: NDArray[np.float64]) -> Prediction:
    """Return quantiles of the last returns of each ticker; `constant` for a ticker without any."""
    returns, series = samples.tensors["targets"].astype(np.float64), samples.tensors["series"]
    # The samples of a ticker are consecutive days: the returns before a sample are the targets before it.
    starts = np.maximum(np.searchsorted(series, series[fold.test]), fold.test - days)
    pasts = [returns[start:row] for start, row in zip(starts, fold.test, strict=True)]
    return np.stack([np.quantile(past, levels) if len(past) else constant for past in pasts])


def _linear_features(standardized: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the last three standardized returns, and the mean size of the last 1, 5 and all of them."""
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
    # The quantiles are fitted one by one and may cross.
    return np.sort(np.column_stack(columns), axis=1)


def _live_quantiles(rows: "pd.DataFrame") -> Live:
    """Return the pinball loss of the log return, and the coverage of the 80 % interval if it was predicted."""
    true = finite_numbers(rows, "truth")
    if not (true > 0).all():
        row = int((true <= 0).argmax())
        raise DataError(f"row_id {rows['row_id'].iloc[row]}: the true price is {true[row]:g}, expected more than 0")
    returns = np.log(true / _last_prices(rows))
    names = [name for name in rows.columns if name.startswith("q") and name[1:].replace(".", "", 1).isdigit()]
    levels = tuple(float(name[1:]) / 100 for name in names)
    quantiles = rows[names].astype(np.float64).to_numpy()  # [row, level]
    found = quantile_scores(quantiles, {"targets": returns}, levels)
    return {name: found[name] for name in ("pinball", "coverage_80") if name in found}


def _last_prices(rows: "pd.DataFrame") -> NDArray[np.float64]:
    """Return the last known price of each row: a prediction is that price × e^score."""
    scores = rows["score"].astype(np.float64).to_numpy()
    prices: NDArray[np.float64] = finite_numbers(rows, "prediction") / np.exp(scores)
    return prices
