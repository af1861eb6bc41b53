"""Errors of forecasts of series, and baselines."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unroll.domains.series.config import ForecastTask
from unroll.errors import DataError
from unroll.features.samples import Fold, Samples, Tensors
from unroll.metrics.live import Live
from unroll.metrics.metrics import Metrics, Prediction

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
_FITTED_WINDOWS = 4_000
"""Windows that the linear baseline is fitted on, at most."""
_RIDGE = (0.1, 1.0, 10.0, 100.0, 1000.0)


def make_metrics(section: ForecastTask, samples: Samples) -> Metrics:
    """Return the metrics of a task."""
    del samples
    return Metrics(
        "mase",
        higher_is_better=False,
        score=lambda prediction, rows: forecast_scores(prediction, rows, section),
        per_sample_loss=lambda prediction, rows: scaled_errors(prediction, rows, section).mean((1, 2)),
        baselines=lambda samples: baselines(samples, section),
        test="diebold_mariano",
    )


def scaled_errors(prediction: Prediction, rows: Tensors, section: ForecastTask) -> Floats:
    """Return the absolute error of the median over that of the seasonal naive forecast in training.

    Returns:
        float64 [sample, horizon, target]. Its mean is the MASE.

    Source: Hyndman & Koehler 2006.
    """
    return _parts(prediction, rows, section)["mase"]


def forecast_scores(prediction: Prediction, rows: Tensors, section: ForecastTask) -> dict[str, Any]:
    """Return errors of forecasts, overall, by step and by column.

    Args:
        prediction: Quantiles, float [sample, horizon, target, level].
        rows: `targets` [sample, horizon, target] and `scale` [sample, target].
        section: Names of the targets, and the levels.

    Returns:
        mase; smape in percent (0 to 200); pinball, the mean over the levels in units of `scale`; coverage_80, the share
        of values between the quantiles 0.1 and 0.9, where both are there; rows; by_step with the same; by_target with
        the same, and with mae and rmse in the unit of the column, which stand beside the others if there is one target.
    """
    parts = _parts(prediction, rows, section)
    found: dict[str, Any] = {name: float(value.mean()) for name, value in parts.items() if name not in _IN_UNITS}
    found["by_target"] = {
        name: _means({key: value[:, :, place] for key, value in parts.items()})
        for place, name in enumerate(section.targets)
    }
    if len(section.targets) == 1:
        found |= next(iter(found["by_target"].values()))
    found["rows"] = len(prediction)
    found["by_step"] = [
        {"step": step + 1} | {key: float(value[:, step].mean()) for key, value in parts.items() if key not in _IN_UNITS}
        for step in range(section.horizon)
    ]
    return found


_IN_UNITS = ("mae", "squared")


def _means(parts: dict[str, Floats]) -> dict[str, float]:
    found = {key: float(value.mean()) for key, value in parts.items() if key != "squared"}
    return found | {"rmse": float(np.sqrt(parts["squared"].mean()))}


def _parts(prediction: Prediction, rows: Tensors, section: ForecastTask) -> dict[str, Floats]:
    """Return what the metrics are means of, float64 [sample, horizon, target] each."""
    target = rows["targets"].astype(np.float64)
    quantiles = prediction.astype(np.float64)
    levels = np.asarray(section.quantiles)
    error = target - quantiles[..., section.quantiles.index(0.5)]
    size = np.abs(target) + np.abs(target - error)
    below = target[..., None] - quantiles
    scale = rows["scale"].astype(np.float64)[:, None]
    found = {
        "mase": np.abs(error) / scale,
        "smape": 200 * np.abs(error) / np.where(size > 0, size, 1.0),
        "pinball": np.maximum(levels * below, (levels - 1) * below).mean(-1) / scale,
        "mae": np.abs(error),
        "squared": error**2,
    }
    if 0.1 in section.quantiles and 0.9 in section.quantiles:
        low, high = (quantiles[..., section.quantiles.index(level)] for level in (0.1, 0.9))
        found["coverage_80"] = ((target >= low) & (target <= high)).astype(np.float64)
    return found


def baselines(samples: Samples, section: ForecastTask) -> dict[str, Prediction]:
    """Return quantile forecasts, float32 [sample, horizon, target, level] each.

    last_value; seasonal_naive: the value one season before, where there is a season; drift: the last value, and the
    mean change over the window; linear_autoregression: ridge regression of each step on the window and on what is known
    of the steps to come. Their quantiles are those of the errors in training, for each step.
    """
    found: dict[str, list[Prediction]] = {}
    for fold in samples.folds:
        for name, forecast in _forecasts(samples, section, fold).items():
            found.setdefault(name, []).append(forecast)
    return {name: np.concatenate(parts).astype(np.float32) for name, parts in found.items()}


def _forecasts(samples: Samples, section: ForecastTask, fold: Fold) -> dict[str, Floats]:
    tensors, inputs = samples.tensors, samples.tensors["inputs"]
    rng = np.random.default_rng(0)
    past = np.concatenate([fold.train, fold.valid])
    past = np.sort(rng.permutation(past)[:_FITTED_WINDOWS])
    real = tensors["targets"][past].astype(np.float64)
    methods = {
        "last_value": lambda index: _from_season(inputs[index], section, 1),
        "seasonal_naive": lambda index: _from_season(inputs[index], section, section.season),
        "drift": lambda index: _drift(inputs[index], section),
        "linear_autoregression": _linear(samples, section, past),
    }
    if section.season == 1:
        # It is the last value.
        del methods["seasonal_naive"]
    found = {}
    for name, method in methods.items():
        # Errors of the same windows, relative to each series' scale.
        scale = tensors["scale"].astype(np.float64)[:, None]
        errors = (real - method(past)) / scale[past]
        spread = np.quantile(errors, section.quantiles, axis=0)  # [level, horizon, target]
        # The median stays the forecast itself.
        spread -= spread[section.quantiles.index(0.5)]
        found[name] = method(fold.test)[..., None] + np.moveaxis(spread, 0, -1) * scale[fold.test][..., None]
    return found


def _values(inputs: NDArray[np.float32], section: ForecastTask) -> Floats:
    """Return the past of the targets, float64 [sample, history, target]."""
    return inputs[:, : section.history, : len(section.targets)].astype(np.float64)


def _from_season(inputs: NDArray[np.float32], section: ForecastTask, season: int) -> Floats:
    steps = section.history - season + np.arange(section.horizon) % season
    return _values(inputs, section)[:, steps]


def _drift(inputs: NDArray[np.float32], section: ForecastTask) -> Floats:
    past = _values(inputs, section)
    change = (past[:, -1] - past[:, 0]) / (section.history - 1)
    return past[:, -1:] + change[:, None] * np.arange(1, section.horizon + 1)[:, None]


def _linear(samples: Samples, section: ForecastTask, past: NDArray[np.int64]) -> Any:
    """Return index → forecasts of a ridge regression, whose strength is chosen by leave-one-out errors."""
    from sklearn.linear_model import RidgeCV

    inputs, targets = samples.tensors["inputs"], samples.tensors["targets"].astype(np.float64)

    def features(index: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
        """Return the window relative to its mean, and what is known; the mean, and the deviation."""
        some = inputs[index]
        unknown = len(section.targets) + len(section.inputs)
        values = some[:, : section.history, :unknown].astype(np.float64)
        mean, deviation = values.mean(1), np.maximum(values.std(1), least)
        scaled = ((values - mean[:, None]) / deviation[:, None]).reshape(len(some), -1)
        known = some[:, section.history - 1 :, unknown:].reshape(len(some), -1)
        kept = slice(0, len(section.targets))
        return np.concatenate([scaled, known], 1), mean[:, None, kept], deviation[:, None, kept]

    least = np.maximum(
        1e-3 * inputs[past, : section.history, : len(section.targets) + len(section.inputs)].std((0, 1)), 1e-9
    )
    known, mean, deviation = features(past)
    wanted = ((targets[past] - mean) / deviation).reshape(len(past), -1)
    fitted = RidgeCV(_RIDGE).fit(known, wanted)

    def forecast(index: NDArray[np.int64]) -> Floats:
        new, mean, deviation = features(index)
        found: Floats = fitted.predict(new).reshape(len(index), section.horizon, -1) * deviation + mean
        return found

    return forecast


def live_metrics(kind: str, rows: "pd.DataFrame") -> Live:
    """Return the mean absolute error of forecasts whose truth is known, over all steps and columns.

    Raises:
        DataError: A row has another number of true values than forecast.
    """
    del kind
    errors: list[float] = []
    for row, truth, forecast in zip(rows["row_id"], rows["truth"], rows["prediction"], strict=True):
        # A step has its time, and each target by its name and with its quantiles.
        targets = [name for name in forecast[0] if any(other.startswith(f"{name}_q") for other in forecast[0])]
        ours = [step[name] for step in forecast for name in targets]
        theirs = np.asarray(truth.split() if isinstance(truth, str) else truth, np.float64).ravel()
        if len(ours) != len(theirs):
            raise DataError(f"row_id {row}: {len(theirs)} true values, but {len(ours)} were forecast")
        errors += np.abs(np.asarray(ours) - theirs).tolist()
    return {"mae": float(np.mean(errors))}
