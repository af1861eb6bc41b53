"""Random tables of prices in the forms that other tools write: trained on and scored with equal values, or refused."""

from dataclasses import replace
from datetime import date

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import tiny_bundles
from hypothesis import given
from hypothesis import strategies as st

from unroll.domains.prices import dataset as prices
from unroll.domains.prices.config import PriceReading
from unroll.errors import DataError, FormatError
from unroll.inference.batches import open_file
from unroll.inference.bundle import load_bundle

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


def by_duckdb(table, path, options):
    duckdb.from_arrow(table).query("days", f"COPY days TO '{path}' ({options})")


BY_OTHERS = {
    "polars csv": lambda table, path: pl.from_arrow(table).write_csv(path),
    "polars parquet": lambda table, path: pl.from_arrow(table).write_parquet(path),
    "duckdb csv": lambda table, path: by_duckdb(table, path, "FORMAT csv"),
    "duckdb parquet": lambda table, path: by_duckdb(table, path, "FORMAT parquet"),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_bundle(tiny_bundles.last_price(tmp_path_factory.mktemp("prices")))


@st.composite
def tables(draw):
    """A frame of prices, and the days and values in it; `None` where a cell is empty."""
    rows = draw(st.integers(1, 30))
    first, decimals, scale = draw(st.integers(0, 9000)), draw(st.integers(0, 4)), draw(st.sampled_from([0.1, 10, 1e4]))
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    days = [date.fromordinal(date(1995, 1, 1).toordinal() + first + step) for step in range(rows)]
    values = np.round(random.uniform(0.01, 1, (rows, 5)) * scale, decimals)
    values[:, 4] = np.round(values[:, 4] * 1e5, draw(st.sampled_from([0, 3])))
    values[:, 1], values[:, 2] = values[:, :4].max(axis=1), values[:, :4].min(axis=1)
    holes = draw(st.lists(st.tuples(st.integers(0, rows - 1), st.integers(0, 4)), max_size=2))
    for row, column in holes:
        values[row, column] = np.nan
    return days, values


def _write(draw, path, frame, values):
    """Write the table in a random form."""
    form = draw(
        st.sampled_from(["csv", "european", "grouped", "arrow", "parquet", "text", "decimal", "wide", *BY_OTHERS])
    )
    if form == "csv":
        frame.to_csv(path, index=False, sep=draw(st.sampled_from([",", ";", "\t"])))
    elif form == "european":
        frame.to_csv(path, index=False, sep=";", decimal=",")
    elif form == "grouped":
        grouped = {name: [f"{one:,}" if np.isfinite(one) else "" for one in frame[name]] for name in NAMES}
        frame.assign(**grouped).to_csv(path, index=False)
    elif form == "arrow":
        pa_csv.write_csv(pa.Table.from_pandas(frame, preserve_index=False), path)
    elif form in BY_OTHERS:
        BY_OTHERS[form](pa.Table.from_pandas(frame, preserve_index=False), path)
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


SCORING = {"max_bad_share": 1.0, "calendar": "every_day", "expectations": {"max_daily_move": 1e9, "max_gap_days": 99}}


def _score(path, model):
    """Return why days are set aside, and the row of the ticker; None if the file is refused."""
    model = replace(model, card=model.card.model_copy(update={"settings": SCORING}))
    try:
        rows = pa.Table.from_batches(open_file(path, model, 2)).to_pylist()
    except DataError:
        return None
    ticker = [row for row in rows if not row["set_aside"]]
    return [row["reason"] for row in rows if row["set_aside"]], ticker


@given(st.data())
def test_rows_are_read_or_set_aside_and_no_value_is_wrong(tmp_path, model, data):
    days, values = data.draw(tables())
    form = data.draw(st.sampled_from([*DATES]))
    frame = pd.DataFrame({"Date": DATES[form](days), **dict(zip(NAMES, values.T, strict=True))})
    path = tmp_path / "X.csv"  # Parquet is recognized by its content.
    _write(data.draw, path, frame, values)
    found = _read(path, sound=bool(np.isfinite(values[:, :4]).all(axis=1).any()))
    if found is None:
        assert _score(path, model) is None
        return
    table, record = found
    assert len(table) + record["set_aside"] == len(days)
    expected = {day: row for day, row in zip(days, values, strict=True) if np.isfinite(row[:4]).all()}
    read = table.to_pandas()
    assert dict(zip(read["date"], range(len(read)), strict=True)).keys() == expected.keys()
    for row in read.itertuples():
        np.testing.assert_array_equal([row.open, row.high, row.low, row.close, row.volume], expected[row.date])
    reasons, (row,) = _score(path, model)
    assert len(reasons) == record["set_aside"]
    assert row["row_id"] == f"X@{max(expected)}"
    last = [expected[day][:4] for day in sorted(expected)[-4:]]
    if len(last) < 3:
        assert row["reason"] == f"has {len(last)} rows, the model needs 3"
    elif min(map(min, last)) > 0:
        assert row["inputs"] == [np.float32(day[3]) for day in last[-3:]]
        assert row["last_price"] == last[-1][3]
