"""Splits of time series: no forecast day stands in two of them."""

from datetime import date

import numpy as np
import pytest

from unroll.config.splits import Period
from unroll.domains.prices.samples import make_samples as price_samples
from unroll.errors import SplitError
from unroll.features.samples import Fold, Samples, check_splits
from unroll.features.splits import day_number, split_by_time, within

KINDS = ["price", "price_steps", "log_return", "return_quantiles"]


def days_of(samples, index):
    """Every day that these samples forecast."""
    first, last = samples.tensors["first_target_day"][index], samples.tensors["day"][index]
    known = np.unique(np.concatenate([samples.tensors["day"], samples.tensors["first_target_day"]]))
    return {day for a, b in zip(first, last, strict=True) for day in known[(known >= a) & (known <= b)]}


@pytest.mark.parametrize("splits", ["dates", "last_share", "walk_forward"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_forecast_day_stands_in_two_splits(tiny, kind, splits):
    samples = tiny.samples(kind, splits=tiny.plain(kind)["splits"] if splits is None else SPLITS[splits])
    for fold in samples.folds:
        train, valid, test = (days_of(samples, index) for index in (fold.train, fold.valid, fold.test))
        assert train
        assert valid
        assert test
        assert max(train) < min(valid)
        assert max(valid) < min(test)


@pytest.fixture(scope="module", autouse=True)
def _splits(tiny):
    for kind in ("dates", "last_share", "walk_forward"):
        SPLITS[kind] = tiny.splits(kind).model_dump(mode="json")


SPLITS: dict = {}


def tensors(days, steps=1):
    days = np.asarray(days, np.int32)
    return {
        "day": days,
        "first_target_day": days - (steps - 1),
        "first_input_day": days - 3,
    }


def dates(*parts):
    return [day_number(date.fromisoformat(part)) for part in parts]


def test_day_numbers():
    assert day_number(date(1970, 1, 1)) == 0
    assert day_number(date(2017, 1, 3)) == int(np.datetime64("2017-01-03", "D").astype(int))


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (None, None, [True, True, True]),
        ("2020-01-02", None, [False, True, True]),
        (None, "2020-01-02", [True, True, False]),
        ("2020-01-02", "2020-01-02", [False, True, False]),
    ],
)
def test_periods_hold_both_their_ends(first, last, expected):
    days = np.array(dates("2020-01-01", "2020-01-02", "2020-01-03"))
    period = Period(first=first and date.fromisoformat(first), last=last and date.fromisoformat(last))
    assert within(days, period).tolist() == expected


def test_dates_by_hand(tiny):
    splits = tiny.splits(
        "dates",
        train={"first": "2020-01-05", "last": "2020-01-20"},
        valid_share=0.25,
        test={"late": {"first": "2020-01-25", "last": "2020-01-26"}, "all": {"first": "2020-01-24"}},
    )
    days = dates(*(f"2020-01-{day:02}" for day in range(1, 29)))
    (fold,) = split_by_time(tensors(days), splits)
    # 16 training days from the 5th to the 20th, a quarter of them to choose epochs; a training window begins 3 days
    # before its forecast day, so the first one of the period is the 8th's.
    assert [days[row] for row in fold.train] == days[7:16]
    assert [days[row] for row in fold.valid] == days[16:20]
    assert [days[row] for row in fold.test] == days[23:]


def test_windows_across_a_border_are_left_out(tiny):
    splits = tiny.splits("dates", train={"last": "2020-01-20"}, valid_share=0.0, test={"x": {"first": "2020-01-21"}})
    days = dates(*(f"2020-01-{day:02}" for day in range(10, 30)))
    (fold,) = split_by_time(tensors(days, steps=3), splits)
    assert [days[row] for row in fold.train] == days[:11]
    assert not len(fold.valid)
    # The windows that end on the 21st and 22nd forecast days of training, too.
    assert [days[row] for row in fold.test] == days[13:]


@pytest.mark.parametrize(("share", "count"), [(0.25, 25), (0.1, 10), (0.5, 50), (0.014, 1)])
def test_last_share_by_hand(tiny, share, count):
    days = np.arange(1000, 1100)
    (fold,) = split_by_time(tensors(days), tiny.splits("last_share", test_share=share, valid_share=0.0))
    assert fold.test.tolist() == list(range(100 - count, 100))
    assert fold.train.tolist() == list(range(100 - count))


def test_last_share_counts_days_and_not_rows_of_several_tickers(tiny):
    days = np.concatenate([np.arange(100), np.arange(80, 100)])
    (fold,) = split_by_time(tensors(days), tiny.splits("last_share", test_share=0.1, valid_share=0.0))
    assert sorted(set(days[fold.test])) == list(range(90, 100))
    assert len(fold.test) == 20


def test_a_share_too_small_for_a_day_is_a_clear_error(tiny):
    section = tiny.section("price", splits={"kind": "last_share", "test_share": 0.0001, "valid_share": 0.1})
    with pytest.raises(SplitError, match="test split"):
        price_samples(tiny.prices(100), section, "price")


def test_walk_forward_has_a_fold_a_year_trained_on_all_before_it(tiny):
    samples = tiny.samples("return_quantiles")
    assert [fold.name for fold in samples.folds] == ["2011", "2012"]
    for fold in samples.folds:
        year = int(fold.name)
        tested = samples.tensors["day"][fold.test]
        assert tested.min() >= day_number(date(year, 1, 1))
        assert tested.max() <= day_number(date(year, 12, 31))
        known = samples.tensors["day"][np.concatenate([fold.train, fold.valid])]
        assert known.max() < day_number(date(year, 1, 1))
        assert len(known) == (samples.tensors["day"] < day_number(date(year, 1, 1))).sum()
    assert set(samples.folds[0].test) <= set(np.concatenate([samples.folds[1].train, samples.folds[1].valid]))
    assert len(samples.test_rows()["day"]) == sum(len(fold.test) for fold in samples.folds)


@pytest.mark.parametrize(
    "test",
    [
        {"x": {"first": "2011-03-31"}},
        {"x": {"first": "2010-01-01", "last": "2010-02-01"}},
        {"fine": {"first": "2011-04-01"}, "x": {"last": "2011-06-01"}},
        {"fine": {"first": "2011-04-01"}, "x": {"first": "2011-03-01"}},
    ],
)
def test_a_test_period_that_reaches_into_training(tiny, test):
    section = tiny.section("price", splits={**SPLITS["dates"], "test": test})
    with pytest.raises(SplitError, match="'x'") as caught:
        price_samples(tiny.prices(), section, "price")
    assert "2011-03-31" in str(caught.value)


def test_training_without_an_end_would_hold_the_test_days(tiny):
    section = tiny.section("price", splits={**SPLITS["dates"], "train": {"first": "2010-01-01"}})
    with pytest.raises(SplitError, match="trained on"):
        price_samples(tiny.prices(), section, "price")


@pytest.mark.parametrize(
    ("splits", "empty"),
    [
        ({"train": {"last": "2009-01-01"}}, "train"),
        ({"train": {"first": "2011-03-31", "last": "2011-03-31"}}, "train"),
        ({"train": {"first": "2011-03-20"}}, "train"),
        ({"test": {"later": {"first": "2030-01-01"}}}, "test"),
        ({"valid_share": 0.0001}, "valid"),
    ],
)
def test_an_empty_split_is_named(tiny, splits, empty):
    changed = {**SPLITS["dates"], **splits}
    changed["train"] = {**SPLITS["dates"]["train"], **changed["train"]}
    with pytest.raises(SplitError) as caught:
        price_samples(tiny.prices(), tiny.section("price", splits=changed), "my-task")
    text = str(caught.value)
    assert f"the {empty} split" in text
    assert "tasks.my-task" in text


def test_an_empty_test_period_is_named(tiny):
    """Its figures would be the mean of nothing."""
    test = {"april": {"first": "2011-04-01", "last": "2011-04-30"}, "far": {"first": "2031-04-01"}}
    with pytest.raises(SplitError, match="far"):
        price_samples(tiny.prices(), tiny.section("price", splits={**SPLITS["dates"], "test": test}), "my-task")


def test_a_year_without_data_is_named(tiny):
    section = tiny.section("return_quantiles", splits={**SPLITS["walk_forward"], "last_year": 2019})
    with pytest.raises(SplitError, match="2014"):
        price_samples(tiny.prices(1040), section, "my-task")


@pytest.mark.parametrize("valid_share", [0.0, 0.05, 0.3, 0.6])
def test_validation_is_the_last_share_of_the_training_days(tiny, valid_share):
    days = np.arange(200)
    (fold,) = split_by_time(tensors(days), tiny.splits("last_share", test_share=0.5, valid_share=valid_share))
    assert len(fold.valid) == round(100 * valid_share)
    assert np.concatenate([fold.train, fold.valid]).tolist() == list(range(100))


def test_samples_in_two_splits_are_refused():
    one, two, three = (np.array([row], np.int64) for row in (0, 1, 1))
    with pytest.raises(SplitError, match="two of its splits"):
        check_splits((Fold("all", one, two, three),), "t")


def test_samples_are_what_was_saved(tiny, tmp_path):
    samples = tiny.samples("return_quantiles")
    samples.save(tmp_path / "features")
    found = Samples.load(tmp_path / "features")
    assert found.tensors.keys() == samples.tensors.keys()
    for name, tensor in samples.tensors.items():
        assert found.tensors[name].dtype == tensor.dtype
        np.testing.assert_array_equal(found.tensors[name], tensor)
    assert [fold.name for fold in found.folds] == [fold.name for fold in samples.folds]
    for one, other in zip(found.folds, samples.folds, strict=True):
        for part in ("train", "valid", "test"):
            np.testing.assert_array_equal(getattr(one, part), getattr(other, part))


def test_equal_samples_are_equal_bytes(tiny, tmp_path):
    for folder in ("one", "two"):
        tiny.samples("return_quantiles").save(tmp_path / folder)
    for name in ("samples.safetensors", "splits.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
