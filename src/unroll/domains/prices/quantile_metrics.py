"""Pinball loss and coverage of quantile forecasts, and their baselines."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unroll.domains.prices.config import QuantileTask
from unroll.errors import DataError
from unroll.features.samples import Fold, Samples, Tensors
from unroll.metrics.live import Live, numbers_of
from unroll.metrics.metrics import Metrics, Prediction

if TYPE_CHECKING:
    import pandas as pd

Levels = tuple[float, ...]


def quantile_metrics(section: QuantileTask, periods: Callable[[Tensors], Mapping[str, NDArray[np.bool_]]]) -> Metrics:
    """Return the metrics of a task of kind return_quantiles."""
    levels = section.quantiles
    return Metrics(
        "pinball",
        higher_is_better=False,
        score=lambda prediction, rows: score(prediction, rows, levels),
        per_sample_loss=lambda prediction, rows: per_sample_loss(prediction, rows, levels),
        baselines=lambda samples: baselines(samples, section),
        periods=periods,
        test="diebold_mariano",
    )


def score(prediction: Prediction, rows: Tensors, levels: Levels) -> dict[str, Any]:
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


def baselines(samples: Samples, section: QuantileTask) -> dict[str, Prediction]:
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
        standardized = returns[past] / volatility[past]
        found["ewma"].append(today * np.quantile(standardized, levels))
        found["linear_quantile_regression"].append(
            today * _linear_quantiles(features[past], standardized, features[fold.test], levels)
        )
    return {name: np.concatenate(parts).astype(np.float32) for name, parts in found.items()}


def ewma_returns(
    closes: NDArray[np.float32], decay: float, window: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute what `unroll.models.preprocessing.EwmaReturns` computes, without torch.

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


def live_quantiles(rows: "pd.DataFrame") -> Live:
    """Pinball loss of the log return; coverage of the interval from 10 % to 90 %, where it was predicted."""
    true = numbers_of(rows, "truth")
    if not (true > 0).all():
        row = int((true <= 0).argmax())
        raise DataError(f"row_id {rows['row_id'].iloc[row]}: the true price is {true[row]:g}, expected more than 0")
    returns = np.log(true / last_prices(rows))
    names = [name for name in rows.columns if name.startswith("q") and name[1:].replace(".", "", 1).isdigit()]
    levels = np.array([float(name[1:]) / 100 for name in names])
    quantiles = rows[names].astype(np.float64).to_numpy()  # [row, level]
    error = returns[:, None] - quantiles
    found = {"pinball": float(np.maximum(levels * error, (levels - 1) * error).mean())}
    if {"q10", "q90"} <= set(names):
        low, high = quantiles[:, names.index("q10")], quantiles[:, names.index("q90")]
        found["coverage_80"] = float(((returns >= low) & (returns <= high)).mean())
    return found


def last_prices(rows: "pd.DataFrame") -> NDArray[np.float64]:
    """The last known price of each row: a prediction is that price × e^score."""
    scores = rows["score"].astype(np.float64).to_numpy()
    prices: NDArray[np.float64] = numbers_of(rows, "prediction") / np.exp(scores)
    return prices
