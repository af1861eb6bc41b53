"""Distances between two distributions, from counts of the same parts."""

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
PARTS = 10
"""Number of parts with equal training shares that PSI sums over, if the values differ enough."""
_HALF = 0.5
"""Added to each count, so that a part that is empty on one side has a logarithm. Source: Jeffreys' prior."""


def psi(training: Counts, now: Counts) -> float:
    """Return the population stability index of two counts of the same parts; 0 if the shares are equal.

    Parts that are empty on both sides are left out; half a row is added to all others on both sides.

    Example:
        [50, 50] and [20, 80]: shares 50.5/101, 50.5/101 and 20.5/101, 80.5/101 →
        (0.203 − 0.5) · ln(0.203 / 0.5) + (0.797 − 0.5) · ln(0.797 / 0.5) = 0.406.

    Source: Siddiqi 2006, Credit Risk Scorecards.
    """
    there = (training > 0) | (now > 0)
    before, after = training[there] + _HALF, now[there] + _HALF
    before, after = before / before.sum(), after / after.sum()
    return float(((after - before) * np.log(after / before)).sum())


def ks(training: Counts, now: Counts) -> float:
    """Return the Kolmogorov–Smirnov statistic of two counts of the same ascending cells: 0 (equal) to 1 (disjoint).

    Both distribution functions are known exactly at the edges of the grid; between them the gap may be larger by at
    most a cell's share.
    """
    return float(np.abs(np.cumsum(training) / training.sum() - np.cumsum(now) / now.sum()).max())


def parts_of(training: Counts) -> NDArray[np.int64]:
    """Return the part of ten, 0 to 9, that each cell of a grid belongs to, by the training share below its middle.

    Where values repeat, a part may have more than a tenth, and others nothing. Cells beyond the training range belong
    to the outer parts.

    Example:
        Counts 0, 50, 50, 0 → 0, 2, 7, 9.
    """
    shares = training / training.sum()
    middles = np.cumsum(shares) - shares / 2
    # The last digits of sums of shares are noise.
    places: NDArray[np.int64] = np.minimum((middles * PARTS + 1e-9).astype(np.int64), PARTS - 1)
    return places
