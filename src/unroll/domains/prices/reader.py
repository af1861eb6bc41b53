"""Reader of the last days of every ticker from files of prices."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from unroll.domains.prices.dataset import read_prices
from unroll.errors import DataError, FormatError
from unroll.inference.batches import READ_ERRORS, with_reasons
from unroll.inference.bundle import Bundle
from unroll.inference.card import Card, PriceInput, required
from unroll.inference.columns import PRICE, QUANTILES
from unroll.inference.interface import InputReader, Interface, Numbers
from unroll.inference.reference import Expectation, between, widened
from unroll.sources.forms import Form, stem_of
from unroll.sources.parquet import open_parquet, parquet_batches

_BATCH_ROWS = 1 << 16
_TICKER = 100
"""Most characters of a ticker's name."""
_LARGEST_MOVE = 0.5
"""A price that halves within a day, or rises by half, is still possible."""
_FIRST, _LAST = np.datetime64("0001-01-01"), np.datetime64("9999-12-24")
"""Days that Python and pandas can represent, as they can the business day after."""


def read_days(path: Path, form: Form, bundle: Bundle) -> Iterator[pa.RecordBatch]:
    """Read the last days of every ticker.

    Yields:
        A batch of row_id `TICKER@LASTDATE`, ticker, last_date, date (the forecast day), last_price float64 (USD),
        inputs float32 [window * columns], oldest day first, and reason string: why a ticker cannot be scored.

    Raises:
        FormatError: The file cannot be read or lacks columns.
        DataError: It has no rows, or a row has no ticker.
    """
    yield last_windows(path, form == "parquet", stem_of(path.name), required(bundle.card.prices))


def last_windows(path: Path, parquet: bool, ticker: str, spec: PriceInput) -> pa.RecordBatch:
    """Read the last `spec.window` days of every ticker.

    Args:
        path: CSV, or Parquet with the columns date and those of `spec`. Its rows may be in any order.
        parquet: Whether the file is Parquet.
        ticker: Ticker of a file without a column ticker or symbol.
        spec: Columns and days.

    Returns:
        One row per ticker, in their order: row_id, ticker, last_date, date (the next business day), last_price float64
        (of `spec.known`), inputs float32 [window * columns], oldest day first, and reason string: why a ticker cannot
        be scored; then the price is null and the inputs are zeros.

    Raises:
        FormatError: The file cannot be read or lacks columns.
        DataError: It has no rows, or a row has no ticker.
    """
    known = spec.known or spec.target
    columns = list(dict.fromkeys([*spec.columns, known]))
    days = _read_days(path, parquet, ticker, columns, spec.window + 1)
    tickers = days["ticker"].to_numpy(zero_copy_only=False)
    dates = days["date"].to_numpy(zero_copy_only=False).astype("datetime64[D]")
    values = np.column_stack([days[name].to_numpy(zero_copy_only=False) for name in columns])
    starts = np.flatnonzero(np.concatenate([[True], tickers[1:] != tickers[:-1]]))
    reasons = {}
    found: list[tuple[str, np.datetime64, float, np.ndarray]] = []
    for start, end in zip(starts, [*starts[1:], len(tickers)], strict=True):
        name = str(tickers[start])
        reason = _fault(dates[start:end], values[start:end], columns, spec.window)
        if reason:
            reasons[len(found)] = reason
            found.append((name, np.fmax.reduce(dates[start:end]), np.nan, np.zeros((spec.window, len(spec.columns)))))
            continue
        window = values[end - spec.window : end]
        found.append((name, dates[end - 1], window[-1, columns.index(known)], window[:, : len(spec.columns)]))
    return with_reasons(_batch(found, spec), reasons)


def next_business_day(days: np.ndarray) -> np.ndarray:
    """Return the next business day after each day, datetime64[D]: Friday, Saturday and Sunday give Monday."""
    return np.busday_offset(days, 1, roll="backward")


def _fault(dates: np.ndarray, values: np.ndarray, columns: list[str], window: int) -> str | None:
    """Return why a ticker's last days cannot be scored; `dates` has one day more than the window if the file does."""
    if np.isnat(dates).any():
        return "has a row without a date"
    if dates[0] < _FIRST or dates[-1] > _LAST:
        return f"has a row of {dates[0] if dates[0] < _FIRST else dates[-1]}, outside {_FIRST} to {_LAST}"
    if len(dates) < window:
        return f"has {len(dates)} rows, the model needs {window}"
    repeated = dates[1:] == dates[:-1]
    if repeated.any():
        return f"has two rows of {dates[int(repeated.argmax())]}"
    values, dates = values[-window:], dates[-window:]
    with np.errstate(over="ignore"):
        usable = np.isfinite(values.astype(np.float32))
    # A price has a logarithm; a day without a trade has volume 0.
    usable &= np.where([name == "volume" for name in columns], values >= 0, values > 0)
    if not usable.all():
        day, column = (int(i) for i in np.argwhere(~usable)[0])
        value = values[day, column]
        what = "no value" if np.isnan(value) else f"{value:g}"
        return f"has {what} in {columns[column]} on {dates[day]}"
    return None


def _batch(found: list[tuple[str, np.datetime64, float, np.ndarray]], spec: PriceInput) -> pa.RecordBatch:
    tickers, last_dates, last_prices, windows = zip(*found, strict=True)
    last = np.array(last_dates, dtype="datetime64[D]")
    flat = np.stack(windows).astype(np.float32).reshape(-1)
    return pa.record_batch(
        {
            "row_id": pa.array([f"{t}@{day}" for t, day in zip(tickers, last, strict=True)], pa.string()),
            "ticker": pa.array(tickers, pa.string()),
            "last_date": pa.array(last, pa.date32()),
            "date": pa.array(next_business_day(last), pa.date32()),
            "last_price": pa.array(last_prices, pa.float64(), from_pandas=True),
            "inputs": pa.FixedSizeListArray.from_arrays(pa.array(flat), spec.window * len(spec.columns)),
        }
    )


def _read_days(path: Path, parquet: bool, ticker: str, columns: list[str], rows: int) -> pa.Table:
    """Return the last `rows` days of every ticker, sorted: ticker, date, and `columns` as float64."""
    kept = None
    seen = 0
    try:
        # A CSV is read whole; a Parquet file may have every ticker of an exchange for decades.
        tables = _parquet_tables(path, columns) if parquet else iter([read_prices(path, ticker)[0]])
        for table in tables:
            part = _with_plain_columns(table, ticker, columns, path, seen)
            seen += part.num_rows
            kept = _last_rows(part if kept is None else pa.concat_tables([kept, part]), rows)
    except READ_ERRORS as error:
        raise FormatError(f"{path} cannot be read after row {seen}: {' '.join(str(error).split())}") from error
    if kept is None or not kept.num_rows:
        raise DataError(f"{path} has no rows; expected at least {rows - 1} days of a ticker")
    return kept


def _parquet_tables(path: Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    with open_parquet(path) as file:
        schema = file.schema_arrow
        yield schema.empty_table()  # so that the columns of a file without rows are checked too
        wanted = [name for name in schema.names if _plain_name(name) in {"date", "ticker", *columns}]
        for batch in parquet_batches(file, path, wanted, _BATCH_ROWS):
            yield pa.Table.from_batches([batch])


def _with_plain_columns(table: pa.Table, ticker: str, columns: list[str], path: Path, first: int) -> pa.Table:
    table = table.rename_columns([_plain_name(name) for name in table.column_names])
    missing = [name for name in ("date", *columns) if table.column_names.count(name) != 1]
    if missing:
        raise FormatError(
            f"{path} needs one column each of {', '.join(['date', *columns])}; "
            f"{', '.join(missing)} is missing or repeated; it has {', '.join(table.column_names)}"
        )
    if "ticker" not in table.column_names:
        table = table.append_column("ticker", pa.repeat(pa.scalar(ticker, pa.string()), table.num_rows))
    types = {"ticker": pa.string(), "date": pa.date32()} | dict.fromkeys(columns, pa.float64())
    table = table.set_column(table.column_names.index("date"), "date", _within_calendar(table["date"]))
    part = pa.table({name: pc.cast(table[name], kind) for name, kind in types.items()})
    if part["ticker"].null_count:
        # It may be the newest row of any ticker.
        row = part["ticker"].is_null().to_numpy().argmax()
        raise DataError(f"{path}, row {first + int(row) + 1}: ticker is missing")
    lengths = pc.utf8_length(part["ticker"]).to_numpy()
    if lengths.max(initial=0) > _TICKER:
        row = lengths.argmax()
        raise DataError(f"{path}, row {first + int(row) + 1}: ticker has {lengths[row]:,} characters, not {_TICKER}")
    return part


def _within_calendar(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return timestamps, null where date32 cannot represent the day: Arrow would let it wrap around."""
    if not pa.types.is_timestamp(column.type) or column.type.unit != "ms":
        return column  # Parquet has no seconds, and finer units do not reach so far
    most = 86_400_000 * (2**31 - 1)
    numbers = pc.cast(column, pa.int64())
    inside = pc.and_(pc.greater(numbers, -most), pc.less(numbers, most))
    return pc.if_else(inside, column, pa.scalar(None, column.type))


def _plain_name(name: str) -> str:
    """Return a column's name as it is in the card."""
    plain = name.strip().lower().replace(" ", "_")
    return "ticker" if plain == "symbol" else plain


def _last_rows(table: pa.Table, rows: int) -> pa.Table:
    """Return the last `rows` rows of every ticker, sorted by ticker and date."""
    table = table.sort_by([("ticker", "ascending"), ("date", "ascending")]).combine_chunks()
    if not table.num_rows:
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
    "prices", "prices", ("parquet", "csv"), read_days, ("steps", "last_move", "volatility"), _profile, _bounds
)
INTERFACES = {
    "level": Interface(("float32", (3,)), PRICE_READER, PRICE),
    "log_return": Interface(("float32", (3,)), PRICE_READER, PRICE),
    "return_quantiles": Interface(("float32", (3,)), PRICE_READER, QUANTILES),
}
