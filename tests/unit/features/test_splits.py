"""Splits of time series: no forecast day is in two of them."""

from datetime import date

import numpy as np
import pytest
from conftest import SPLITS

from unroll.config.splits import Period
from unroll.domains.prices.samples import make_samples
from unroll.errors import SplitError
from unroll.features.splits import day_number, split_by_time, within


def forecast_days(samples, index):
    """Every day that some samples forecast."""
    first, last = samples.tensors["first_target_day"][index], samples.tensors["day"][index]
    known = np.unique(np.concatenate([samples.tensors["day"], samples.tensors["first_target_day"]]))
    return {day for a, b in zip(first, last, strict=True) for day in known[(known >= a) & (known <= b)]}


@pytest.mark.parametrize(
    ("kind", "splits"),
    [
        ("price", "last_share"),
        ("price_steps", "last_share"),
        ("price_steps", "walk_forward"),
        ("return_quantiles", "dates"),
    ],
)
def test_no_forecast_day_is_in_two_splits(tiny, kind, splits):
    samples = tiny.samples(kind, splits=SPLITS[splits])
    for fold in samples.folds:
        train, valid, test = (forecast_days(samples, index) for index in (fold.train, fold.valid, fold.test))
        assert max(train) < min(valid) <= max(valid) < min(test)


def tensors(days, steps=1):
    days = np.asarray(days, np.int32)
    return {"day": days, "first_target_day": days - (steps - 1), "first_input_day": days - 3}


JANUARY = [day_number(date(2020, 1, day)) for day in range(1, 29)]


def test_periods_include_both_their_ends():
    assert day_number(date(1970, 1, 2)) == 1
    day = date(2020, 1, 2)
    for first, last, expected in (
        (None, None, [True, True, True]),
        (day, None, [False, True, True]),
        (None, day, [True, True, False]),
        (day, day, [False, True, False]),
    ):
        assert within(np.array(JANUARY[:3]), Period(first=first, last=last)).tolist() == expected


def test_dates_by_hand(tiny):
    splits = tiny.splits(
        "dates",
        train={"first": "2020-01-05", "last": "2020-01-20"},
        valid_share=0.25,
        test={"late": {"first": "2020-01-25", "last": "2020-01-26"}, "all": {"first": "2020-01-24"}},
    )
    (fold,) = split_by_time(tensors(JANUARY), splits)
    # 16 training days from the 5th to the 20th, the last quarter for validation; a window begins 3 days before its
    # forecast day, so the first one in the period forecasts the 8th.
    assert (fold.train.tolist(), fold.valid.tolist()) == (list(range(7, 16)), list(range(16, 20)))
    assert fold.test.tolist() == list(range(23, 28))


def test_windows_across_a_border_are_left_out(tiny):
    splits = tiny.splits("dates", train={"last": "2020-01-20"}, valid_share=0.0, test={"x": {"first": "2020-01-21"}})
    (fold,) = split_by_time(tensors(JANUARY, steps=3), splits)
    assert fold.train.tolist() == list(range(20))
    assert not len(fold.valid)
    # The windows that end on the 21st and the 22nd forecast training days as well.
    assert fold.test.tolist() == list(range(22, 28))


@pytest.mark.parametrize(("test_share", "valid_share", "counts"), [(0.25, 0, (75, 0, 25)), (0.5, 0.3, (35, 15, 50))])
def test_last_share_counts_days_of_all_tickers(tiny, test_share, valid_share, counts):
    splits = tiny.splits("last_share", test_share=test_share, valid_share=valid_share)
    (fold,) = split_by_time(tensors(np.arange(1000, 1100)), splits)
    assert (len(fold.train), len(fold.valid), len(fold.test)) == counts
    assert np.concatenate([fold.train, fold.valid, fold.test]).tolist() == list(range(100))
    days = np.concatenate([np.arange(100), np.arange(80, 100)])
    (fold,) = split_by_time(tensors(days), tiny.splits("last_share", test_share=0.1, valid_share=0.0))
    assert sorted(days[fold.test]) == sorted([*range(90, 100)] * 2)


def test_walk_forward_has_a_fold_a_year_trained_on_all_before_it(tiny):
    samples = tiny.samples("return_quantiles")
    day = samples.tensors["day"]
    assert [fold.name for fold in samples.folds] == ["2011", "2012"]
    for fold in samples.folds:
        first = day_number(date(int(fold.name), 1, 1))
        assert first <= day[fold.test].min() <= day[fold.test].max() < first + 366
        known = day[np.concatenate([fold.train, fold.valid])]
        assert known.max() < first
        assert len(known) == (day < first).sum()


@pytest.mark.parametrize(
    ("splits", "where"),
    [
        # A test day that is trained on
        ({"test": {"x": {"first": "2011-03-31"}}}, "'x'"),
        ({"test": {"fine": {"first": "2011-04-01"}, "x": {"last": "2011-06-01"}}}, "'x'"),
        # An empty split
        ({"train": {"first": "2011-03-20", "last": "2011-03-31"}}, "my-task: the train split"),
        ({"test": {"later": {"first": "2030-01-01"}}}, "my-task: the test split"),
        # A test period without rows has no metrics
        ({"test": {"april": {"first": "2011-04-01"}, "far": {"first": "2031-04-01"}}}, "my-task: .*'far'"),
    ],
)
def test_dates_that_leave_a_split_empty_or_leak(tiny, splits, where):
    section = tiny.section("price", splits={**SPLITS["dates"], **splits})
    with pytest.raises(SplitError, match=where):
        make_samples(tiny.prices(), section, "my-task")
