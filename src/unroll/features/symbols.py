"""Symbols that a network writes step by step, without saying where each begins (CTC)."""

import numpy as np
from numpy.typing import NDArray

BLANK = 0
"""Number of the symbol that stands for none, and separates equal ones."""


def collapse(path: NDArray[np.int64]) -> list[list[int]]:
    """Return the symbols of each row of int64 [row, step]: equal neighbors once, without blanks.

    Example:
        0 3 3 0 3 7 7 0 → 3, 3, 7.
    """
    return [row[(np.diff(row, prepend=-1) != 0) & (row != BLANK)].tolist() for row in path]


def steps_needed(longest: int) -> int:
    """Return how many steps are enough for any so many symbols: equal ones need a blank between them."""
    return max(2 * longest - 1, 1)
