"""Daily prices as one typed table.

Columns of the table: ticker string, date date32, open, high, low, close float64 (the file's currency), adj_close
float64 (null where the file has none), volume int64 (null where a cell is empty); sorted stably by ticker and date.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from unroll.domains.prices import scale
from unroll.domains.prices.config import PriceDataset
from unroll.errors import FormatError
from unroll.features.text_files import files_of
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
_SPLIT = pa.field("split", pa.string())


def read_prices(path: Path, ticker: str) -> tuple[pa.Table, dict[str, Any]]:
    """Read a CSV or Parquet file of daily prices.

    Dates may be ISO, m/d/yyyy or d/m/yyyy, with or without a time of day. Where both slashed formats fit every row,
    m/d/yyyy is assumed, and recorded. Numbers may have thousands separators and a dollar sign.

    Args:
        path: The file. Parquet is recognized by its first bytes, not by its name.
        ticker: For rows of a file without a ticker (or symbol) column.

    Returns:
        The table, of schema `SCHEMA`, and a record of what was found: rows, date_format, order, ignored_columns, ….

    Raises:
        FormatError: Not a price file; the message has the file, row, column and value.
    """
    # Late: other domains are scored without pandas.
    from unroll.domains.prices import cells
    from unroll.domains.prices.files import read_frame

    frame, ignored = read_frame(path)
    count = len(frame)
    try:
        days, date_format = cells.dates(frame["date"])
        columns = {"date": days} | {name: cells.numbers(frame[name]) for name in PRICES}
        columns["volume"] = cells.volumes(frame["volume"])
        if "adj_close" in frame:
            columns["adj_close"] = cells.numbers(frame["adj_close"], optional=True)
        if "ticker" in frame:
            columns["ticker"] = cells.tickers(frame["ticker"])
    except FormatError as error:
        raise FormatError(f"{path}, {error}") from None
    arrays = {name: pa.Array.from_pandas(column).cast(SCHEMA.field(name).type) for name, column in columns.items()}
    absent = {"ticker": pa.repeat(pa.scalar(ticker), count), "adj_close": pa.nulls(count, pa.float64())}
    table = pa.table(absent | arrays).select(SCHEMA.names)
    record = {
        "rows": count,
        "first_date": str(days.min().date()),
        "last_date": str(days.max().date()),
        "tickers": sorted(table["ticker"].unique().to_pylist()),
        "date_format": date_format,
        "order": "oldest first" if days.is_monotonic_increasing else "mixed",
        "adj_close": table["adj_close"].null_count < count,
        "empty_volumes": table["volume"].null_count,
        "ignored_columns": ignored,
    }
    if days.is_monotonic_decreasing and not days.is_monotonic_increasing:
        record["order"] = "newest first"
    return sort(table), record


def sort(table: pa.Table) -> pa.Table:
    """Sort rows by ticker and date; rows of the same ticker and date keep their order."""
    return table.sort_by([("ticker", "ascending"), ("date", "ascending")])


def read_dataset(fetched: Sequence["Fetched"], section: PriceDataset) -> Ingested:
    """Read every file of every source into one table with a `split` column (the source's, or null).

    The files of a folder are read by name; a file without a ticker column has its own name as ticker.

    Raises:
        FormatError: A file is not a price file, or a folder has none.
    """
    parts: list[pa.Table] = []
    records: list[dict[str, Any]] = []
    for source in fetched:
        described: list[dict[str, Any]] = []
        for path in files_of(source.path, (".csv", ".parquet")):
            ticker = Path(path.name.removesuffix(".gz")).stem if source.path.is_dir() else section.ticker
            part, record = read_prices(path, ticker)
            parts.append(part.append_column(_SPLIT, pa.repeat(pa.scalar(source.split, pa.string()), part.num_rows)))
            described.append({"file": path.name, **record})
        records.append({**source.record, "files": described})
    table = sort(pa.concat_tables(parts))
    if not section.rescale_close:
        return Ingested(table, records)
    table, rescaled = scale.rescale(table)
    notes = [
        f"close of {one['ticker']} divided by {one['ratio']:.4g} from {one['first']} to {one['last']} "
        f"({one['rows']} rows)"
        for one in rescaled[:3]
    ]
    return Ingested(table, records, {"rescaled_close": rescaled}, notes)
