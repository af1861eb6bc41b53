"""CSV and Parquet files of daily prices, as finance sites export them, with their columns renamed to ours."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from unroll.config.sources import TableSettings
from unroll.errors import FormatError
from unroll.sources.tables import read_table

_REQUIRED = ("date", "open", "high", "low", "close", "volume")
_ALIASES = {
    "date": ("date", "datetime", "timestamp"),
    "open": ("open",),
    "high": ("high",),
    "low": ("low",),
    "close": ("close", "close/last", "last", "price"),
    "adj_close": ("adj close", "adjusted close", "adjclose"),
    "volume": ("volume", "vol"),
    "ticker": ("ticker", "symbol"),
}


def read_frame(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Read the cells of a file: text from a CSV file, typed values from a Parquet file.

    Returns:
        Our columns, with an index named "line" (numbers as in an editor) or "row" (numbers from 1), and the titles of
        the other columns.

    Raises:
        FormatError: The file cannot be read, has no rows, lacks a column, or has one twice.
    """
    try:
        with path.open("rb") as file:
            is_parquet = file.read(4) == b"PAR1"
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}; check its path and permissions") from None
    frame, ignored = _read_parquet(path) if is_parquet else _read_csv(path)
    if frame.empty:
        raise FormatError(f"{path} has a header but no rows; add rows, or remove the file")
    return frame, ignored


def _read_csv(path: Path) -> tuple[pd.DataFrame, list[str]]:
    titles, rows = read_table(path, TableSettings(), [alias for names in _ALIASES.values() for alias in names])
    places, ignored = _find_columns(titles, path)
    lines = pd.Index([line for line, _ in rows], name="line")
    cells = {name: pd.Series([row[place] for _, row in rows], lines, dtype="str") for name, place in places.items()}
    return pd.DataFrame(cells), ignored


def _read_parquet(path: Path) -> tuple[pd.DataFrame, list[str]]:
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{path} is not a readable Parquet file: {' '.join(str(error).split())[:200]}") from None
    places, ignored = _find_columns(table.column_names, path)
    columns = pa.table({name: _without_encoding(table.column(place)) for name, place in places.items()})
    frame = columns.to_pandas(date_as_object=False)
    frame.index = pd.RangeIndex(1, len(frame) + 1, name="row")
    return frame, ignored


def _without_encoding(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the column as a type that pandas also has."""
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    if pa.types.is_decimal(column.type) or pa.types.is_null(column.type):
        return column.cast(pa.float64())
    return column


def _find_columns(header: Sequence[str], path: Path) -> tuple[dict[str, int], list[str]]:
    """Return the position of each of our columns, and the other titles."""
    places: dict[str, int] = {}
    ignored: list[str] = []
    for place, title in enumerate(header):
        plain = " ".join(title.replace("_", " ").replace(".", " ").replace("*", " ").lower().split())
        name = next((name for name, aliases in _ALIASES.items() if plain in aliases), None)
        if name is None:
            ignored.append(title)
        elif name in places:
            raise FormatError(f"{path}: both {header[places[name]]!r} and {title!r} are the column {name}")
        else:
            places[name] = place
    missing = [name for name in _REQUIRED if name not in places]
    if missing:
        titles = ", ".join(title.strip() or "''" for title in header[:12])[:300] + ", …" * (len(header) > 12)
        raise FormatError(f"{path}: missing column {', '.join(missing)}; the header has: {titles}")
    return places, ignored
