"""CSV and Parquet files of daily prices: the cells of our columns."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from unroll.domains.prices.config import PriceReading
from unroll.domains.prices.titles import (
    FIELDS,
    Places,
    by_ticker,
    find_columns,
    header_rows,
    place_of_dates,
    split_titles,
)
from unroll.errors import FormatError
from unroll.sources.forms import start_of
from unroll.sources.layouts import layout_of
from unroll.sources.parquet import ParquetTable, missing_partitions, open_parquet, parquet_batches, read_parquet
from unroll.sources.tables import rows_of

_BATCH_ROWS = 1 << 16
_KNOWN = [title for groups in FIELDS.values() for group in groups for title in group if title]


@dataclass(frozen=True)
class Cells:
    """Rows of a file.

    Attributes:
        frame: Our columns, of text or typed values; indexed from 0.
        rows: The number of each row's line, or in a Parquet file its number from 1.
        word: "line" or "row".
        separator: What is between cells; "" in a Parquet file.
        ignored: Titles of the other columns.
        absent: In a file with columns for each ticker, the number of days on which a ticker has no prices.
    """

    frame: pd.DataFrame
    rows: NDArray[np.int64]
    word: str
    separator: str = ""
    ignored: Sequence[str] = ()
    absent: Mapping[str, int] = field(default_factory=dict)


def read_cells(path: Path, required: Sequence[str], reading: PriceReading) -> Iterator[Cells]:
    """Read the cells of a file: text from a CSV file, typed values from a Parquet file.

    A Parquet file is read in parts, unless it has text or numbers whose form the whole file decides.

    Args:
        path: The file. Parquet is recognized by its first bytes, not by its name.
        required: Our columns that the file has to have; the others are read if they are there.
        reading: What decides where a file is ambiguous.

    Raises:
        FormatError: The file cannot be read, lacks a column, or has one twice.
    """
    try:
        is_parquet = path.is_dir() or start_of(path, 4) == b"PAR1"
        yield from (_read_parquet if is_parquet else _read_csv)(path, required, reading)
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}") from None


def _read_csv(path: Path, required: Sequence[str], reading: PriceReading) -> Iterator[Cells]:
    layout = layout_of(path, reading, _KNOWN)
    # Spark writes CSV into folders NAME=VALUE, too.
    above = {name: value or "" for name, value in missing_partitions(path, layout.names).items()}
    titles, rows = (*layout.names, *above), [(line, [*cells, *above.values()]) for line, cells in rows_of(path, layout)]
    below = header_rows(titles, [cells for _, cells in rows[:2]]) if layout.header else 0
    levels = split_titles(titles)
    data = rows[below:]
    about = Cells(pd.DataFrame(), np.array([line for line, _ in data], "int64"), "line", layout.separator)

    def column(place: int) -> pd.Series:
        return pd.Series([cells[place] for _, cells in data], dtype="str")

    if levels or below:
        # In the first column pandas writes names of the levels, then that of the dates.
        dates = place_of_dates(*levels) if levels else 0
        tickers = by_ticker(*(levels or (titles, rows[0][1])), dates)
        yield _with_tickers(about, dates, tickers, column, required, reading)
        return
    places = find_columns(titles, reading.columns, required)
    frame = pd.DataFrame({name: column(place) for name, place in places.items()})
    yield replace(about, frame=frame, ignored=_others(titles, places))


def _read_parquet(path: Path, required: Sequence[str], reading: PriceReading) -> Iterator[Cells]:
    file = open_parquet(path)
    titles = file.schema_arrow.names
    levels = split_titles(titles)
    if levels:
        table = read_parquet(path)
        about = Cells(pd.DataFrame(), np.arange(1, len(table) + 1), "row")
        dates = place_of_dates(*levels)
        tickers = by_ticker(*levels, dates)
        yield _with_tickers(about, dates, tickers, lambda at: _series(table.column(at)), required, reading)
        return
    places = find_columns(titles, reading.columns, required)
    start = 1
    for table in _tables(file, {name: titles[place] for name, place in places.items()}):
        frame = pd.DataFrame({name: _series(table.column(titles[place])) for name, place in places.items()})
        yield Cells(frame, np.arange(start, start + len(frame)), "row", ignored=_others(titles, places))
        start += len(frame)


def _tables(file: ParquetTable, titles: Mapping[str, str]) -> Iterator[pa.Table]:
    """Read columns, in parts if each part can be converted by itself."""
    types = {name: file.schema_arrow.field(title).type for name, title in titles.items()}
    date = types.pop("date")
    types.pop("ticker", None)
    alone = pa.types.is_date(date) or pa.types.is_timestamp(date)
    batches = parquet_batches(file, file.path, [*titles.values()], _BATCH_ROWS)
    tables = (pa.Table.from_batches([batch]) for batch in batches)
    if alone and not any(_is_text(one) for one in types.values()):
        yield from tables
    elif whole := [*tables]:
        yield pa.concat_tables(whole)


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _series(column: pa.ChunkedArray) -> pd.Series:
    """Return a column as a type that pandas also has, without a change of values."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or kind == pa.string_view():
        column = column.cast(pa.large_string())
    elif pa.types.is_null(kind):
        column = column.cast(pa.float64())
    if pa.types.is_integer(kind) and column.null_count:
        return pd.Series(pd.array(column.to_pylist(), dtype="Int64"))
    found: pd.Series = column.to_pandas(date_as_object=False)
    # Python's conversion of a decimal number rounds to the nearest float64; Arrow's does not.
    return found.astype("float64") if pa.types.is_decimal(kind) else found


def _with_tickers(
    about: Cells,
    dates: int,
    tickers: Mapping[str, Mapping[int, str]],
    column: Callable[[int], pd.Series],
    required: Sequence[str],
    reading: PriceReading,
) -> Cells:
    """Return the rows of a file with columns for each ticker, ticker after ticker.

    A day without any price of a ticker is no row of it, but is counted; one that all tickers lack is a row of the
    first.
    """
    days, rows = column(dates), about.rows
    frames: dict[str, pd.DataFrame] = {}
    ignored: list[str] = []
    for ticker, titles in tickers.items():
        found = find_columns([*titles.values()], reading.columns, [name for name in required if name != "date"])
        places = [*titles]
        frame = pd.DataFrame({name: column(places[place]) for name, place in found.items()})
        frames[ticker] = frame.assign(date=days, **({"ticker": ticker} if ticker else {}))
        ignored += [title for title in _others([*titles.values()], found) if title not in ignored]
    empty = {ticker: _is_empty(frame) for ticker, frame in frames.items()}
    nowhere = np.logical_and.reduce([*empty.values()])
    first = next(iter(frames))
    empty[first] = empty[first] & ~nowhere
    kept = [frame[~empty[ticker]] for ticker, frame in frames.items()]
    return replace(
        about,
        frame=pd.concat(kept, ignore_index=True),
        rows=np.concatenate([rows[~empty[ticker]] for ticker in frames]),
        ignored=ignored,
        absent={ticker: int(missing.sum()) for ticker, missing in empty.items() if missing.any()},
    )


def _is_empty(frame: pd.DataFrame) -> NDArray[np.bool_]:
    prices = frame[[name for name in ("open", "high", "low", "close", "adj_close") if name in frame]]
    text = prices.astype("str").apply(lambda cells: cells.str.strip().str.lower().isin(("", "nan", "<na>", "none")))
    found: NDArray[np.bool_] = (prices.isna() | text).all(axis=1).to_numpy()
    return found


def _others(titles: Sequence[str], places: Places) -> list[str]:
    return [title for place, title in enumerate(titles) if place not in places.values()]
