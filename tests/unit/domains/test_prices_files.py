"""Files of prices as sites and tools write them: separators, titles, and rows that are set aside."""

from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from price_files import DAYS, read, write

from unroll.errors import FormatError

NAMES = ("Open", "High", "Low", "Close")
HEADER = "Date,Open,High,Low,Close,Volume"


@pytest.mark.parametrize(
    ("separator", "cells", "volume", "reading", "expected"),
    [
        (";", ["12,345", "12,567"], "8412021", {}, [12.345, 12.567, 8412021]),
        (";", ["12,345", "12,567"], "8.412.021", {}, [12.345, 12.567, 8412021]),
        (";", ["12,345", "12,567"], "8,412,021", {}, [12345, 12567, 8412021]),
        (";", ["12,345", "12,5"], "900", {}, [12.345, 12.5, 900]),
        (";", ["1.234,5", "1.234"], "900", {}, [1234.5, 1234, 900]),
        (";", ["12,345", "12,567"], "900", {"decimal": ","}, [12.345, 12.567, 900]),
        (";", ["12,345", "12,567"], "900", {"decimal": "."}, [12345, 12567, 900]),
        (";", ["12.345", "12.567"], "900", {"thousands": "."}, [12345, 12567, 900]),
        (";", ["0,345", "0,567"], "900", {}, [0.345, 0.567, 900]),
        (";", ["1 234,50", "1\u00a0234,5"], "3,4M", {}, [1234.5, 1234.5, 3400000]),
        (";", ["1'234.50", "1’234.5"], "2.01M", {}, [1234.5, 1234.5, 2010000]),
        (",", ["12.345", "12.567"], "900", {}, [12.345, 12.567, 900]),
        (",", ['"1,234.50"', '"12,345"'], '"1,097,970"', {}, [1234.5, 12345, 1097970]),
        (",", ['"12,34,567.5"', '"1,234.50"'], '"1,23,45,678"', {}, [1234567.5, 1234.5, 12345678]),
        (",", ["$12.5", "₹7e-3"], "0.25", {}, [12.5, 0.007, 0.25]),
        ("\t", ["12,5", "12,345"], "3.141.592", {}, [12.5, 12.345, 3141592]),
    ],
)
def test_separators_are_decided_for_a_file(tmp_path, separator, cells, volume, reading, expected):
    rows = [separator.join([f"2017-01-{day + 3:02}", *[cell] * 4, volume]) for day, cell in enumerate(cells)]
    header = separator.join(["Date", "Open", "High", "Low", "Close", "Volume"])
    path = write(tmp_path, "\n".join([header, *rows]) + "\n")
    table, _ = read(path, **reading)
    assert [*table["close"].to_pylist(), table["volume"][0].as_py()] == expected


@pytest.mark.parametrize(
    ("separator", "cells", "message"),
    [
        (";", ["12,345", "12,567", "900"], "'12,345' may be 12345 or 12.345"),
        (";", ["12.345", "12.567", "900"], "'12.345' may be 12345 or 12.345"),
        (",", ['"12,345"', '"12,567"', "8412021"], "'12,345' may be 12345 or 12.345"),
        (";", ["12,5", "12.5", "900"], "'12.5' and '12,5' have different decimal separators"),
    ],
)
def test_a_file_that_does_not_decide_its_separators(tmp_path, separator, cells, message):
    rows = [separator.join([f"2017-01-{day + 3:02}", *[cell] * 4, cells[2]]) for day, cell in enumerate(cells[:2])]
    header = separator.join(["Date", "Open", "High", "Low", "Close", "Volume"])
    with pytest.raises(FormatError, match=rf"{message}.* set `decimal`"):
        read(write(tmp_path, "\n".join([header, *rows]) + "\n"))


SITES = {
    "yfinance, one ticker": """Price,Close,High,Low,Open,Volume
Ticker,ACME,ACME,ACME,ACME,ACME
Date,,,,,
2017-01-03,11,12,9,10,1000
2017-01-04,11.5,12,9,10,1000
""",
    "yfinance by ticker, with actions": """Ticker,ACME,ACME,ACME,ACME,ACME,ACME
Price,Open,High,Low,Close,Volume,Dividends
Date,,,,,,
2017-01-03 00:00:00-05:00,10,12,9,11,1000,0
2017-01-04 00:00:00-05:00,10,12,9,11.5,1000,0.2
""",
    "pandas without names of levels": """,Close,High,Low,Open,Volume
,ACME,ACME,ACME,ACME,ACME
Date,,,,,
2017-01-03,11,12,9,10,1000
2017-01-04,11.5,12,9,10,1000
""",
    "titles that pandas made text": """Date,"('High', 'ACME')","('Low', 'ACME')","('Open', 'ACME')","('Close', 'ACME')"
2017-01-03,12,9,10,11
2017-01-04,12,9,10,11.5
""",
    "joined cells of a spreadsheet": """;ACME;;;;
;Open;High;Low;Close;Volume
03.01.2017;10;12;9;11;1000
04.01.2017;10;12;9;11,5;1000
""",
    "Stooq, bulk": """<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>
ACME,D,20170103,000000,10,12,9,11,1000,0
ACME,D,20170104,000000,10,12,9,11.5,1000,0
""",
    "Alpha Vantage": """date,1. open,2. high,3. low,4. close,5. volume,ticker
2017-01-04,10,12,9,11.5,1000.0,ACME
2017-01-03,10,12,9,11,1000.0,ACME
""",
    "NSE": """"Date ","series ","OPEN ","HIGH ","LOW ","PREV. CLOSE ","ltp ","close ","vwap ","VOLUME ","symbol",
"04-Jan-2017","EQ","10","12","9","11","11","11.5","11","1,000","ACME",
"03-Jan-2017","EQ","10","12","9","11","11","11","11","1,000","ACME",
""",
    "NSE, bhavcopy": """SYMBOL,SERIES,OPEN,HIGH,LOW,CLOSE,LAST,PREVCLOSE,TOTTRDQTY,TOTTRDVAL,TIMESTAMP,TOTALTRADES,ISIN
ACME,EQ,10,12,9,11,11.1,11,1000,11000,03-JAN-2017,5,X
ACME,EQ,10,12,9,11.5,11.1,11,1000,11000,04-JAN-2017,5,X
""",
    "Investing": """"Date","Price","Open","High","Low","Vol.","Change %","Symbol"
"Jan 04, 2017","11.5","10.0","12.0","9.0","1.00K","0.1%","ACME"
"Jan 03, 2017","11.0","10.0","12.0","9.0","1.00K","-","ACME"
""",
    "Nasdaq": """Date,Close/Last,Volume,Open,High,Low,Symbol
01/13/2017,$1.00,1000,$1.00,$1.00,$1.00,BOLT
01/04/2017,$11.50,1000,$10,$12,$9,ACME
01/03/2017,$11,1000,$10,$12,$9,ACME
""",
    "an index of pandas": """,Datetime,Open,High,Low,Close,Volume,Ticker
0,2017-01-03,10,12,9,11,1000,ACME
1,2017-01-04,10,12,9,11.5,1000,ACME
""",
    "Excel": """sep=;
Date;Open;High;Low;Close;Volume;Ticker
2017-01-03;10;12;9;11;1000;ACME
2017-01-04;10;12;9;11,5;1000;ACME
""",
    "broker": """o,h,l,c,v,t,ticker
10,12,9,11,1000,1483401600000,ACME
10,12,9,11.5,1000,1483488000000,ACME
""",
}


@pytest.mark.parametrize("site", SITES)
def test_exports_of_sites_and_tools(tmp_path, site):
    table, record = read(write(tmp_path, SITES[site]))
    acme = [row for row in table.to_pylist() if row["ticker"] == "ACME"]
    volume = None if site == "titles that pandas made text" else 1000
    sound = {"ticker": "ACME", "open": 10, "high": 12, "low": 9, "adj_close": None, "volume": volume}
    assert acme == [{**sound, "date": DAYS[0], "close": 11}, {**sound, "date": DAYS[1], "close": 11.5}]
    assert record["set_aside"] == 0
    assert len(table) == len(acme) + (site == "Nasdaq")


def test_columns_name_what_is_not_found_by_itself(tmp_path):
    path = write(tmp_path, "Datum;Eröffnung;Hoch;Tief;Schluss\n03.01.2017;10;12;9;11\n")
    with pytest.raises(FormatError, match=r"missing column date, open.*`columns`"):
        read(path)
    columns = {"date": "Datum", "open": "eröffnung", "high": "Hoch", "low": "Tief", "close": "Schluss"}
    table, _ = read(path, columns=columns)
    assert table.select(["close", "volume"]).to_pylist() == [{"close": 11, "volume": None}]
    with pytest.raises(FormatError, match="0 columns are called 'Ende'"):
        read(path, columns=columns | {"close": "Ende"})


def _downloaded(days=40):
    """The frame that yfinance gives for two tickers, the second of which has no weekends and an empty day."""
    dates = pd.bdate_range("2017-01-02", periods=days, name="Date")
    random = np.random.default_rng(0)
    columns = pd.MultiIndex.from_product([["Close", "High", "Low", "Open", "Volume"], ["ACME", "600519"]])
    return pd.DataFrame(random.random((days, 10)) + 1, dates, columns.set_names(["Price", "Ticker"]))


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_download_of_two_tickers(tmp_path, form):
    frame = _downloaded()
    frame.loc[frame.index[:30], pd.IndexSlice[:, "600519"]] = np.nan  # listed later
    frame.loc[frame.index[-1], :] = np.nan
    frame.loc[frame.index[-2], ("Open", "ACME")] = np.nan
    path = tmp_path / f"p.{form}"
    (frame.to_csv if form == "csv" else frame.to_parquet)(path)
    table, record = read(path)
    for ticker in ("ACME", "600519"):
        kept = frame.xs(ticker, axis=1, level="Ticker").dropna()
        rows = table.filter(pa.compute.equal(table["ticker"], ticker))
        assert rows["date"].to_pylist() == [day.date() for day in kept.index]
        for name in ("open", "high", "low", "close", "volume"):
            assert rows[name].to_pylist() == kept[name.title()].tolist()
    assert (record["set_aside"], record["days_without_prices"]) == (2, {"600519": 31})
    assert len(table) == 38 + 9


def test_an_index_without_a_name_has_the_dates(tmp_path):
    frame = pd.DataFrame({name: [1.0, 2.0] for name in NAMES}, pd.to_datetime(DAYS[:2]))
    frame.to_parquet(tmp_path / "p.parquet")
    frame.to_csv(tmp_path / "p.csv")
    assert read(tmp_path / "p.parquet")[0] == read(tmp_path / "p.csv")[0]
    assert read(tmp_path / "p.csv")[0]["date"].to_pylist() == DAYS[:2]


def test_bad_rows_are_set_aside_up_to_a_share(tmp_path):
    dates = pd.bdate_range("2017-01-02", periods=40)
    lines = [f"{day.date()},10,12,9,11,1000" for day in dates]
    lines[5] = lines[5].replace("12", "null")
    lines[39] = f"{dates[39].date()},,,,,"
    path = write(tmp_path, "\n".join([HEADER, *lines]))
    table, record = read(path)
    assert (len(table), record["rows"], record["set_aside"]) == (38, 38, 2)
    assert record["set_aside_first"] == [
        "line 7, column high: found 'null', expected a number",
        "line 41, column open: the cell is empty, expected a number",
    ]
    with pytest.raises(FormatError, match=r"line 7, column high.*2 of 40 rows.*0.02 that `max_bad_share`"):
        read(path, max_bad_share=0.02)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([600519, 1]),
        pa.array([600519.0, 1.0]),
        pa.array(["600519", "1"], pa.large_string()),
        pa.array(["600519", "1"]).dictionary_encode(),
        pa.array([b"600519", b"1"]),
        pa.array(["600519", "1"], pa.string_view()),
    ],
)
def test_types_of_parquet_columns(tmp_path, column):
    from decimal import Decimal

    prices_of = {
        "Open": pa.array([Decimal("0.1"), Decimal("2.30")], pa.decimal128(10, 2)),
        "High": pa.array(["0.2", "2.4"]).dictionary_encode(),
        "Low": pa.array([0, 2], pa.int8()),
        "Close": pa.array([0.125, 2.5], pa.float32()),
    }
    dates = pa.array([date(2017, 1, 3), date(2017, 1, 4)], pa.date64())
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"Symbol": column, "Date": dates, **prices_of}), path)
    table, _ = read(path)
    assert table.drop_columns(["adj_close", "volume"]).to_pylist() == [
        {"ticker": "1", "date": DAYS[1], "open": 2.3, "high": 2.4, "low": 2, "close": 2.5},
        {"ticker": "600519", "date": DAYS[0], "open": 0.1, "high": 0.2, "low": 0, "close": 0.125},
    ]
