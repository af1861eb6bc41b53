"""Splits of time series by time."""

from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll.config.splits import DateSplits, LastShareSplits, Period, TimeSplits
from unroll.errors import SplitError
from unroll.features.samples import Fold, Tensors

EPOCH = date(1970, 1, 1)
Days = NDArray[np.int32]


def day_number(day: date) -> int:
    """Return the number of days since 1970-01-01."""
    return (day - EPOCH).days


def within(days: NDArray[Any], period: Period) -> NDArray[np.bool_]:
    """Return a mask of the days in a period, both ends included."""
    inside = np.ones(days.shape, bool)
    if period.first:
        inside &= days >= day_number(period.first)
    if period.last:
        inside &= days <= day_number(period.last)
    return inside


def split_by_time(tensors: Tensors, splits: TimeSplits) -> tuple[Fold, ...]:
    """Split windows by the days that they forecast.

    A window is in a split only if all its forecast days are, so that no forecast day is in two splits; windows across a
    border are left out. Input days may be in an earlier split: they are known by then.

    Args:
        tensors: `day`, `first_target_day` and `first_input_day`, int32 [sample].
        splits: Dates, a last share, or one fold for each year.

    Raises:
        SplitError: A test period begins before training ends.
    """
    days = np.unique(tensors["day"])
    if isinstance(splits, DateSplits):
        _check_order(splits)
        test = np.zeros(len(tensors["day"]), bool)
        for period in splits.test.values():
            test |= within(tensors["first_target_day"], period) & within(tensors["day"], period)
        return (_fold("all", tensors, days, splits.train, test, splits.valid_share),)
    if isinstance(splits, LastShareSplits):
        kept = round(len(days) * (1 - splits.test_share))
        first_test = days[kept] if kept < len(days) else days[-1] + 1
        train = Period(last=_date(first_test - 1))
        return (_fold("all", tensors, days, train, tensors["first_target_day"] >= first_test, splits.valid_share),)
    folds = []
    for year in range(splits.first_year, splits.last_year + 1):
        past = Period(last=date(year - 1, 12, 31))
        this_year = Period(first=date(year, 1, 1), last=date(year, 12, 31))
        test = within(tensors["first_target_day"], this_year) & within(tensors["day"], this_year)
        folds.append(_fold(str(year), tensors, days, past, test, splits.valid_share))
    return tuple(folds)


def _fold(
    name: str,
    tensors: Tensors,
    days: NDArray[Any],
    train: Period,
    test: NDArray[np.bool_],
    valid_share: float,
) -> Fold:
    first_input, first_target, last_target = (tensors[key] for key in ("first_input_day", "first_target_day", "day"))
    known = days[within(days, train)]
    kept = round(len(known) * (1 - valid_share))
    # If nothing is left to train on, the cut is before all days; `check_splits` reports it.
    cut = known[kept - 1] if kept else days[0] - 1
    in_train = within(first_input, Period(first=train.first)) & (last_target <= cut)
    in_valid = (first_target > cut) & within(last_target, train)
    # The end of the training period may be open, or after the end of the data.
    in_train &= within(last_target, train)
    return Fold(name, *(np.flatnonzero(mask).astype(np.int64) for mask in (in_train, in_valid, test)))


def check_periods(tensors: Tensors, splits: TimeSplits, task: str) -> None:
    """Check that each named test period has rows.

    Raises:
        SplitError: A period has none.
    """
    for name, inside in named_periods(splits, tensors).items():
        if not inside.any():
            first, last = _date(tensors["day"].min()), _date(tensors["day"].max())
            raise SplitError(
                f"tasks.{task}: the test period {name!r} has no rows; forecast days are from {first} to {last}: change "
                f"tasks.{task}.splits or use data that covers the period"
            )


def named_periods(splits: TimeSplits, rows: Tensors) -> dict[str, NDArray[np.bool_]]:
    """Return a mask of the rows in each named test period, by name."""
    if not isinstance(splits, DateSplits):
        return {}
    return {name: within(rows["day"], period) for name, period in splits.test.items()}


def _check_order(splits: DateSplits) -> None:
    for name, period in splits.test.items():
        if splits.train.last is None or period.first is None or period.first <= splits.train.last:
            raise SplitError(
                f"test period {name!r} starts on {period.first}, but training ends on {splits.train.last}: "
                "test days would be trained on; start each test period after train.last"
            )


def _date(day: int) -> date:
    return date.fromordinal(EPOCH.toordinal() + int(day))
