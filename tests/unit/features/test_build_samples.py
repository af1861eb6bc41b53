"""From typed tables to samples."""

import numpy as np
import pyarrow as pa
import pytest

from unroll.domains.digits.samples import make_samples as digit_samples
from unroll.domains.prices.samples import make_samples as price_samples
from unroll.errors import DataError, SplitError


def test_digits_keep_the_order_of_the_file(tiny):
    table = tiny.digits(60, 20)
    samples = digit_samples(table, tiny.section("digits"), "digits")
    assert samples.tensors["inputs"].shape == (80, 28, 28)
    assert samples.tensors["inputs"].dtype == np.uint8
    assert samples.tensors["targets"].dtype == np.int64
    assert samples.tensors["targets"].tolist() == table["label"].to_pylist()
    assert samples.tensors["inputs"][7].reshape(-1).tolist() == table["pixels"][7].as_py()
    (fold,) = samples.folds
    assert fold.train.tolist() == list(range(40))
    assert fold.valid.tolist() == list(range(40, 60))
    assert fold.test.tolist() == list(range(60, 80))


def test_digits_in_several_chunks(tiny):
    whole = tiny.digits(60, 20)
    parts = pa.concat_tables([whole.slice(0, 13), whole.slice(13, 30), whole.slice(43)])
    one, other = (digit_samples(table, tiny.section("digits"), "digits") for table in (whole, parts))
    np.testing.assert_array_equal(one.tensors["inputs"], other.tensors["inputs"])


@pytest.mark.parametrize("valid_rows", [60, 61, 5000])
def test_more_validation_than_training_rows(tiny, valid_rows):
    with pytest.raises(SplitError, match=rf"tasks.digit-rows.valid_rows is {valid_rows}.* 60 rows"):
        digit_samples(tiny.digits(60, 20), tiny.section("digits", valid_rows=valid_rows), "digit-rows")


def test_digits_without_a_test_split(tiny):
    with pytest.raises(SplitError, match="the test split"):
        digit_samples(tiny.digits(60, 0), tiny.section("digits"), "digits")


def test_columns_stand_in_the_order_of_the_parameters(tiny):
    table = tiny.prices()
    samples = price_samples(table, tiny.section("log_return", columns=["volume", "close", "open"]), "t")
    rows = samples.tensors["inputs"][0]
    for position, column in enumerate(["volume", "close", "open"]):
        np.testing.assert_allclose(rows[:, position], table[column].to_numpy()[:8].astype(np.float32))


@pytest.mark.parametrize("target", ["close", "high", "low"])
def test_persistence_repeats_the_targets_last_value(tiny, target):
    table = tiny.prices()
    samples = price_samples(table, tiny.section("price", columns=[target], target=target), "t")
    values = table[target].to_numpy().astype(np.float32)
    np.testing.assert_array_equal(samples.tensors["last"], values[7:-1])
    np.testing.assert_array_equal(samples.tensors["targets"], values[8:])


def test_persistence_of_an_open_is_yesterdays_close(tiny):
    table = tiny.prices()
    samples = price_samples(table, tiny.section("price", columns=["open"], target="open"), "t")
    np.testing.assert_array_equal(samples.tensors["last"], table["close"].to_numpy().astype(np.float32)[7:-1])
    np.testing.assert_array_equal(samples.tensors["targets"], table["open"].to_numpy().astype(np.float32)[8:])


def test_quantile_targets_are_log_returns(tiny):
    table = tiny.prices()
    samples = tiny.samples("return_quantiles")
    close = table["close"].to_numpy().astype(np.float32).astype(np.float64)
    length = 10 + 5 + 1
    assert samples.tensors["inputs"].shape[1:] == (length, 1)
    expected = np.log(close[length:] / close[length - 1 : -1])
    np.testing.assert_allclose(samples.tensors["targets"], expected, atol=1e-7)
    assert samples.tensors["targets"].dtype == np.float32


@pytest.mark.parametrize("column", ["adj_close", "volume"])
def test_a_column_with_nulls_is_named_with_their_number(tiny, column):
    table = tiny.prices()
    if column == "volume":
        values = table["volume"].to_pylist()
        values[5] = values[9] = None
        table = table.set_column(table.column_names.index("volume"), "volume", pa.array(values, pa.int64()))
    expected = f"tasks.t needs the column {column}, which is empty in {2 if column == 'volume' else 780} of 780 rows"
    with pytest.raises(DataError, match=expected):
        price_samples(table, tiny.section("log_return", columns=["close", column]), "t")


def test_a_column_with_nulls_that_nobody_reads_is_fine(tiny):
    assert price_samples(tiny.prices(), tiny.section("price"), "t").tensors["inputs"].shape[2] == 1


def test_tickers_are_cut_one_by_one(tiny):
    table = tiny.prices(tickers=("ONE", "TWO"))
    samples = price_samples(table, tiny.section("price"), "t")
    alone = price_samples(tiny.prices(), tiny.section("price"), "t")
    count = len(alone.tensors["targets"])
    np.testing.assert_array_equal(samples.tensors["inputs"][:count], alone.tensors["inputs"])
    assert samples.tensors["series"].tolist() == [0] * count + [1] * count
    assert len(samples.folds[0].test) == 2 * len(alone.folds[0].test)
