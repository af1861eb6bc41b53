"""Dates of price files: one format for a file, and days from instants."""

from datetime import date

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from price_files import DAYS, read, write

from unroll.errors import FormatError


def _rows(*dates):
    return "Date,Open,High,Low,Close\n" + "".join(f'"{day}",10,12,9,11\n' for day in dates)


@pytest.mark.parametrize(
    ("written", "form"),
    [
        (["2017-01-03 00:00:00", "2017-1-4", "2017-01-13"], "%Y-%m-%d"),
        (["2017-01-03T16:00:00-05:00", "2017-01-04T16:00:00.5-0500", "2017-01-13T00:00:00Z"], "%Y-%m-%d"),
        (["01/03/2017 4:00 PM", "1/4/2017", " 1/13/2017 "], "%m/%d/%Y"),
        (["3/1/2017", "04/01/2017", "13/01/2017"], "%d/%m/%Y"),
        (["3-1-2017", "04-01-2017", "13-01-2017"], "%d-%m-%Y"),
        (["03.01.2017", "04.01.2017", "13.01.2017"], "%d.%m.%Y"),
        (["2017.01.03", "2017.01.04", "2017.01.13"], "%Y.%m.%d"),
        (["2017/1/3", "2017/1/4", "2017/1/13"], "%Y/%m/%d"),
        (["03-Jan-2017", "04-JAN-2017", "13-january-2017"], "%d-%b-%Y"),
        (["Jan 03, 2017", "January 4, 2017", "Jan. 13, 2017"], "%b %d, %Y"),
        (["3 Jan 2017", "4 January 2017", "13 Jan 2017"], "%d %b %Y"),
        (["20170103", "20170104", "20170113"], "%Y%m%d"),
        (["1483401600", "1483488000", "1484265600"], "s since 1970"),
        (["1483401600000", "1483488000000.0", "1484265600000"], "ms since 1970"),
        (["1483401600000000", "1483488000000000", "1484265600000000"], "us since 1970"),
        (["1483401600000000000", "1483488000000000000", "1484265600000000000"], "ns since 1970"),
    ],
)
def test_formats_of_dates(tmp_path, written, form):
    table, record = read(write(tmp_path, _rows(*written)))
    assert table.column("date").to_pylist() == DAYS[: len(written)]
    assert record["date_format"] == form
    if form == "%Y%m%d" or "since" in form:
        numbers = pa.array([int(float(one)) if len(one) < 19 else int(one) for one in written])
        columns = {name: [11.0] * 3 for name in ("open", "high", "low", "close")}
        pq.write_table(pa.table({"date": numbers, **columns}), tmp_path / "numbers.parquet")
        assert read(tmp_path / "numbers.parquet")[0].column("date").to_pylist() == DAYS


@pytest.mark.parametrize(
    ("written", "reading", "days"),
    [
        (["3/1/2017", "4/1/2017"], {"date_format": "%d/%m/%Y"}, DAYS[:2]),
        (["1/3/2017", "1/4/2017"], {"date_format": "%m/%d/%Y"}, DAYS[:2]),
        (["1/3/17", "1/4/17"], {"date_format": "%m/%d/%y"}, DAYS[:2]),
        (["2017-01-03", "2017-01-04"], {"date_format": "%m/%d/%Y"}, DAYS[:2]),
        (["86400", "172800"], {"date_format": "s"}, [date(1970, 1, 2), date(1970, 1, 3)]),
        (["2017-01-02 23:00:00+00:00", "2017-01-03T23:00:00Z"], {"timezone": "Europe/Berlin"}, DAYS[:2]),
        (["2017-07-02 22:00:00Z", "2017-01-03T23:00Z"], {"timezone": "Europe/Berlin"}, [date(2017, 7, 3), DAYS[1]]),
        (["1483394400", "1483480800"], {"timezone": "Europe/Berlin"}, [date(2017, 1, 2), date(2017, 1, 3)]),
        (["2017-01-03 22:00", "2017-01-04 22:00"], {"timezone": "America/New_York"}, DAYS[:2]),
    ],
)
def test_parameters_decide_what_a_date_leaves_open(tmp_path, written, reading, days):
    table, _ = read(write(tmp_path, _rows(*written)), **reading)
    assert sorted(table.column("date").to_pylist()) == sorted(days)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (["1/3/2017", "1/4/2017"], "'1/3/2017' and all others fit %m/%d/%Y and %d/%m/%Y; set `date_format`"),
        (["1/13/2017", "13/1/2017"], "'1/13/2017' and '13/1/2017' are not in one format; set `date_format`"),
        (["1/3/17", "1/4/17"], "found '1/3/17', expected dates in one format .*`date_format`"),
        (["2017-01-03", "1/4/2017"], "found '1/4/2017', expected dates in one format"),
        (["2017-01-03", ""], "line 3, column date: the cell is empty"),
        (["2017-01-03", "2017-02-30"], "line 3, column date: found '2017-02-30'"),
        (["2017-01-02T23:00:00Z", "2017-01-03 23:00:00+00:00"], "is an instant, .* `timezone`"),
        (["1483394400", "1483480800"], "is an instant, .* `timezone`"),
        (["2017-01-02 23:00:00", "2017-01-03 22:00:00"], "may belong to the next day .* `timezone`"),
        (["42738", "42739"], "expected dates in one format .*`date_format`"),
    ],
)
def test_dates_that_the_file_does_not_decide(tmp_path, written, found):
    with pytest.raises(FormatError, match=rf"prices\.csv.*{found}"):
        read(write(tmp_path, _rows(*written)), max_bad_share=0.0)


def test_timestamps_of_parquet_files(tmp_path):
    instants = pd.to_datetime(["2017-01-02 23:00", "2017-07-03 22:00"], utc=True)
    ones = {name: [1.0, 1.0] for name in ("open", "high", "low", "close")}
    frame = pd.DataFrame({"Datetime": instants, **ones})
    path = tmp_path / "p.parquet"
    frame.to_parquet(path, index=False)
    with pytest.raises(FormatError, match=r"p\.parquet.*instant.*`timezone`"):
        read(path)
    days = [date(2017, 1, 3), date(2017, 7, 4)]
    assert read(path, timezone="Europe/Berlin")[0]["date"].to_pylist() == days
    for dates in (
        instants.tz_convert("Europe/Berlin"),
        instants.tz_convert("Europe/Berlin") + pd.Timedelta(hours=17),
        instants.tz_convert("Europe/Berlin").tz_localize(None),
        instants.tz_convert("Europe/Berlin").tz_localize(None).tz_localize("UTC"),
    ):
        frame.assign(Datetime=dates).to_parquet(path, index=False)
        assert read(path)[0]["date"].to_pylist() == days
