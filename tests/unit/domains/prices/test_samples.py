"""Samples of daily prices: which columns and days, and what is known when a day is forecast."""

import numpy as np
import pyarrow as pa
import pytest

from unroll.domains.prices.samples import make_samples
from unroll.errors import DataError


def test_columns_have_the_order_of_the_parameters(tiny):
    table, columns = tiny.prices(), ["volume", "close", "open"]
    rows = make_samples(table, tiny.section("log_return", columns=columns), "t").tensors["inputs"][0]
    for position, column in enumerate(columns):
        np.testing.assert_allclose(rows[:, position], table[column].to_numpy()[:8].astype(np.float32))


@pytest.mark.parametrize(("target", "known"), [("close", "close"), ("high", "high"), ("open", "close")])
def test_the_last_known_price_of_an_opening_is_the_close_before_it(tiny, target, known):
    table = tiny.prices()
    tensors = make_samples(table, tiny.section("price", columns=[target], target=target), "t").tensors
    np.testing.assert_array_equal(tensors["last"], table[known].to_numpy().astype(np.float32)[7:-1])
    np.testing.assert_array_equal(tensors["targets"], table[target].to_numpy().astype(np.float32)[8:])


def test_quantile_targets_are_log_returns(tiny):
    close = tiny.prices()["close"].to_numpy().astype(np.float32).astype(np.float64)
    tensors, length = tiny.samples("return_quantiles").tensors, 10 + 5 + 1
    assert tensors["inputs"].shape[1:] == (length, 1)
    np.testing.assert_allclose(tensors["targets"], np.log(close[length:] / close[length - 1 : -1]), atol=1e-7)


def test_a_column_with_nulls_is_an_error_where_it_is_read(tiny):
    table = tiny.prices()
    values = table["volume"].to_pylist()
    values[5] = values[9] = None
    table = table.set_column(table.column_names.index("volume"), "volume", pa.array(values, pa.int64()))
    with pytest.raises(DataError, match=r"tasks\.t.*volume.* 2 of 780 rows"):
        make_samples(table, tiny.section("log_return", columns=["close", "volume"]), "t")
    assert make_samples(table, tiny.section("price"), "t").tensors["inputs"].shape[2] == 1
