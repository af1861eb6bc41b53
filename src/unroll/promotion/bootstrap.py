"""How sure a difference between two models is, by drawing test rows again and again."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
_CHUNK = 2_000_000
"""Rows that are drawn at once: 16 MB of differences, whatever the size of the test split."""


@dataclass(frozen=True)
class Interval:
    """A mean difference of losses and its 95 % confidence interval; below 0 the first model is better."""

    mean: float
    low: float
    high: float

    @property
    def worse(self) -> bool:
        """The first model loses more, and not by chance."""
        return self.low > 0

    @property
    def better(self) -> bool:
        """The first model loses less, and not by chance."""
        return self.high < 0


def paired_interval(
    losses: NDArray[np.float64], other: NDArray[np.float64], resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Percentile bootstrap of the mean difference of two models' losses on the same rows.

    Rows are drawn one by one, not in blocks. Both models are judged on the same row, so what a row is like cancels out
    in the difference; what is left of the dependence between neighbouring days is what the Diebold–Mariano test at
    horizon 1 leaves out, too.

    Args:
        losses: Loss of the one model on each row, float64 [row].
        other: Loss of the other on the same rows, float64 [row].
        resamples: How often as many rows as there are are drawn, with replacement.
        seed: Of the draws; equal seeds give equal intervals.

    Example:
        Losses 1, 1 and 0, 0: every draw has the mean 1, so the interval is 1 to 1.

    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapters 13 and 16.
    """
    if losses.shape != other.shape or losses.ndim != 1 or not len(losses):
        raise ValueError(f"losses of the same rows are needed, at least one; got {losses.shape} and {other.shape}")
    difference = losses - other
    random = np.random.default_rng(seed)
    rows = len(difference)
    means = np.empty(resamples)
    step = max(1, _CHUNK // rows)
    for start in range(0, resamples, step):
        part = means[start : start + step]
        part[:] = difference[random.integers(0, rows, (len(part), rows), np.int32)].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(difference.mean()), float(low), float(high))
