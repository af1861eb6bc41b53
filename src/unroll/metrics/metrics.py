"""How the predictions of a task are judged; torch-free, so that baselines and live predictions are judged alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unroll.features.samples import Samples, Tensors

Prediction = NDArray[Any]
"""Raw outputs of a model or a baseline on test rows, [sample, …]. A class number counts as a certain prediction."""

Test = Literal["diebold_mariano", "mcnemar", "paired_t_test"]
"""A statistical test of the difference between two models, from their losses on the same rows."""


def _one_period(rows: Tensors) -> Mapping[str, NDArray[np.bool_]]:
    return {}


@dataclass(frozen=True)
class Metrics:
    """The metrics and baselines of a task.

    Attributes:
        headline: The metric that experiments are compared by.
        higher_is_better: Whether a higher headline metric is better.
        score: (predictions, their rows) → metrics by name; some are nested.
        per_sample_loss: (predictions, their rows) → float64 [sample], lower is better; the test of the difference
            between two models is made on these.
        baselines: Samples → the predictions of each baseline for the test rows, fold after fold.
        test: The test that suits the losses: `mcnemar` for losses of 0 or 1, `diebold_mariano` for forecasts of a time
            series, `paired_t_test` otherwise.
        periods: Rows → masks of the parts of the test split that get metrics of their own. The first part gives the
            headline.
        score_texts: Generated texts → metrics of them by name, where there is something to measure.
    """

    headline: str
    higher_is_better: bool
    score: Callable[[Prediction, Tensors], dict[str, Any]]
    per_sample_loss: Callable[[Prediction, Tensors], NDArray[np.float64]]
    baselines: Callable[[Samples], Mapping[str, Prediction]]
    test: Test
    periods: Callable[[Tensors], Mapping[str, NDArray[np.bool_]]] = _one_period
    score_texts: Callable[[Sequence[str]], dict[str, Any]] | None = None

    def is_better(self, value: float, than: float) -> bool:
        """Return whether one headline value beats another."""
        return value > than if self.higher_is_better else value < than

    def evaluate(self, prediction: Prediction, rows: Tensors) -> dict[str, Any]:
        """Return the metrics of predictions, and under `periods` those of each period where the task has periods."""
        periods = self.periods(rows)
        if not periods:
            return self.score(prediction, rows)
        parts = {
            name: self.score(prediction[inside], {key: value[inside] for key, value in rows.items()})
            for name, inside in periods.items()
        }
        return {**next(iter(parts.values())), "periods": parts}
