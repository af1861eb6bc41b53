"""Price files as finance sites export them, read into one typed table.

Columns of the table: ticker string, date date32, open, high, low, close float64 (the file's currency), adj_close
float64 (null where the file has none), volume int64 (null where a cell is empty); sorted stably by ticker and date.
"""

import csv
import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from unroll.domains.prices import cells as price_cells
from unroll.domains.prices import scale
from unroll.domains.prices.config import PriceDataset
from unroll.errors import FormatError
from unroll.sources.ingested import Ingested

if TYPE_CHECKING:  # Batch prediction reads prices, too, and needs no sources.
    from unroll.sources.fetch import Fetched

PRICES = ("open", "high", "low", "close")
SCHEMA = pa.schema(
    [
        ("ticker", pa.string()),
        ("date", pa.date32()),
        *((name, pa.float64()) for name in (*PRICES, "adj_close")),
        ("volume", pa.int64()),
    ]
)

_REQUIRED = ("date", *PRICES, "volume")
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


@dataclass(frozen=True)
class _Cells:
    """A price file as it stands there: one list of cells a column, before any is understood."""

    columns: dict[str, list[Any]]
    """By the names of `SCHEMA`: strings of a CSV, or values of a Parquet file."""
    rows: list[int]
    """The line of each row in an editor (CSV), or its number from 1 (Parquet)."""
    row_word: str
    ignored: list[str]


def read_prices(path: Path, ticker: str) -> tuple[pa.Table, dict[str, Any]]:
    """Reads a CSV or Parquet file of daily prices.

    Dates may be ISO, m/d/yyyy or d/m/yyyy, with or without a time of day. Where both slashed forms fit every row,
    m/d/yyyy is assumed, and recorded. Numbers may have thousands separators and a dollar sign.

    Args:
        path: The file. Parquet is told by its first bytes, not by its name.
        ticker: For rows of a file without a ticker (or symbol) column.

    Returns:
        The table, of schema `SCHEMA`, and a record of what was found: rows, date_format, order, ignored_columns, ….

    Raises:
        FormatError: Not a price file; the message names file, row, column and the value found.
    """
    try:
        with path.open("rb") as file:
            is_parquet = file.read(4) == b"PAR1"
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from None
    cells = _read_parquet(path) if is_parquet else _read_csv(path)
    count = len(cells.rows)
    if count == 0:
        raise FormatError(f"{path} has a header and no rows")

    name = "date"
    try:
        dates, date_format = price_cells.dates(cells.columns["date"])
        columns: dict[str, list[Any]] = {"date": dates}
        for name in PRICES:
            columns[name] = price_cells.numbers(cells.columns[name])
        name = "adj_close"
        columns[name] = price_cells.optional_numbers(cells.columns.get(name, [None] * count))
        name = "volume"
        columns[name] = price_cells.volumes(cells.columns[name])
        name = "ticker"
        columns[name] = price_cells.names(cells.columns.get(name, [ticker] * count))
    except price_cells.CellError as error:
        where = f"{path}, {cells.row_word} {cells.rows[error.index]}, column {name}"
        raise FormatError(f"{where}: {error.message}") from None

    table = pa.table({field.name: pa.array(columns[field.name], field.type) for field in SCHEMA}, schema=SCHEMA)
    record = {
        "rows": count,
        "first_date": min(dates).isoformat(),
        "last_date": max(dates).isoformat(),
        "tickers": sorted(set(columns["ticker"])),
        "date_format": date_format,
        "order": _order(dates),
        "adj_close": any(value is not None for value in columns["adj_close"]),
        "empty_volumes": columns["volume"].count(None),
        "ignored_columns": cells.ignored,
    }
    return in_order(table), record


def in_order(table: pa.Table) -> pa.Table:
    """Sorts rows by ticker and date; rows of one ticker and date keep their order."""
    return table.sort_by([("ticker", "ascending"), ("date", "ascending")])


def read_dataset(fetched: Sequence["Fetched"], section: PriceDataset) -> Ingested:
    """Reads every file of every source into one table with a `split` column (the source's, or null).

    The files of a folder are read in the order of their names; where one has no ticker column, its own name
    without the ending is the ticker.

    Raises:
        FormatError: A file is no price file, or a folder has none.
    """
    parts: list[pa.Table] = []
    records: list[dict[str, Any]] = []
    for source in fetched:
        described: list[dict[str, Any]] = []
        for path in _price_files(source.path):
            part, record = read_prices(path, path.stem if source.path.is_dir() else section.ticker)
            parts.append(part.append_column("split", pa.array([source.split] * part.num_rows, pa.string())))
            described.append({"file": path.name, **record})
        records.append({**source.record, "files": described})
    table = in_order(pa.concat_tables(parts))
    if not section.rescale_close:
        return Ingested(table, records)
    table, rescaled = scale.mend(table)
    notes = [
        f"close of {one['ticker']} divided by {one['ratio']:.4g} from {one['first']} to {one['last']} "
        f"({one['rows']} rows)"
        for one in rescaled[:3]
    ]
    return Ingested(table, records, {"rescaled_close": rescaled}, notes)


def _price_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in (".csv", ".parquet"))
    if not found:
        raise FormatError(f"the folder {path} has no .csv and no .parquet file")
    return found


def _order(dates: Sequence[Any]) -> str:
    if all(a <= b for a, b in itertools.pairwise(dates)):
        return "oldest first"
    return "newest first" if all(a >= b for a, b in itertools.pairwise(dates)) else "mixed"


def _read_csv(path: Path) -> _Cells:
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        found = f"byte 0x{raw[error.start]:02x} in line {line}"
        raise FormatError(f"{path} is no UTF-8 text ({found}): save it as CSV in UTF-8, or as Parquet") from None
    if not text.strip():
        raise FormatError(f"{path} is empty: a header line and rows of daily prices were expected")
    header_line = text.lstrip().splitlines()[0]
    delimiter = max(",;\t", key=header_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: dict[str, list[Any]] = {}
    rows: list[int] = []
    places: dict[str, int] = {}
    width = 0
    ignored: list[str] = []
    line = 1
    try:
        for row in reader:
            # A quoted cell may hold line breaks: the row starts where the last one ended.
            start, line = line, reader.line_num + 1
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            if not places:
                places, ignored = _places(row, path)
                width = len(row)
                columns = {name: [] for name in places}
                continue
            if len(row) != width:
                raise FormatError(
                    f"{path}, line {start}: {len(row)} cells where the header has {width} ({_shown(row)}); "
                    "numbers with thousands separators have to stand in quotes"
                )
            rows.append(start)
            for name, place in places.items():
                columns[name].append(row[place])
    except csv.Error as error:
        raise FormatError(f"{path}, line {reader.line_num}: no valid CSV: {error}") from None
    return _Cells(columns=columns, rows=rows, row_word="line", ignored=ignored)


def _read_parquet(path: Path) -> _Cells:
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{path} is no readable Parquet file: {' '.join(str(error).split())[:200]}") from None
    places, ignored = _places(table.column_names, path)
    columns = {name: table.column(place).to_pylist() for name, place in places.items()}
    return _Cells(columns=columns, rows=list(range(1, table.num_rows + 1)), row_word="row", ignored=ignored)


def _places(header: Sequence[str], path: Path) -> tuple[dict[str, int], list[str]]:
    """Finds our columns in a header. Returns the place of each, and the names that nobody needs."""
    places: dict[str, int] = {}
    ignored: list[str] = []
    for place, title in enumerate(header):
        plain = " ".join(title.replace("_", " ").replace(".", " ").replace("*", " ").lower().split())
        name = next((name for name, aliases in _ALIASES.items() if plain in aliases), None)
        if name is None:
            ignored.append(title)
        elif name in places:
            raise FormatError(f"{path}: {header[places[name]]!r} and {title!r} would both be the column {name}")
        else:
            places[name] = place
    missing = [name for name in _REQUIRED if name not in places]
    if missing:
        raise FormatError(
            f"{path}: missing {'column' if len(missing) == 1 else 'columns'} {', '.join(missing)}; "
            f"the header has: {_shown(header)}"
        )
    return places, ignored


def _shown(cells: Sequence[str]) -> str:
    text = ", ".join(cell.strip() or "''" for cell in cells[:12])
    return text[:300] + (", …" if len(cells) > 12 else "")
