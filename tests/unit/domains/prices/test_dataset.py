import subprocess
import sys
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unroll.domains.prices import dataset as prices
from unroll.errors import FormatError
from unroll.sources.fetch import Fetched

HEADER = "Date,Open,High,Low,Close,Adj Close,Volume"
DAYS = [date(2017, 1, 3), date(2017, 1, 4), date(2017, 1, 13)]


def _write(tmp_path: Path, text: str | bytes, name: str = "prices.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def _rows(*dates: str) -> str:
    return HEADER + "\n" + "".join(f"{day},10,12,9,11,10.5,1000\n" for day in dates)


def test_plain_iso_file(tmp_path: Path) -> None:
    table, record = prices.read_prices(_write(tmp_path, _rows("2017-01-03", "2017-01-04")), "GOOGL")
    assert table.schema == prices.SCHEMA
    assert table.to_pylist()[0] == {
        "ticker": "GOOGL",
        "date": date(2017, 1, 3),
        "open": 10.0,
        "high": 12.0,
        "low": 9.0,
        "close": 11.0,
        "adj_close": 10.5,
        "volume": 1000,
    }
    assert record["rows"] == 2
    assert record["date_format"] == "iso"
    assert record["order"] == "oldest first"
    assert (record["first_date"], record["last_date"]) == ("2017-01-03", "2017-01-04")


@pytest.mark.parametrize(
    ("written", "form"),
    [
        (["2017-01-03 00:00:00", "2017-01-04 00:00:00", "2017-01-13 00:00:00"], "iso"),
        (["2017-01-03T16:00:00-05:00", "2017-01-04T16:00:00-05:00", "2017-01-13T16:00:00Z"], "iso"),
        (["1/3/2017", "1/4/2017", "1/13/2017"], "m/d/yyyy"),
        (["01/03/2017 16:00:00", "01/04/2017 16:00:00", "01/13/2017 16:00:00"], "m/d/yyyy"),
        (["3/1/2017", "04/01/2017", "13/01/2017"], "d/m/yyyy"),
    ],
)
def test_forms_of_dates(tmp_path: Path, written: list[str], form: str) -> None:
    table, record = prices.read_prices(_write(tmp_path, _rows(*written)), "X")
    assert table.column("date").to_pylist() == DAYS
    assert record["date_format"] == form


def test_ambiguous_dates_are_read_as_month_first_on_record(tmp_path: Path) -> None:
    table, record = prices.read_prices(_write(tmp_path, _rows("1/3/2017", "1/4/2017")), "X")
    assert table.column("date").to_pylist() == DAYS[:2]
    assert record["date_format"] == "m/d/yyyy (assumed: d/m/yyyy fits every row, too)"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (["1/13/2017", "13/1/2017"], r"line 3, column date: found '13/1/2017', which does not go with '1/13/2017'"),
        (["2017-01-03", "1/4/2017"], r"line 3, column date: found '1/4/2017'.*in the form of the first row"),
        (["2017-01-03", "2017-02-30"], r"line 3, column date: found '2017-02-30', which is no date"),
        (["yesterday"], r"line 2, column date: found 'yesterday', expected a date such as 2017-01-31"),
        (["2017-01-03", ""], r"line 3, column date: the cell is empty"),
    ],
)
def test_dates_that_do_not_fit_name_the_line(tmp_path: Path, written: list[str], message: str) -> None:
    with pytest.raises(FormatError, match=r"prices\.csv, " + message):
        prices.read_prices(_write(tmp_path, _rows(*written)), "X")


def test_a_finance_sites_export(tmp_path: Path) -> None:
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
    assert record["order"] == "newest first"
    assert record["adj_close"] is False
    assert record["empty_volumes"] == 1
    assert record["ignored_columns"] == ["Change %"]


def test_ticker_column_and_order_of_rows_of_one_date(tmp_path: Path) -> None:
    text = (
        "SYMBOL;date;OPEN;High;Low;close;volume\n"
        "B;2017-01-04;1;1;1;1;1\nA;2017-01-04;1;1;1;2;1\nA;2017-01-03;1;1;1;3;1\nA;2017-01-04;1;1;1;4;1\n"
    )
    table, record = prices.read_prices(_write(tmp_path, text), "X")
    assert table.column("ticker").to_pylist() == ["A", "A", "A", "B"]
    assert table.column("close").to_pylist() == [3, 2, 4, 1]
    assert record["tickers"] == ["A", "B"]
    assert record["order"] == "mixed"


def test_text_in_a_number_names_the_line_of_an_editor(tmp_path: Path) -> None:
    text = HEADER + ',"a note\nof two lines"\n\n2017-01-03,10,12,9,11,11,5,x\n2017-01-04,10,twelve,9,11,11,5,x\n'
    with pytest.raises(FormatError, match=r"line 5, column high: found 'twelve', expected a number such as 1234\.5"):
        prices.read_prices(_write(tmp_path, text), "X")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("10,12,9,null,11,5", "column close: found 'null', a number was expected; remove the row"),
        (",,,,,", "column open: the cell is empty, a number was expected"),
        ('"1,23",12,9,11,11,5', "column open: found '1,23'"),
        ("10,12,9,11,11,some", "column volume: found 'some', expected a number of shares"),
        ("10,12,9,11,11,1.5", "column volume: found '1.5', expected a whole number"),
        ("10,12,9,11,11,1e30", "column volume: found '1e30'"),
        ("1e999,12,9,11,11,5", "column open: found '1e999', expected a finite number"),
        ("1,010,12,9,11,11,5", "8 cells where the header has 7"),
    ],
)
def test_bad_cells(tmp_path: Path, cells: str, message: str) -> None:
    path = _write(tmp_path, _rows("2017-01-03") + f"2017-01-04,{cells}\n")
    with pytest.raises(FormatError, match=f"line 3.*{message}"):
        prices.read_prices(path, "X")


def test_missing_columns_are_named_beside_the_ones_found(tmp_path: Path) -> None:
    path = _write(tmp_path, "Date,Open,Close,Volume\n2017-01-03,1,1,1\n")
    with pytest.raises(FormatError, match=r"missing columns high, low; the header has: Date, Open, Close, Volume"):
        prices.read_prices(path, "X")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\r\n", "is empty"),
        ((HEADER + "\n").encode(), "has a header and no rows"),
        (HEADER.encode("utf-16"), "is no UTF-8 text"),
        ((HEADER + '\n2017-01-03,"10').encode(), "no valid CSV"),
        (b"Close,Price,Date\n", "'Close' and 'Price' would both be the column close"),
        (b"PAR1 is what Parquet starts with", "is no readable Parquet file"),
    ],
)
def test_files_that_are_no_price_files(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        prices.read_prices(_write(tmp_path, content), "X")


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"none\.csv cannot be read: No such file"):
        prices.read_prices(tmp_path / "none.csv", "X")


def test_our_own_parquet_comes_back_as_it_was(tmp_path: Path) -> None:
    first, _ = prices.read_prices(_write(tmp_path, _rows("2017-01-03", "2017-01-04").replace("Adj", "Other")), "GOOGL")
    pq.write_table(first, tmp_path / "prices.parquet")
    again, record = prices.read_prices(tmp_path / "prices.parquet", "X")
    assert again.equals(first)
    assert record["date_format"] == "typed"
    assert record["adj_close"] is False


def test_other_peoples_parquet(tmp_path: Path) -> None:
    columns = {
        "Open": [10, 10],
        "High": pa.array([12.0, 12.0], pa.float32()),
        "Low": ["9", "9.5"],
        "Close": [11.0, None],
        "Volume": [1.0, 2.0],
        "Date": pa.array([datetime(2017, 1, 3), datetime(2017, 1, 4)], pa.timestamp("us")),
    }
    pq.write_table(pa.table(columns), tmp_path / "own.parquet")
    with pytest.raises(FormatError, match=r"own\.parquet, row 2, column close: the cell is empty"):
        prices.read_prices(tmp_path / "own.parquet", "X")
    pq.write_table(pa.table(columns | {"Close": [11.0, 11.5]}), tmp_path / "own.parquet")
    table, _ = prices.read_prices(tmp_path / "own.parquet", "X")
    assert table.column("date").to_pylist() == DAYS[:2]
    assert table.column("low").to_pylist() == [9.0, 9.5]
    assert table.column("ticker").to_pylist() == ["X", "X"]


def test_sources_with_splits_and_folders(tmp_path: Path) -> None:
    train = _write(tmp_path, _rows("2017-01-03", "2017-01-04"), "train.csv")
    test = _write(tmp_path, _rows("2017-01-13"), "test.csv")
    fetched = [Fetched(test, {"kind": "path"}, "test", False), Fetched(train, {"kind": "path"}, "train", False)]
    ingested = prices.read_dataset(fetched, "X")
    table, records = ingested.table, ingested.sources
    assert table.column("date").to_pylist() == DAYS
    assert table.column("split").to_pylist() == ["train", "train", "test"]
    assert [record["files"][0]["rows"] for record in records] == [1, 2]
    ingested = prices.read_dataset([Fetched(tmp_path, {"kind": "path"}, None, False)], "X")
    table, _ = ingested.table, ingested.sources
    assert sorted(set(table.column("ticker").to_pylist())) == ["test", "train"]
    assert table.column("split").null_count == 3


def test_folder_without_price_files(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"has no \.csv and no \.parquet file"):
        prices.read_dataset([Fetched(tmp_path, {}, None, False)], "X")


def test_readers_for_batch_prediction_are_light() -> None:
    heavy = "{'torch', 'mlflow', 'prefect', 'dvc', 'great_expectations', 'requests', 'pandas', 'pydantic'}"
    code = (
        f"import sys, unroll.domains.prices.dataset, unroll.domains.digits.dataset; print({heavy} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
