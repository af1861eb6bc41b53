"""Files of daily prices as a table, and a close on another scale."""

import gzip
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from price_files import DAYS, read, write

from unroll.config.sources import PathSource
from unroll.domains.prices import dataset as prices
from unroll.domains.prices import scale as price_scale
from unroll.domains.prices.config import PriceDataset
from unroll.errors import FormatError
from unroll.sources.fetch import Fetched

HEADER = "Date,Open,High,Low,Close,Adj Close,Volume"
SECTION = PriceDataset(domain="prices", ticker="X", sources=(PathSource(kind="path", path="unused"),))


def _rows(*dates):
    return HEADER + "\n" + "".join(f"{day},10,12,9,11,10.5,1000\n" for day in dates)


def test_plain_file(tmp_path):
    path = write(tmp_path, gzip.compress(_rows("2017-01-03", "2017-01-04").encode()))
    table, record = read(path, "GOOGL")
    assert table.schema == prices.SCHEMA
    values = {"open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "adj_close": 10.5, "volume": 1000}
    assert table.to_pylist()[0] == {"ticker": "GOOGL", "date": DAYS[0], **values}
    assert record == {
        "rows": 2,
        "set_aside": 0,
        "first_date": "2017-01-03",
        "last_date": "2017-01-04",
        "tickers": ["GOOGL"],
        "date_format": "%Y-%m-%d",
        "order": "oldest first",
        "adj_close": True,
        "empty_volumes": 0,
        "ignored_columns": [],
    }


def test_export_of_a_finance_site(tmp_path):
    text = (
        "\ufeffDate,Close/Last,Volume,Open,High,Low,Change %\r\n"
        '01/13/2017,"$1,830.94","1,097,970","$1,830.94","$1,841.95","$1,829.00",0.1\r\n'
        "01/04/2017,$807.77,1.52M,$809.89,$813.43,$804.11,0.1\r\n"
        "\r\n"
        "01/03/2017,$808.01,,$800.62,$811.44,$796.89,0.1\r\n"
    )
    table, record = read(write(tmp_path, text), "GOOGL")
    assert table.column("date").to_pylist() == DAYS
    assert table.column("close").to_pylist() == [808.01, 807.77, 1830.94]
    assert table.column("adj_close").to_pylist() == [None, None, None]
    assert table.column("volume").to_pylist() == [None, 1_520_000, 1_097_970]
    assert (record["order"], record["adj_close"], record["empty_volumes"]) == ("newest first", False, 1)
    assert record["ignored_columns"] == ["Change %"]


def test_ticker_column_and_order_of_rows_of_one_date(tmp_path):
    text = (
        "SYMBOL;date;OPEN;High;Low;close;volume\n"
        "B;2017-01-04;1;1;1;1;1\nA;2017-01-04;1;1;1;2;1\nA;2017-01-03;1;1;1;3;1\nA;2017-01-04;1;1;1;4;1\n"
    )
    table, record = read(write(tmp_path, text), "X")
    assert table.column("ticker").to_pylist() == ["A", "A", "A", "B"]
    assert table.column("close").to_pylist() == [3, 2, 4, 1]
    assert (record["tickers"], record["order"]) == (["A", "B"], "mixed")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("10,12,9,null,11,5", "column close: found 'null', expected a number"),
        ('"1,23",12,9,11,11,5', "'10.5' and '1,23' have different decimal separators; set `decimal`"),
        ("10,12,9,11,11,5x", "column volume: found '5x'"),
        ("1e999,12,9,11,11,5", "column open: found '1e999', expected a number"),
        ("10,12,9,11", "5 cells, expected 7"),
    ],
)
def test_bad_cells(tmp_path, cells, message):
    path = write(tmp_path, "\n" + _rows("2017-01-03") + f"\n2017-01-04,{cells}\n")
    with pytest.raises(FormatError, match=rf"prices\.csv.*{message}"):
        read(path, "X", max_bad_share=0.0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (HEADER, "has no rows"),
        (HEADER.encode("utf-16"), "has no rows"),
        (HEADER + "\r2017-01-04,1,010,12,9,11,11,5", "line 2: 8 cells, expected 7"),
        ("Date,Open,Close,Volume\n2017-01-03,1,1,1\n", r"missing column high, low; .*: Date, Open, Close, Volume"),
        (
            b"Date,Open,High,Low,Last,Price\n1,1,1,1,1,1\n",
            "'Last' and 'Price' may all be .* close; set `columns: {close",
        ),
        (b"Date,Open,High,Low,Close,close\n1,1,1,1,1,1\n", "'Close' and 'close' may all be the column close"),
        (b"PAR1 is what Parquet starts with", "cannot be read"),
    ],
)
def test_other_files(tmp_path, content, message):
    with pytest.raises(FormatError, match=message):
        read(write(tmp_path, content), "X")


def test_table_survives_parquet(tmp_path):
    first, _ = read(write(tmp_path, _rows("2017-01-03", "2017-01-04").replace("Adj", "Other")), "GOOGL")
    pq.write_table(first, tmp_path / "prices.parquet")
    again, record = read(tmp_path / "prices.parquet", "X")
    assert again.equals(first)
    assert (record["date_format"], record["adj_close"]) == ("typed", False)


def test_sources_with_splits_and_folders(tmp_path):
    train = write(tmp_path, _rows("2017-01-03", "2017-01-04"), "train.csv")
    test = write(tmp_path, _rows("2017-01-13"), "test.csv")
    fetched = [Fetched(test, {"kind": "path"}, "test", False), Fetched(train, {"kind": "path"}, "train", False)]
    ingested = prices.read_dataset(fetched, SECTION)
    assert ingested.table.column("date").to_pylist() == DAYS
    assert ingested.table.column("split").to_pylist() == ["train", "train", "test"]
    assert [record["files"][0]["rows"] for record in ingested.sources] == [1, 2]
    folder = [Fetched(tmp_path, {}, None, False)]
    table = prices.read_dataset(folder, SECTION).table
    assert table.column("ticker").to_pylist() == ["X"] * 3
    assert table.column("split").null_count == 3
    table = prices.read_dataset(folder, SECTION.model_copy(update={"ticker": None})).table
    assert set(table.column("ticker").to_pylist()) == {"test", "train"}


def _table(ratios, ticker="X"):
    """Days from 2014-01-01 on, in ranges of ±1 % around a wandering price; each close is `ratio` times its own."""
    random = np.random.default_rng(0)
    middle = 500 * np.exp(np.cumsum(random.normal(0, 0.01, len(ratios))))
    low, high = np.round(middle * 0.99, 2), np.round(middle * 1.01, 2)
    close = np.round(random.uniform(low, high) * ratios, 2)
    dates = [date(2014, 1, 1) + timedelta(days) for days in range(len(ratios))]
    return pa.table({"ticker": [ticker] * len(ratios), "date": dates, "low": low, "high": high, "close": close})


def test_stretches_on_another_scale():
    two_splits = _table([28.0] * 30 + [4.0] * 40 + [1.0] * 50)
    assert [(one.rows, round(one.ratio)) for one in price_scale.find(two_splits)] == [(30, 28), (40, 4)]
    tickers = pa.concat_tables([_table([1.0] * 20 + [0.5] * 20, "A"), _table([0.5] * 20 + [1.0] * 20, "B")])
    assert [(one.ticker, one.rows, one.start) for one in price_scale.find(tickers)] == [("A", 20, 20), ("B", 20, 40)]
    # Single wrong closes are none, and a day at the edge of a wide range does not end one.
    assert price_scale.find(_table([1.0] * 50 + [2.0] * 4 + [1.0] * 50 + [0.5] + [1.0] * 9)) == []
    assert [one.rows for one in price_scale.find(_same_range([22.0] * 10 + [24.9] + [22.0] * 10))] == [21]


def test_rescaling_puts_every_close_into_its_days_range_and_nothing_else_moves():
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


def _same_range(closes):
    """Days of low 10.8 and high 11.2."""
    dates = [date(2014, 1, 1) + timedelta(days) for days in range(len(closes))]
    rows = {"low": [10.8] * len(closes), "high": [11.2] * len(closes), "close": closes}
    return pa.table({"ticker": ["X"] * len(closes), "date": dates, **rows})


def test_ratio_is_moved_to_where_all_closes_fit():
    _, (record,) = price_scale.rescale(_same_range([22.0] * 20 + [22.5]))
    assert record["ratio"] == pytest.approx(22.5 / 11.2)


def test_rounded_prices_are_set_to_the_edge():
    rescaled, (record,) = price_scale.rescale(_same_range([22.0] * 20 + [22.41, 21.59]))
    assert record["ratio"] == pytest.approx((22.41 / 11.2 + 21.59 / 10.8) / 2)
    assert record["rounded_rows"] == 2
    assert rescaled.column("close").to_pylist()[-2:] == [11.2, 10.8]


def test_a_close_wrong_by_itself_neither_moves_the_ratio_nor_is_hidden():
    rescaled, (record,) = price_scale.rescale(_same_range([22.0] * 20 + [23.0, 21.59]))
    assert record["ratio"] == 2.0
    assert record["rounded_rows"] == 1
    assert rescaled.column("close").to_pylist()[-2:] == [11.5, 10.8]
