"""Reader of the last days of every ticker from files of prices."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from unroll.domains.prices import scale
from unroll.domains.prices.config import PriceReading
from unroll.domains.prices.rules import fault_of
from unroll.domains.prices.table import PRICES, read_parts
from unroll.errors import DataError
from unroll.inference.batches import with_reasons
from unroll.inference.bundle import Bundle
from unroll.inference.card import Card, PriceInput, required
from unroll.inference.columns import PRICE, QUANTILES
from unroll.inference.interface import InputReader, Interface, Numbers
from unroll.inference.reference import Expectation, between, widened
from unroll.sources.forms import Form, table_name
from unroll.sources.parquet import Chunk

_LARGEST_MOVE = 0.5
"""A price that halves within a day, or rises by half, is still possible."""


def read_days(path: Path, form: Form, bundle: Bundle, chunk: Chunk | None = None) -> Iterator[pa.RecordBatch]:
    """Read the last days of every ticker.

    Yields:
        A batch of row_id `TICKER@LASTDATE`, ticker, last_date, date (the forecast day), last_price float64 (USD),
        inputs float32 [window * columns], oldest day first, and reason string: why a ticker cannot be scored.

    Raises:
        FormatError: The file cannot be read, lacks columns, is ambiguous, or too many of its rows cannot be used.
    """
    del chunk  # The days of a ticker may stand anywhere, so a file is never divided.
    reading: PriceReading = bundle.card.file_settings
    yield last_windows(path, reading.ticker or table_name(path), required(bundle.card.prices), reading)


def last_windows(path: Path, ticker: str, spec: PriceInput, reading: PriceReading) -> pa.RecordBatch:
    """Read the last `spec.window` days of every ticker.

    Args:
        path: CSV or Parquet with the columns date and those of `spec`. Its rows may be in any order.
        ticker: Ticker of a file without a column ticker or symbol.
        spec: Columns and days.
        reading: How the model's dataset was read, and its bounds.

    Returns:
        One row per ticker, in their order: row_id, ticker, last_date, date (the next trading day), last_price float64
        (of `spec.known`), inputs float32 [window * columns], oldest day first, and reason string: why a ticker cannot
        be scored; then the price is null and the inputs are zeros. Then one row for each row of the file that is set
        aside, whose row_id is its place in the file.

    Raises:
        FormatError: The file cannot be read, lacks columns, is ambiguous, or too many of its rows cannot be used.
    """
    known = spec.known or spec.target
    columns = list(dict.fromkeys([*spec.columns, known]))
    days, faults = _read_days(path, ticker, columns, spec.window + 1, reading)
    tickers = days["ticker"].to_numpy(zero_copy_only=False)
    dates = days["date"].to_numpy(zero_copy_only=False).astype("datetime64[D]")
    values = {name: days[name].to_numpy(zero_copy_only=False) for name in days.column_names[2:]}
    starts = np.flatnonzero(np.concatenate([[True], tickers[1:] != tickers[:-1]]))
    reasons = {}
    found: list[tuple[str, np.datetime64, float, np.ndarray]] = []
    for start, end in zip(starts, [*starts[1:], len(tickers)], strict=True):
        last = slice(max(start, end - spec.window - 1), end)
        reason = _fault(dates[last], {name: one[last] for name, one in values.items()}, columns, spec.window, reading)
        window = np.zeros((spec.window, len(spec.columns)))
        price = np.nan
        if reason:
            reasons[len(found)] = reason
        else:
            window = np.column_stack([values[name][end - spec.window : end] for name in spec.columns])
            price = values[known][end - 1]
        found.append((str(tickers[start]), dates[end - 1], price, window))
    return _with_faults(with_reasons(_batch(found, spec, reading.weekmask), reasons), faults)


def next_trading_day(days: np.ndarray, weekmask: str) -> np.ndarray:
    """Return the next day of the calendar after each day, datetime64[D]: on weekdays, that of a Saturday is Monday."""
    return np.busday_offset(days, 1, roll="backward", weekmask=weekmask)


def _fault(
    dates: np.ndarray, values: Mapping[str, np.ndarray], columns: Sequence[str], window: int, reading: PriceReading
) -> str | None:
    """Return why a ticker's last days cannot be scored; `dates` has one day more than the window if the file does."""
    if len(dates) < window:
        return f"has {len(dates)} rows, the model needs {window}"
    repeated = dates[1:] == dates[:-1]
    if repeated.any():
        return f"has two rows of {dates[int(repeated.argmax())]}"
    for name in columns:
        known = values[name][-window:]
        with np.errstate(over="ignore"):
            usable = np.isfinite(known.astype(np.float32))
        # A price has a logarithm; a day without a trade has volume 0.
        usable &= known >= 0 if name == "volume" else known > 0
        if not usable.all():
            day = int(usable.argmin())
            what = "no value" if np.isnan(known[day]) else f"{known[day]:g}"
            return f"has {what} in {name} on {dates[-window:][day]}"
    return fault_of(dates, values, reading)


def _with_faults(batch: pa.RecordBatch, faults: Sequence[tuple[str, str]]) -> pa.RecordBatch:
    """Return the batch with a row for each row of the file that is set aside."""
    size = batch.column("inputs").type.list_size
    zeros = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(len(faults) * size, np.float32)), size)
    where, reasons = (pa.array([fault[place] for fault in faults], pa.string()) for place in (0, 1))
    values = {"row_id": where, "reason": reasons, "inputs": zeros}
    columns = {field.name: values.get(field.name, pa.nulls(len(faults), field.type)) for field in batch.schema}
    aside = pa.array([False] * len(batch) + [True] * len(faults))
    return pa.concat_batches([batch, pa.record_batch(columns)]).append_column("set_aside", aside)


def _batch(
    found: list[tuple[str, np.datetime64, float, np.ndarray]], spec: PriceInput, weekmask: str
) -> pa.RecordBatch:
    tickers, last_dates, last_prices, windows = zip(*found, strict=True)
    last = np.array(last_dates, dtype="datetime64[D]")
    flat = np.stack(windows).astype(np.float32).reshape(-1)
    return pa.record_batch(
        {
            "row_id": pa.array([f"{t}@{day}" for t, day in zip(tickers, last, strict=True)], pa.string()),
            "ticker": pa.array(tickers, pa.string()),
            "last_date": pa.array(last, pa.date32()),
            "date": pa.array(next_trading_day(last, weekmask), pa.date32()),
            "last_price": pa.array(last_prices, pa.float64(), from_pandas=True),
            "inputs": pa.FixedSizeListArray.from_arrays(pa.array(flat), spec.window * len(spec.columns)),
        }
    )


def _read_days(
    path: Path, ticker: str, columns: Sequence[str], rows: int, reading: PriceReading
) -> tuple[pa.Table, list[tuple[str, str]]]:
    """Return the last `rows` days of every ticker, sorted (ticker, date, numbers), and why other rows are set aside."""
    kept = None
    faults: list[tuple[str, str]] = []
    names = ["ticker", "date", *columns, *(name for name in PRICES if name not in columns)]
    # A Parquet file may have every ticker of an exchange for decades: of each, the last rows are kept.
    most = None if reading.rescale_close else rows
    for part in read_parts(path, ticker, reading, ("date", *columns)):
        faults += part.faults
        table = part.table.select([name for name in names if name in part.table.column_names])
        kept = _last_rows(table if kept is None else pa.concat_tables([kept, table]), most)
    if kept is None:
        raise DataError(f"{path} has no rows; expected at least {rows - 1} days of a ticker")
    if reading.rescale_close and {"low", "high", "close"} <= {*kept.column_names}:
        kept, _ = scale.rescale(kept)
    return kept, faults


def _last_rows(table: pa.Table, rows: int | None) -> pa.Table:
    """Return the last `rows` rows of every ticker, or all, sorted by ticker and date."""
    table = table.sort_by([("ticker", "ascending"), ("date", "ascending")]).combine_chunks()
    if not table.num_rows or rows is None:
        return table
    tickers = table["ticker"].to_numpy(zero_copy_only=False)
    ends = np.flatnonzero(np.concatenate([tickers[1:] != tickers[:-1], [True]]))
    at = np.arange(len(tickers))
    return table.filter(pa.array(ends[np.searchsorted(ends, at)] - at < rows))


def _profile(batch: pa.RecordBatch, card: Card) -> dict[str, Numbers]:
    spec = required(card.prices)
    column = batch.column("inputs")
    days = column.type.list_size // len(spec.columns)
    values = column.flatten().to_numpy().reshape(len(batch), days, len(spec.columns))
    known = next((name for name in (spec.known, spec.target) if name in spec.columns), spec.columns[0])
    prices = values[:, :, spec.columns.index(known)].astype(np.float64)  # [row, day]
    nothing = np.full(len(batch), np.nan)
    moves = prices.shape[1] > 1
    return {
        "steps": np.full(len(batch), float(prices.shape[1])),
        "last_move": prices[:, -1] / prices[:, -2] - 1 if moves else nothing,
        "volatility": np.diff(np.log(prices), axis=1).std(axis=1) if moves else nothing,
    }


def _bounds(columns: Mapping[str, Numbers], card: Card) -> tuple[Expectation, ...]:
    days = float(required(card.prices).window)
    found = [between("there are as many days as the model reads", "steps", (days, days))]
    if np.isfinite(columns["last_move"]).all():
        low, high = widened(columns["last_move"])
        found.append(
            between(
                "the last price did not move implausibly far (1 = 100 % of the day before's)",
                "last_move",
                (min(low, -_LARGEST_MOVE), max(high, _LARGEST_MOVE)),
            )
        )
    if (columns["volatility"] > 0).all():
        found.append(between("the price moves within the window", "volatility", (0.0, None), strict_min=True))
    return tuple(found)


PRICE_READER = InputReader(
    "prices",
    "prices",
    ("parquet", "csv", "tsv", "txt"),
    read_days,
    ("steps", "last_move", "volatility"),
    _profile,
    _bounds,
    PriceReading,
)
INTERFACES = {
    "level": Interface(("float32", (3,)), PRICE_READER, PRICE),
    "log_return": Interface(("float32", (3,)), PRICE_READER, PRICE),
    "return_quantiles": Interface(("float32", (3,)), PRICE_READER, QUANTILES),
}
