"""What has to hold for days of prices: rules that the expectations of a dataset and scoring share."""

import math
from collections.abc import Mapping
from datetime import date

import numpy as np
from numpy.typing import NDArray

from unroll.domains.prices.config import PriceReading

Numbers = NDArray[np.float64]

PAIRS = (("low", "open"), ("low", "close"), ("open", "high"), ("close", "high"))
"""Columns of which the first is at most the second."""
_ULPS = 64
"""Steps of float64 by which a price may miss its day's range: adjusted prices are products of rounded factors."""


def range_limits(low: Numbers, high: Numbers) -> tuple[Numbers, Numbers]:
    """Return the limits of open and close, a rounding error below `low` and above `high`."""
    with np.errstate(invalid="ignore"):
        return low - _ULPS * np.spacing(np.abs(low)), high + _ULPS * np.spacing(np.abs(high))


def fault_of(days: NDArray[np.datetime64], values: Mapping[str, Numbers], reading: PriceReading) -> str | None:
    """Return why days of a ticker are not what its model's dataset had to be, or None.

    Args:
        days: In order, none twice.
        values: Columns, positive and finite; rules about others are not checked.
        reading: Bounds of the dataset.
    """
    bounds = reading.expectations
    if "low" in values and "high" in values:
        limits = dict(zip(("low", "high"), range_limits(values["low"], values["high"]), strict=True))
        for lower, upper in PAIRS:
            if lower in values and upper in values:
                wrong = limits.get(lower, values[lower]) > limits.get(upper, values[upper])
                if wrong.any():
                    row = int(wrong.argmax())
                    found = f"{lower} {values[lower][row]:g} above {upper} {values[upper][row]:g}"
                    return f"has {found} on {days[row]}; the model's data has {lower} ≤ {upper}"
    weekmask = reading.weekmask
    off = ~np.is_busday(days, weekmask=weekmask)
    if off.sum() > math.ceil(bounds.max_off_calendar * len(days)):
        day: date = days[int(off.argmax())].item()
        return f"has a row on {day:%A}, {day}, on which the model's exchange does not trade (`calendar`)"
    gaps = np.diff(days).astype(int)
    if len(gaps) and gaps.max() > bounds.max_gap_days:
        row = int(gaps.argmax())
        return f"has no rows from {days[row]} to {days[row + 1]}, more than {bounds.max_gap_days} days (`max_gap_days`)"
    if "close" in values and len(days) > 1:
        moves = np.abs(values["close"][1:] / values["close"][:-1] - 1)
        if moves.max() > bounds.max_daily_move:
            row = int(moves.argmax())
            return (
                f"has a close of {values['close'][row + 1]:g} on {days[row + 1]} after {values['close'][row]:g}, "
                f"a move beyond {100 * bounds.max_daily_move:.4g} % (`max_daily_move`)"
            )
    return None
