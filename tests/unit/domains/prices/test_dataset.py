import gzip
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unroll.config.sources import PathSource
from unroll.domains.prices import dataset as prices
from unroll.domains.prices.config import PriceDataset
from unroll.errors import FormatError
from unroll.sources.fetch import Fetched

HEADER = "Date,Open,High,Low,Close,Adj Close,Volume"
DAYS = [date(2017, 1, 3), date(2017, 1, 4), date(2017, 1, 13)]
SECTION = PriceDataset(domain="prices", ticker="X", sources=(PathSource(kind="path", path="unused"),))


def _write(folder: Path, text: str | bytes, name: str = "prices.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def _rows(*dates: str) -> str:
    return HEADER + "\n" + "".join(f"{day},10,12,9,11,10.5,1000\n" for day in dates)


def _parquet(path: Path, **changes: object) -> Path:
    columns = {
        "Open": [10, 10],
        "High": pa.array([12.0, 12.0], pa.float32()),
        "Low": ["9", "9.5"],
        "Close": [Decimal("11.25"), Decimal("11.50")],
        "Volume": [1.0, None],
        "Date": pa.array([datetime(2017, 1, 3, 22), datetime(2017, 1, 4)], pa.timestamp("us")),
        "Symbol": pa.array(["GOOGL", "GOOGL"]).dictionary_encode(),
    }
    pq.write_table(pa.table(columns | changes), path)
    return path


def test_plain_file(tmp_path: Path) -> None:
    path = _write(tmp_path, gzip.compress(_rows("2017-01-03", "2017-01-04").encode()))
    table, record = prices.read_prices(path, "GOOGL")
    assert table.schema == prices.SCHEMA
    values = {"open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "adj_close": 10.5, "volume": 1000}
    assert table.to_pylist()[0] == {"ticker": "GOOGL", "date": DAYS[0], **values}
    assert record == {
        "rows": 2,
        "first_date": "2017-01-03",
        "last_date": "2017-01-04",
        "tickers": ["GOOGL"],
        "date_format": "iso",
        "order": "oldest first",
        "adj_close": True,
        "empty_volumes": 0,
        "ignored_columns": [],
    }


@pytest.mark.parametrize(
    ("written", "form"),
    [
        (["2017-01-03 00:00:00", "2017-1-4", "2017-01-13"], "iso"),
        (["2017-01-03T16:00:00-05:00", "2017-01-04T16:00:00.5-0500", "2017-01-13T16:00:00Z"], "iso"),
        (["01/03/2017 4:00 PM", "1/4/2017", " 1/13/2017 "], "m/d/yyyy"),
        (["3/1/2017", "04/01/2017", "13/01/2017"], "d/m/yyyy"),
        (["1/3/2017", "1/4/2017"], "m/d/yyyy (assumed: d/m/yyyy fits every row, too)"),
    ],
)
def test_formats_of_dates(tmp_path: Path, written: list[str], form: str) -> None:
    table, record = prices.read_prices(_write(tmp_path, _rows(*written)), "X")
    assert table.column("date").to_pylist() == DAYS[: len(written)]
    assert record["date_format"] == form


@pytest.mark.parametrize(
    ("written", "line", "found"),
    [
        (["1/13/2017", "13/1/2017"], 2, r"'1/13/2017', expected .* d/m/yyyy of '13/1/2017' \(line 3\)"),
        (["2017-01-03", "1/4/2017"], 3, "'1/4/2017', expected .*2017-01-03"),
        (["2/1/2017", "31/4/2017"], 3, "'31/4/2017'"),
        (["2017-01-03", ""], 3, "the cell is empty"),
    ],
)
def test_dates_that_do_not_fit(tmp_path: Path, written: list[str], line: int, found: str) -> None:
    with pytest.raises(FormatError, match=rf"prices\.csv, line {line}, column date: .*{found}"):
        prices.read_prices(_write(tmp_path, _rows(*written)), "X")


def test_export_of_a_finance_site(tmp_path: Path) -> None:
    text = (
        "\ufeffDate,Close/Last,Volume,Open,High,Low,Change %\r\n"
        '01/13/2017,"$1,830.94","1,097,970","$1,830.94","$1,841.95","$1,829.00",0.1\r\n'
        "01/04/2017,$807.77,1.52M,$809.89,$813.43,$804.11,0.1\r\n"
        "\r\n"
        "01/03/2017,$808.01,,$800.62,$811.44,$796.89,0.1\r\n"
    )
    table, record = prices.read_prices(_write(tmp_path, text), "GOOGL")
    assert table.column("date").to_pylist() == DAYS
    assert table.column("close").to_pylist() == [808.01, 807.77, 1830.94]
    assert table.column("adj_close").to_pylist() == [None, None, None]
    assert table.column("volume").to_pylist() == [None, 1_520_000, 1_097_970]
    assert (record["order"], record["adj_close"], record["empty_volumes"]) == ("newest first", False, 1)
    assert record["ignored_columns"] == ["Change %"]


def test_ticker_column_and_order_of_rows_of_one_date(tmp_path: Path) -> None:
    text = (
        "SYMBOL;date;OPEN;High;Low;close;volume\n"
        "B;2017-01-04;1;1;1;1;1\nA;2017-01-04;1;1;1;2;1\nA;2017-01-03;1;1;1;3;1\nA;2017-01-04;1;1;1;4;1\n"
    )
    table, record = prices.read_prices(_write(tmp_path, text), "X")
    assert table.column("ticker").to_pylist() == ["A", "A", "A", "B"]
    assert table.column("close").to_pylist() == [3, 2, 4, 1]
    assert (record["tickers"], record["order"]) == (["A", "B"], "mixed")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("10,12,9,null,11,5", "column close: found 'null', expected a number"),
        ('"1,23",12,9,11,11,5', "column open: found '1,23'"),
        ("1e999,12,9,11,11,5", "column open: found '1e999', expected a finite number"),
        ("10,12,9,11,11,1.5", "column volume: found '1.5', expected a whole number"),
        ("10,12,9,11,11,1e30", "column volume: found '1e30'"),
        ("10,12,9,11", "5 cells, expected 7"),
    ],
)
def test_bad_cells(tmp_path: Path, cells: str, message: str) -> None:
    path = _write(tmp_path, "\n" + _rows("2017-01-03") + f"\n2017-01-04,{cells}\n")
    with pytest.raises(FormatError, match=rf"prices\.csv, line 5.*{message}"):
        prices.read_prices(path, "X")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (HEADER, "has a header and no rows"),
        (HEADER.encode("utf-16"), "is not UTF-8"),
        (HEADER + "\r2017-01-04,1,010,12,9,11,11,5", "line 2: 8 cells, expected 7"),
        ("Date,Open,Close,Volume\n2017-01-03,1,1,1\n", r"missing column high, low; .*: Date, Open, Close, Volume"),
        (b"Close,Price,Date\n", "both 'Close' and 'Price' are the column close"),
        (b"PAR1 is what Parquet starts with", "is not a readable Parquet file"),
    ],
)
def test_other_files(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        prices.read_prices(_write(tmp_path, content), "X")


def test_table_survives_parquet(tmp_path: Path) -> None:
    first, _ = prices.read_prices(_write(tmp_path, _rows("2017-01-03", "2017-01-04").replace("Adj", "Other")), "GOOGL")
    pq.write_table(first, tmp_path / "prices.parquet")
    again, record = prices.read_prices(tmp_path / "prices.parquet", "X")
    assert again.equals(first)
    assert (record["date_format"], record["adj_close"]) == ("typed", False)


def test_parquet_of_other_types(tmp_path: Path) -> None:
    table, _ = prices.read_prices(_parquet(tmp_path / "own.parquet"), "X")
    assert table.column("date").to_pylist() == DAYS[:2]
    assert table.column("low").to_pylist() == [9.0, 9.5]
    assert table.column("close").to_pylist() == [11.25, 11.5]
    assert table.column("volume").to_pylist() == [1, None]
    assert table.column("ticker").to_pylist() == ["GOOGL", "GOOGL"]


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("Close", [11.0, None], "column close: the cell is empty"),
        ("Date", [date(2017, 1, 3), None], "column date: the cell is empty"),
        ("Volume", [1.0, 1.5], "column volume: found 1.5"),
    ],
)
def test_parquet_with_a_bad_cell(tmp_path: Path, column: str, values: list[object], message: str) -> None:
    with pytest.raises(FormatError, match=rf"own\.parquet, row 2, {message}"):
        prices.read_prices(_parquet(tmp_path / "own.parquet", **{column: values}), "X")


def test_sources_with_splits_and_folders(tmp_path: Path) -> None:
    train = _write(tmp_path, _rows("2017-01-03", "2017-01-04"), "train.csv")
    test = _write(tmp_path, _rows("2017-01-13"), "test.csv")
    fetched = [Fetched(test, {"kind": "path"}, "test", False), Fetched(train, {"kind": "path"}, "train", False)]
    ingested = prices.read_dataset(fetched, SECTION)
    assert ingested.table.column("date").to_pylist() == DAYS
    assert ingested.table.column("split").to_pylist() == ["train", "train", "test"]
    assert [record["files"][0]["rows"] for record in ingested.sources] == [1, 2]
    table = prices.read_dataset([Fetched(tmp_path, {}, None, False)], SECTION).table
    assert set(table.column("ticker").to_pylist()) == {"test", "train"}
    assert table.column("split").null_count == 3
