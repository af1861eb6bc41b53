"""Windows and splits of series, and random splits that keep nearly equal rows together."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from conftest import SPLITS

from unroll.config.splits import Period, ShareSplits
from unroll.domains.prices.samples import make_samples
from unroll.errors import SplitError
from unroll.features.groups import connected, given_splits, linked, normalized, required_splits, share_fold
from unroll.features.splits import day_number, split_by_time, within
from unroll.features.windows import Series, windows


def series(values, ticker="ONE", known=None):
    values = np.asarray(values, float)
    days = np.arange(len(values), dtype=np.int32)
    return Series(ticker, days, values[:, None], values, values if known is None else np.asarray(known, float))


def test_the_example_of_the_docstring():
    found = windows((series([10, 11, 12, 13]),), 2, every_step=False, task="t")
    assert found["inputs"][:, :, 0].tolist() == [[10, 11], [11, 12]]
    assert found["targets"].tolist() == [12, 13]
    assert found["last"].tolist() == [11, 12]
    assert found["day"].tolist() == found["first_target_day"].tolist() == [2, 3]
    assert found["first_input_day"].tolist() == [0, 1]
    assert {name: str(one.dtype) for name, one in found.items()} == {
        **dict.fromkeys(("inputs", "targets", "last"), "float32"),
        **dict.fromkeys(("day", "first_target_day", "first_input_day", "series"), "int32"),
    }
    steps = windows((series([10, 11, 12, 13], known=[1, 2, 3, 4]),), 2, every_step=True, task="t")
    assert steps["targets"].tolist() == [[11, 12], [12, 13]]
    assert steps["last"].tolist() == [[1, 2], [2, 3]]
    assert (steps["day"].tolist(), steps["first_target_day"].tolist()) == ([2, 3], [1, 2])


def test_no_window_spans_two_tickers():
    found = windows((series([1, 2, 3, 4]), series([100, 200, 300], "TWO")), 2, every_step=False, task="t")
    assert found["series"].tolist() == [0, 0, 1]
    assert found["inputs"][:, :, 0].tolist() == [[1, 2], [2, 3], [100, 200]]
    assert found["targets"].tolist() == [3, 4, 300]


def test_a_ticker_with_fewer_days_than_a_window_and_the_next_day():
    assert len(windows((series([1, 2, 3, 4]),), 3, every_step=False, task="t")["targets"]) == 1
    with pytest.raises(SplitError, match=r"tasks\.t: TWO has 3 rows"):
        windows((series(range(1, 9)), series(range(3), "TWO")), 3, every_step=False, task="t")


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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Go away!", "go away"),
        ("Va-t'en !", "VA T’EN"),
        ("C'est l’été…", "c est l e\u0301te\u0301"),
        ("Straße 3", "STRASSE, 3"),
        ("a\u00a0b\tﬁne", "ABFINE"),
        ("नमस्ते!", "नमस्ते ।"),
    ],
)
def test_nearly_equal_texts(one, other):
    assert normalized(one) == normalized(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("ete", "été"), ("किताब", "कतब"), ("1", "2"), ("?!", "!"), ("no", "non"), ("日本", "本日")],
)
def test_different_texts(one, other):
    assert normalized(one) != normalized(other)


def test_components_by_hand():
    assert connected([("a", "x"), ("b", "x"), ("b", "y"), ("c", "z")]).tolist() == [0, 0, 0, 1]
    assert connected([("a",), ("b",), ("c",), ("a",), ("c",)]).tolist() == [0, 1, 2, 0, 2]
    # Two groups that a later row joins.
    assert connected([("a", "b"), ("c", "d"), ("e", "f"), ("b", "c")]).tolist() == [0, 0, 1, 0]
    assert connected([]).tolist() == []
    assert linked(5, [(3, 1), (4, 3), (0, 0)]).tolist() == [0, 1, 2, 1, 1]


def test_a_long_chain_is_one_group():
    rows = [(f"s{row}", f"s{row + 1}") for row in range(5000)]
    assert connected(rows).max() == 0
    assert connected(rows[::-1]).max() == 0


SHARED = "in another split too"


def fold_of(groups, given=None, **shares):
    given = None if given is None else np.array(given, object)
    fold, left_out = share_fold(np.asarray(groups), given, ShareSplits(**shares))
    return fold.train.tolist(), fold.valid.tolist(), fold.test.tolist(), left_out


def test_each_group_is_in_one_split_and_the_seed_decides():
    groups = np.random.default_rng(0).integers(0, 200, 1000)
    train, valid, test, left_out = fold_of(groups, valid_share=0.1, test_share=0.15, seed=1)
    assert sorted(train + valid + test) == list(range(1000))
    assert not left_out
    assert abs(len(test) - 150) <= 10
    assert abs(len(valid) - 100) <= 10
    for one, other in ((train, valid), (train, test), (valid, test)):
        assert not set(groups[one]) & set(groups[other])
    assert fold_of(groups, valid_share=0.1, test_share=0.15, seed=1) == (train, valid, test, {})
    assert fold_of(groups, valid_share=0.1, test_share=0.15, seed=2)[2] != test


def test_single_rows_give_exact_shares_and_a_large_group_is_trained_on():
    train, valid, test, _ = fold_of(range(200), valid_share=0.1, test_share=0.25)
    assert (len(train), len(valid), len(test)) == (130, 20, 50)
    for seed in range(5):
        train, valid, test, _ = fold_of([0] * 50 + list(range(1, 51)), valid_share=0.2, test_share=0.2, seed=seed)
        assert set(range(50)) <= set(train)
        assert (len(valid), len(test)) == (20, 20)


def test_given_splits_are_kept_without_rows_that_would_leak():
    assert fold_of(range(5), ["train", "train", "valid", "test", "train"]) == ([0, 1, 4], [2], [3], {})
    # Row 1 repeats test row 4, row 2 repeats valid row 3, valid row 5 repeats test row 4.
    groups = [0, 1, 2, 2, 1, 1, 3]
    given = ["train", "train", "train", "valid", "test", "valid", "train"]
    assert fold_of(groups, given) == ([0, 6], [3], [4], {"train": {SHARED: 2}, "valid": {SHARED: 1}})


def test_without_given_validation_rows_some_of_training_are_held_out():
    groups = np.repeat(np.arange(50), 2)
    train, valid, test, left_out = fold_of(groups, ["train"] * 80 + ["test"] * 20, valid_share=0.25)
    assert (test, len(valid), left_out) == (list(range(80, 100)), 20, {})
    assert not set(groups[train]) & set(groups[valid])
    assert sorted(train + valid) == list(range(80))


def test_all_rows_have_a_split_or_none_has():
    def table(*splits):
        return pa.table({"split": pa.array(splits, pa.string())})

    assert given_splits(table(None, None), "t") is None
    assert given_splits(table("train", "test"), "t").tolist() == ["train", "test"]
    with pytest.raises(SplitError, match=r"tasks\.t: 2 of 3 rows"):
        given_splits(table("train", None, None), "t")
    with pytest.raises(SplitError, match=r"tasks\.t"):
        required_splits(table(None), "t")
