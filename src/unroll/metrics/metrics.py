"""What the metrics of a task are. They need no torch: baselines and live predictions are scored by the same code."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unroll.features.samples import Samples, Tensors

Prediction = NDArray[Any]
"""Raw outputs of a model or a baseline for test rows, [sample, …]; class numbers stand for probabilities of 0 and 1."""

Test = Literal["diebold_mariano", "mcnemar", "paired_t_test"]
"""A statistical test of the difference between two models, from their losses on the same rows."""


def _one_period(rows: Tensors) -> Mapping[str, NDArray[np.bool_]]:
    return {}


@dataclass(frozen=True)
class Metrics:
    """The metrics and baselines of a task.

    Attributes:
        headline: The metric that experiments are compared by.
        higher_is_better: Whether a higher headline metric is better; it is a share then, otherwise an error.
        score: (predictions, rows) → metrics by name, some of them nested.
        per_sample_loss: (predictions, rows) → float64 [sample], lower is better; the statistical test compares these.
        baselines: Samples → predictions of each baseline for the test rows, fold after fold.
        test: The statistical test for the losses: `mcnemar` for losses of 0 or 1, `diebold_mariano` for forecasts of a
            time series, `paired_t_test` otherwise.
        periods: Rows → masks of the periods of the test split that get metrics of their own. The first one gives the
            headline.
        score_texts: Generated texts → metrics of them by name, where there is something to measure.
        maximum: Headline metric of a perfect model, where a higher one is better.
    """

    headline: str
    higher_is_better: bool
    score: Callable[[Prediction, Tensors], dict[str, Any]]
    per_sample_loss: Callable[[Prediction, Tensors], NDArray[np.float64]]
    baselines: Callable[[Samples], Mapping[str, Prediction]]
    test: Test
    periods: Callable[[Tensors], Mapping[str, NDArray[np.bool_]]] = _one_period
    score_texts: Callable[[Sequence[str]], dict[str, Any]] | None = None
    maximum: float = 1.0

    def is_better(self, value: float, than: float) -> bool:
        """Return whether one headline value beats another."""
        return value > than if self.higher_is_better else value < than

    def loss(self, value: float, reference: float) -> float:
        """Return what one headline value loses to another, negative for a gain.

        A share (accuracy, F1, BLEU) loses a part of its maximum, an error (RMSE, perplexity) a part of the reference.
        """
        return (reference - value) / self.maximum if self.higher_is_better else (value - reference) / reference

    def evaluate(self, prediction: Prediction, rows: Tensors) -> dict[str, Any]:
        """Return the metrics of predictions, and under `periods` those of each period where the task has periods."""
        periods = self.periods(rows)
        if not periods:
            return self.score(prediction, rows)
        parts = {
            name: self.score(prediction[mask], {key: value[mask] for key, value in rows.items()})
            for name, mask in periods.items()
        }
        return {**next(iter(parts.values())), "periods": parts}
