"""Is the difference between two models' losses on the same test rows more than chance?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll.metrics.metrics import Test

Losses = NDArray[np.float64]

_RESAMPLES = 10_000
_DRAWN_AT_ONCE = 2_000_000
"""Row indices that the bootstrap draws per batch, which bounds its memory to tens of megabytes."""


@dataclass(frozen=True)
class Interval:
    """Mean difference of losses and its 95 % confidence interval; below 0 the first model is better."""

    mean: float
    low: float
    high: float

    @property
    def worse(self) -> bool:
        """Whether the first model's loss is significantly higher."""
        return self.low > 0

    @property
    def better(self) -> bool:
        """Whether the first model's loss is significantly lower."""
        return self.high < 0


def p_value(test: Test, losses: Losses, other: Losses) -> float | None:
    """Return the two-sided p-value of the hypothesis that two models are equally good; None if no losses differ.

    Args:
        test: `mcnemar` for losses that are 0 or 1 (exact, by the binomial distribution); `paired_t_test` for any
            losses of independent rows; `diebold_mariano` for one-step forecasts of a time series.
        losses: Loss of the one model on each row, float64 [row].
        other: Loss of the other model on the same rows, float64 [row].

    Source: McNemar 1947; Diebold & Mariano 1995; Harvey, Leybourne & Newbold 1997.
    """
    # Not scipy.stats, whose import takes as long as many an evaluation.
    from scipy.special import bdtr, stdtr

    difference = losses - other
    if len(difference) < 2 or not np.ptp(difference) > 0:
        return None
    if test == "mcnemar":
        wins, defeats = int((difference < 0).sum()), int((difference > 0).sum())
        return min(1.0, 2 * float(bdtr(min(wins, defeats), wins + defeats, 0.5)))
    # At horizon 1 there are no autocovariances to add, and the correction by Harvey et al. turns the statistic of
    # Diebold and Mariano into that of the paired t-test, t distribution included.
    t = difference.mean() / (difference.std(ddof=1) / np.sqrt(len(difference)))
    return 2 * float(stdtr(len(difference) - 1, -abs(t)))


def skill(losses: Losses, other: Losses) -> dict[str, Any]:
    """Return 1 − mean loss / the other model's mean loss, and its 95 % confidence interval, None where there is none.

    The interval is that of the mean difference on the same rows, by Student's t, in units of the other model's mean
    loss: it excludes 0 where the paired t-test finds a difference.
    """
    from scipy.special import stdtrit

    difference, unit, rows = other - losses, float(other.mean()), len(losses)
    if not unit > 0:
        return {"skill": None, "interval": None}
    found = float(difference.mean()) / unit
    if rows < 2:
        return {"skill": found, "interval": None}
    width = float(stdtrit(rows - 1, 0.975) * difference.std(ddof=1) / np.sqrt(rows)) / unit
    return {"skill": found, "interval": [found - width, found + width]}


def paired_bootstrap(losses: Losses, other: Losses, seed: int = 0) -> Interval:
    """Return the percentile bootstrap interval of the mean difference of two models' losses on the same rows.

    Rows are drawn singly, not in blocks: both models are judged on the same row, so what neighboring days have in
    common cancels out in the difference.

    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapters 13 and 16.
    """
    from scipy.stats import bootstrap

    if losses.shape != other.shape or losses.ndim != 1 or not len(losses):
        raise ValueError(f"losses must be of the same rows, at least one; got {losses.shape} and {other.shape}")
    difference = losses - other
    mean = float(difference.mean())
    if len(difference) == 1:
        return Interval(mean, mean, mean)
    interval = bootstrap(
        (difference,),
        np.mean,
        n_resamples=_RESAMPLES,
        batch=max(1, _DRAWN_AT_ONCE // len(difference)),
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean, float(interval.low), float(interval.high))
