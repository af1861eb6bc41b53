"""Random tables of prices, written as pandas and pyarrow write them: read with equal values, or refused."""

from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from unroll.domains.prices import dataset as prices
from unroll.domains.prices.config import PriceReading
from unroll.errors import FormatError

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

NAMES = ("Open", "High", "Low", "Close", "Volume")
DATES = {
    "iso": lambda days: [str(day) for day in days],
    "instants": lambda days: [f"{day} 00:00:00-05:00" for day in days],
    "nse": lambda days: [f"{day:%d-%b-%Y}" for day in days],
    "us": lambda days: [f"{day:%m/%d/%Y}" for day in days],
    "european": lambda days: [f"{day:%d.%m.%Y}" for day in days],
    "british": lambda days: [f"{day:%d/%m/%Y}" for day in days],
    "compact": lambda days: [int(f"{day:%Y%m%d}") for day in days],
    "milliseconds": lambda days: [int(pd.Timestamp(day).timestamp() * 1000) for day in days],
    "dates": lambda days: days,
    "timestamps": lambda days: pd.to_datetime(days),
    "zoned": lambda days: pd.to_datetime(days).tz_localize("Asia/Kolkata"),
}


@st.composite
def tables(draw):
    """A frame of prices, and the days and values in it; `None` where a cell is empty."""
    rows = draw(st.integers(1, 30))
    first, decimals, scale = draw(st.integers(0, 9000)), draw(st.integers(0, 4)), draw(st.sampled_from([0.1, 10, 1e4]))
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    days = [date.fromordinal(date(1995, 1, 1).toordinal() + first + step) for step in range(rows)]
    values = np.round(random.uniform(0.01, 1, (rows, 5)) * scale, decimals)
    values[:, 4] = np.round(values[:, 4] * 1e5, draw(st.sampled_from([0, 3])))
    holes = draw(st.lists(st.tuples(st.integers(0, rows - 1), st.integers(0, 4)), max_size=2))
    for row, column in holes:
        values[row, column] = np.nan
    return days, values


def _write(draw, path, frame, values):
    """Write the table in a random form; return whether its numbers may be read in two ways."""
    form = draw(st.sampled_from(["csv", "european", "grouped", "arrow", "parquet", "text", "decimal", "wide"]))
    if form == "csv":
        frame.to_csv(path, index=False, sep=draw(st.sampled_from([",", ";", "\t"])))
    elif form == "european":
        frame.to_csv(path, index=False, sep=";", decimal=",")
    elif form == "grouped":
        grouped = {name: [f"{one:,}" if np.isfinite(one) else "" for one in frame[name]] for name in NAMES}
        frame.assign(**grouped).to_csv(path, index=False)
    elif form == "arrow":
        pa_csv.write_csv(pa.Table.from_pandas(frame, preserve_index=False), path)
    elif form == "text":
        frame.assign(**{name: frame[name].astype(str) for name in NAMES}).to_parquet(path)
    elif form == "decimal":
        columns = {name: pa.array(frame[name], from_pandas=True).cast(pa.decimal128(38, 9)) for name in NAMES}
        pq.write_table(pa.table({"Date": pa.array(frame["Date"]), **columns}), path)
    elif form == "wide":
        wide = frame.set_index("Date")
        wide.columns = pd.MultiIndex.from_product([wide.columns, ["X"]], names=["Price", "Ticker"])
        # pandas keeps an index of consecutive numbers in no column of Parquet.
        numbered = pd.api.types.is_integer_dtype(wide.index)
        wide.to_csv(path) if numbered or draw(st.booleans()) else wide.to_parquet(path)
    else:
        frame.to_parquet(path, index=draw(st.booleans()))


def _read(path, *, sound):
    """Read a file; None if it is ambiguous, or has no sound row."""
    try:
        return prices.read_prices(path, "X", PriceReading(max_bad_share=1.0))
    except FormatError as error:
        # Arrow writes the time of a day in UTC.
        if sound and not any(one in str(error) for one in ("set `decimal`", "set `date_format`", "set `timezone`")):
            raise
    return None


@hypothesis.settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(st.data())
def test_rows_are_read_or_set_aside_and_no_value_is_wrong(tmp_path, data):
    days, values = data.draw(tables())
    form = data.draw(st.sampled_from([*DATES]))
    frame = pd.DataFrame({"Date": DATES[form](days), **dict(zip(NAMES, values.T, strict=True))})
    path = tmp_path / "prices"
    _write(data.draw, path, frame, values)
    found = _read(path, sound=bool(np.isfinite(values[:, :4]).all(axis=1).any()))
    if found is None:
        return
    table, record = found
    assert len(table) + record["set_aside"] == len(days)
    expected = {day: row for day, row in zip(days, values, strict=True) if np.isfinite(row[:4]).all()}
    read = table.to_pandas()
    assert dict(zip(read["date"], range(len(read)), strict=True)).keys() == expected.keys()
    for row in read.itertuples():
        np.testing.assert_array_equal([row.open, row.high, row.low, row.close, row.volume], expected[row.date])
