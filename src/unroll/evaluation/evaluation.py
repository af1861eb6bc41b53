"""Metrics of a model beside those of its baselines, computed by the same code on the same rows."""

import statistics
from collections.abc import Mapping
from typing import Any

from unroll.evaluation.statistics import Losses, p_value, skill
from unroll.features.samples import Tensors
from unroll.metrics.metrics import Metrics, Prediction, Test


def evaluate(
    metrics: Metrics, prediction: Prediction, baselines: Mapping[str, Prediction], rows: Tensors
) -> dict[str, Any]:
    """Compute the test metrics of a model and of its baselines, and compare the model with each baseline.

    Returns:
        `test`: the metrics; where the test split has periods, the first one's, and all of them under `periods`.
        `baseline`: the same for each baseline. `against`: for each baseline the skill (1 − mean loss / the baseline's)
        with its 95 % `interval`, the p-value of the difference of the losses, and `test`, the name of the statistical
        test.
    """
    return {
        "test": metrics.evaluate(prediction, rows),
        "baseline": {name: metrics.evaluate(other, rows) for name, other in baselines.items()},
        "against": {name: _against(metrics, prediction, other, rows) for name, other in baselines.items()},
    }


def evaluate_seeds(metrics: Metrics, predictions: Mapping[int, Prediction], rows: Tensors) -> dict[str, Any]:
    """Compute the test metrics of the networks of each seed, which vary more than those of their mean.

    Returns:
        `per_seed`: the metrics by seed; `seed_mean` and `seed_std`: mean and sample standard deviation of the headline
        metric over the seeds, None for a single seed.
    """
    found = {str(seed): metrics.evaluate(prediction, rows) for seed, prediction in predictions.items()}
    values = [one[metrics.headline] for one in found.values()]
    several = len(values) > 1
    return {
        "per_seed": found,
        "seed_mean": statistics.mean(values) if several else None,
        "seed_std": statistics.stdev(values) if several else None,
    }


def _against(metrics: Metrics, prediction: Prediction, other: Prediction, rows: Tensors) -> dict[str, Any]:
    ours, theirs = metrics.per_sample_loss(prediction, rows), metrics.per_sample_loss(other, rows)
    periods = metrics.periods(rows)
    if not periods:
        return _compare(metrics.test, ours, theirs)
    parts = {name: _compare(metrics.test, ours[inside], theirs[inside]) for name, inside in periods.items()}
    return {**next(iter(parts.values())), "periods": parts}


def _compare(test: Test, ours: Losses, theirs: Losses) -> dict[str, Any]:
    return {**skill(ours, theirs), "p_value": p_value(test, ours, theirs), "test": test}
