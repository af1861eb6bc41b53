"""Tests that say whether a difference between two forecasts could be chance."""

import math

import numpy as np
from numpy.typing import NDArray


def diebold_mariano(losses: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    """Two-sided p-value that two one-step forecasts are equally good.

    Args:
        losses: Loss of the one forecast on each day, float64 [day].
        other: Loss of the other, on the same days.

    Returns:
        Between 0 and 1; None where the losses are equal, or the days fewer than two.

    Source: Diebold & Mariano 1995, with the small-sample correction of Harvey, Leybourne & Newbold 1997 for horizon 1.
    """
    from scipy.stats import t

    difference = losses - other
    count = len(difference)
    if count < 2 or not np.ptp(difference) > 0:
        return None
    statistic = difference.mean() / math.sqrt(difference.var() / count)
    corrected = statistic * math.sqrt((count - 1) / count)
    return float(2 * t.sf(abs(corrected), df=count - 1))
