"""Files of prices: the last days of every ticker, and why a ticker cannot be scored."""

import re
from dataclasses import replace
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundles

from unroll.domains.prices.config import PriceReading
from unroll.domains.prices.dataset import read_prices
from unroll.domains.prices.reader import next_trading_day
from unroll.errors import DataError
from unroll.inference.batches import open_file
from unroll.inference.bundle import load_bundle


@pytest.fixture(scope="module")
def close(tmp_path_factory):
    return load_bundle(tiny_bundles.last_price(tmp_path_factory.mktemp("prices")))


def rows_of(path, bundle, rows=512):
    return pa.Table.from_batches(open_file(path, bundle, rows))


# 2018-08-24 is a Friday.
DAYS = [date(2018, 8, 21), date(2018, 8, 22), date(2018, 8, 23), date(2018, 8, 24)]


def price_table(**closes):
    rows = [(ticker, DAYS[i], close) for ticker, column in closes.items() for i, close in enumerate(column)]
    columns = dict(zip(("ticker", "date", "close"), zip(*rows, strict=True), strict=True))
    others = {
        name: [value] * len(rows) for name, value in {"open": 1.0, "high": 1e9, "low": 0.1, "volume": 1.0}.items()
    }
    return pa.table({**columns, **others})


def test_the_last_days_of_every_ticker_whatever_the_order(tmp_path, close):
    table = price_table(B=[1, 2, 3, 4], A=[10, 20, 30])
    shuffled = table.take([6, 2, 0, 5, 1, 3, 4])
    pq.write_table(shuffled, tmp_path / "p.parquet", row_group_size=2)
    out = rows_of(tmp_path / "p.parquet", close)
    assert out.drop_columns(["inputs", "reason", "set_aside"]).to_pylist() == [
        {"row_id": "A@2018-08-23", "ticker": "A", "last_date": DAYS[2], "date": DAYS[3], "last_price": 30},
        {"row_id": "B@2018-08-24", "ticker": "B", "last_date": DAYS[3], "date": date(2018, 8, 27), "last_price": 4},
    ]
    assert out["inputs"].to_pylist() == [[10, 20, 30], [2, 3, 4]]


def test_many_batches_of_days_give_what_one_gives(tmp_path, close, monkeypatch):
    random = np.random.default_rng(1)
    days = np.arange("2015-01-01", "2016-01-01", dtype="datetime64[D]")
    table = pa.table(
        {
            "Date": pa.array(np.tile(days, 5)),
            "symbol": np.repeat(list("VWXYZ"), len(days)),
            "Close": random.random(5 * len(days)) + 1,
        }
    ).take(random.permutation(5 * len(days)))
    pq.write_table(table, tmp_path / "p.parquet")
    whole = rows_of(tmp_path / "p.parquet", close)
    monkeypatch.setattr("unroll.domains.prices.files._BATCH_ROWS", 11)
    assert rows_of(tmp_path / "p.parquet", close) == whole
    newest = {row["symbol"]: row["Close"] for row in table.sort_by("Date").to_pylist()}
    assert whole["last_price"].to_pylist() == [newest[ticker] for ticker in "VWXYZ"]


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_a_part_below_partitions_is_scored_like_the_whole(tmp_path, close, form):
    table = price_table(A=[1, 2, 3, 4], B=[10, 20, 30])
    copy = f"COPY days TO '{tmp_path}/days' (FORMAT {form}, PARTITION_BY (ticker))"
    duckdb.from_arrow(table).query("days", copy)
    (tmp_path / "days/_SUCCESS").touch()
    parts = sorted((tmp_path / "days").rglob(f"*.{form}"))
    found = pa.concat_tables(rows_of(part, close) for part in parts)
    assert found["row_id"].to_pylist() == ["A@2018-08-24", "B@2018-08-23"]
    assert found["inputs"].to_pylist() == [[2, 3, 4], [10, 20, 30]]
    if form == "parquet":
        assert found == rows_of(tmp_path / "days", close)


def test_the_ticker_is_that_of_the_dataset_or_the_name_of_the_table(tmp_path, close):
    table = price_table(A=[1, 2, 3, 4]).drop_columns("ticker")
    for name in ("a/x.parquet", "b/x.parquet/part-0.parquet", "b/x/part-0.parquet", "b/x/year=2018/0.parquet"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
        assert rows_of(path, close)["ticker"].to_pylist() == ["x"]
        own = replace(close, card=close.card.with_settings({"ticker": "OWN"}))
        assert rows_of(path, own)["ticker"].to_pylist() == ["OWN"]


def test_csv_and_parquet_of_prices_agree_and_the_name_is_the_ticker(tmp_path, close):
    table = price_table(A=[1, 2, 3, 4]).drop_columns("ticker")
    pq.write_table(table, tmp_path / "BRK.B.parquet")
    lines = [
        ",".join(table.column_names),
        *(",".join(str(value) for value in row.values()) for row in table.to_pylist()),
    ]
    (tmp_path / "BRK.B.csv").write_text("\n".join(lines))
    from_csv = rows_of(tmp_path / "BRK.B.csv", close)
    assert from_csv == rows_of(tmp_path / "BRK.B.parquet", close)
    assert from_csv["row_id"].to_pylist() == ["BRK.B@2018-08-24"]


@pytest.mark.parametrize(
    ("closes", "reason"),
    [
        ([1, 2], "has 2 rows, the model needs 3"),
        ([1, 2, None], "has 2 rows, the model needs 3"),
        ([1, 2, 0], "has 0 in close on 2018-08-23"),
        ([1, 2, 1e300], r"has 1e\+300 in close on 2018-08-23"),
    ],
)
def test_a_ticker_that_cannot_be_scored_is_reported_and_the_others_are_read(tmp_path, close, closes, reason):
    pq.write_table(price_table(GOOD=[1, 2, 3], BAD=closes), tmp_path / "p.parquet")
    table = rows_of(tmp_path / "p.parquet", close, 10)
    assert table["ticker"].to_pylist()[:2] == ["BAD", "GOOD"]
    bad, good = table["reason"].to_pylist()[:2]
    assert re.fullmatch(reason, bad)
    assert good is None
    assert table["last_price"].to_pylist()[:2] == [None, 3.0]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("date", None, "column date: the cell is empty, expected a date (typed)"),
        ("ticker", None, "column ticker: the cell is empty, expected a ticker of at most 100 characters"),
        ("close", float("inf"), "column close: found inf, expected a number"),
        ("close", None, "column close: the cell is empty, expected a number"),
        ("high", None, "column high: the cell is empty, expected a number"),
    ],
)
def test_a_row_that_cannot_be_used_is_quarantined_and_its_ticker_goes_on(tmp_path, close, column, value, reason):
    rows = price_table(A=[1, 2, 3], B=[1, 2, 3, 4]).to_pylist()
    rows[6][column] = value
    pq.write_table(pa.Table.from_pylist(rows, price_table(A=[1.0]).schema), tmp_path / "p.parquet")
    table = rows_of(tmp_path / "p.parquet", close)
    assert table["row_id"].to_pylist() == ["A@2018-08-23", "B@2018-08-23", "row 7"]
    assert table["reason"].to_pylist() == [None, None, reason]
    assert table["set_aside"].to_pylist() == [False, False, True]
    rows[0][column] = value
    pq.write_table(pa.Table.from_pylist(rows, price_table(A=[1.0]).schema), tmp_path / "p.parquet")
    with pytest.raises(DataError, match=r"row 1, .* 2 of 7 rows .* `max_bad_share`"):
        list(open_file(tmp_path / "p.parquet", close, 10))


def test_two_rows_of_one_day_within_the_window_are_reported(tmp_path, close):
    table = price_table(A=[1, 2, 3, 4])
    pq.write_table(pa.concat_tables([table, table.slice(1, 1)]), tmp_path / "p.parquet")
    assert rows_of(tmp_path / "p.parquet", close, 10)["reason"].to_pylist() == ["has two rows of 2018-08-22"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"date": DAYS, "open": [1, 2, 3, 4]}), "missing column close; .* date, open"),
        (pa.table({"date": DAYS, "close": ["1", "y", "x", "4"]}), "row 2, column close: found 'y'"),
        (pa.table({"date": DAYS, "close": [1, 2, 3, 4]}).slice(0, 0), "has no rows"),
    ],
)
def test_price_files_that_cannot_be_read(tmp_path, close, table, message):
    pq.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(DataError, match=message):
        list(open_file(tmp_path / "p.parquet", close, 10))


@pytest.mark.parametrize(
    ("weekmask", "expected"),
    [
        ("1111100", ["2018-08-24", "2018-08-27", "2018-08-27", "2018-08-27", "2019-01-01"]),
        ("1111111", ["2018-08-24", "2018-08-25", "2018-08-26", "2018-08-27", "2019-01-01"]),
        ("1111001", ["2018-08-26", "2018-08-26", "2018-08-26", "2018-08-27", "2019-01-01"]),
    ],
)
def test_the_next_trading_day(weekmask, expected):
    days = np.array(["2018-08-23", "2018-08-24", "2018-08-25", "2018-08-26", "2018-12-31"], "datetime64[D]")
    assert next_trading_day(days, weekmask).astype(str).tolist() == expected


def sound_days(count=12):
    """Weekdays from Monday, 2018-08-06, each a little above the day before."""
    days = [date(2018, 8, 6 + week * 7 + day) for week in range(3) for day in range(5)][:count]
    closes = [100.0 + step for step in range(count)]
    rows = {"open": closes, "high": [one + 1 for one in closes], "low": [one - 1 for one in closes], "close": closes}
    return [
        {"ticker": "A", "date": day} | {name: column[row] for name, column in rows.items()}
        for row, day in enumerate(days)
    ]


@pytest.mark.parametrize(
    ("change", "settings", "reason"),
    [
        ({}, {}, None),
        ({"close": 120.0}, {}, "has close 120 above high 112 on 2018-08-21"),
        ({"open": 1.0}, {}, "has low 110 above open 1 on 2018-08-21"),
        ({"high": 111 - 2e-14, "close": 111.0}, {}, None),
        ({"date": date(2018, 8, 25)}, {}, "has a row on Saturday, 2018-08-25"),
        ({"date": date(2018, 8, 25)}, {"calendar": ["mon", "tue", "sat"]}, "has a row on Thursday, 2018-08-16"),
        ({"date": date(2018, 8, 25)}, {"calendar": "every_day"}, None),
        ({"date": date(2018, 8, 25)}, {"expectations": {"max_off_calendar": 0.01}}, None),
        ({"date": date(2018, 9, 4)}, {}, "has no rows from 2018-08-20 to 2018-09-04"),
        ({"date": date(2018, 9, 4)}, {"expectations": {"max_gap_days": 15}}, None),
        (dict.fromkeys(["open", "high", "low", "close"], 200.0), {}, "has a close of 200 on 2018-08-21 after 110"),
    ],
)
def test_what_validation_refuses_is_not_scored(tmp_path, close, change, settings, reason):
    rows = sound_days()
    rows[-1] |= change
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    bundle = replace(close, card=close.card.model_copy(update={"settings": settings}))
    (found,) = rows_of(tmp_path / "p.parquet", bundle)["reason"].to_pylist()
    assert found is reason or found.startswith(reason)


def test_closes_on_another_scale_are_rescaled_as_the_dataset_was(tmp_path, close):
    rows = sound_days()
    for row in rows:
        row["close"] *= 28
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    (reason,) = rows_of(tmp_path / "p.parquet", close)["reason"].to_pylist()
    assert reason == "has close 3024 above high 109 on 2018-08-16; the model's data has close ≤ high"
    mended = replace(close, card=close.card.with_settings({"rescale_close": True}))
    found = rows_of(tmp_path / "p.parquet", mended)
    assert found["reason"].null_count == 1
    assert found["last_price"].to_pylist() == pytest.approx([111])


@pytest.mark.parametrize(("separator", "zone"), [(",", None), (";", "Europe/Berlin")])
def test_a_file_is_scored_as_it_is_ingested(tmp_path, close, separator, zone):
    rows = [
        separator.join([day, *[f"12{',' if zone else '.'}{345 + row}"] * 4, "8412021"])
        for row, day in enumerate(["2018-08-20", "2018-08-21", "2018-08-22"])
    ]
    path = tmp_path / "p.csv"
    path.write_text("sep=;\n" * bool(zone) + separator.join(["Date", "Open", "High", "Low", "Price", "Vol."]) + "\n")
    with path.open("a") as file:
        file.write("\n".join(rows))
    found = rows_of(path, close)
    table, _ = read_prices(path, "p", PriceReading())
    assert found["inputs"].to_pylist() == [np.float32(table["close"].to_numpy()).tolist()]
    assert found["last_price"].to_pylist() == [12.347]
