from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from unroll.domains.prices import scale as price_scale


def _table(ratios: list[float], ticker: str = "X") -> pa.Table:
    """Days from 2014-01-01 on, in ranges of ±1 % around a wandering price; each close is `ratio` times its own."""
    random = np.random.default_rng(0)
    middle = 500 * np.exp(np.cumsum(random.normal(0, 0.01, len(ratios))))
    low, high = np.round(middle * 0.99, 2), np.round(middle * 1.01, 2)
    close = np.round(random.uniform(low, high) * ratios, 2)
    dates = [date(2014, 1, 1) + timedelta(days) for days in range(len(ratios))]
    return pa.table({"ticker": [ticker] * len(ratios), "date": dates, "low": low, "high": high, "close": close})


def test_two_splits_make_two_stretches_of_their_own_ratios() -> None:
    table = _table([28.0] * 30 + [4.0] * 40 + [1.0] * 50)
    assert [(one.rows, round(one.ratio)) for one in price_scale.find(table)] == [(30, 28), (40, 4)]


def test_tickers_are_looked_at_one_by_one() -> None:
    table = pa.concat_tables([_table([1.0] * 20 + [0.5] * 20, "A"), _table([0.5] * 20 + [1.0] * 20, "B")])
    assert [(one.ticker, one.rows, one.start) for one in price_scale.find(table)] == [("A", 20, 20), ("B", 20, 40)]


def test_single_wrong_closes_are_no_other_scale() -> None:
    assert price_scale.find(_table([1.0] * 50 + [2.0] * 4 + [1.0] * 50 + [0.5] + [1.0] * 9)) == []


def test_unsteady_closes_are_no_other_scale() -> None:
    assert price_scale.find(_table([2.0, 3.0, 5.0, 2.0, 4.0] * 20)) == []


def test_rescaling_puts_every_close_into_its_days_range_and_nothing_else_moves() -> None:
    table = _table([1.998] * 85 + [1.0] * 100)
    rescaled, (record,) = price_scale.rescale(table)
    close, low, high = (rescaled.column(name).to_numpy() for name in ("close", "low", "high"))
    assert ((low <= close) & (close <= high)).all()
    assert price_scale.find(rescaled) == []
    before = table.column("close").to_numpy()
    np.testing.assert_array_equal(close[85:], before[85:])
    np.testing.assert_allclose(close[:85], before[:85] / record["ratio"], rtol=1e-3)
    assert record["ratio"] == pytest.approx(1.998, abs=2e-3)
    assert (record["first"], record["last"], record["rows"]) == ("2014-01-01", "2014-03-26", 85)
    assert rescaled.drop_columns("close").equals(table.drop_columns("close"))


def _same_range(closes: list[float]) -> pa.Table:
    """Days of low 10.8 and high 11.2."""
    dates = [date(2014, 1, 1) + timedelta(days) for days in range(len(closes))]
    rows = {"low": [10.8] * len(closes), "high": [11.2] * len(closes), "close": closes}
    return pa.table({"ticker": ["X"] * len(closes), "date": dates, **rows})


def test_ratio_is_moved_to_where_all_closes_fit() -> None:
    _, (record,) = price_scale.rescale(_same_range([22.0] * 20 + [22.5]))
    assert record["ratio"] == pytest.approx(22.5 / 11.2)


def test_rounded_prices_are_set_to_the_edge() -> None:
    rescaled, (record,) = price_scale.rescale(_same_range([22.0] * 20 + [22.41, 21.59]))
    assert record["ratio"] == pytest.approx((22.41 / 11.2 + 21.59 / 10.8) / 2)
    assert record["rounded_rows"] == 2
    assert rescaled.column("close").to_pylist()[-2:] == [11.2, 10.8]


def test_a_close_wrong_by_itself_neither_moves_the_ratio_nor_is_hidden() -> None:
    rescaled, (record,) = price_scale.rescale(_same_range([22.0] * 20 + [23.0, 21.59]))
    assert record["ratio"] == 2.0
    assert record["rounded_rows"] == 1
    assert rescaled.column("close").to_pylist()[-2:] == [11.5, 10.8]


def test_a_day_at_the_edge_of_a_wide_range_does_not_end_the_stretch() -> None:
    table = _same_range([22.0] * 10 + [24.9] + [22.0] * 10)
    assert [one.rows for one in price_scale.find(table)] == [21]


def test_senseless_rows_do_not_break_it() -> None:
    table = _table([1.0] * 10)
    table = table.set_column(2, "low", pa.array([0.0, -1.0, *table.column("low").to_pylist()[2:]]))
    assert price_scale.find(table) == []
