"""Daily prices as one typed table.

Columns of the table: ticker string, date date32, open, high, low, close float64 (the file's currency), adj_close and
volume float64 (null where a cell is empty, or the file has no such column); sorted stably by ticker and date.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from unroll.domains.prices import scale
from unroll.domains.prices.config import PriceDataset, PriceReading
from unroll.domains.prices.table import PRICES, SCHEMA, read_parts
from unroll.features.text_files import files_of
from unroll.sources.forms import is_parquet_folder, table_name
from unroll.sources.ingested import Ingested

if TYPE_CHECKING:  # Batch prediction reads prices, too, and needs no sources.
    from unroll.sources.fetch import Fetched

ENDINGS = (".csv", ".tsv", ".txt", ".parquet", ".pq")
_SPLIT = pa.field("split", pa.string())
_SHOWN = 10
"""Rows set aside that ingest.json lists for each file."""


def read_prices(path: Path, ticker: str, reading: PriceReading) -> tuple[pa.Table, dict[str, Any]]:
    """Read a CSV or Parquet file of daily prices.

    Args:
        path: The file. Parquet is recognized by its first bytes, not by its name.
        ticker: For rows of a file without a ticker (or symbol) column.
        reading: What decides where a file is ambiguous.

    Returns:
        The table, of schema `SCHEMA`, and a record of what was found: rows, set_aside, date_format, order, ….

    Raises:
        FormatError: As `read_parts`.
    """
    parts = list(read_parts(path, ticker, reading, ("date", *PRICES)))
    table = pa.concat_tables([part.table for part in parts])
    for name in ("adj_close", "volume"):
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(len(table), pa.float64()))
    table = table.select(SCHEMA.names)
    days = table["date"].cast(pa.int32()).to_numpy()
    steps = np.diff(days)
    order = "oldest first" if (steps >= 0).all() else "newest first" if (steps <= 0).all() else "mixed"
    faults = [f"{where}, {reason}" for part in parts for where, reason in part.faults]
    absent = parts[0].cells.absent
    record = {
        "rows": len(table),
        "set_aside": len(faults),
        "first_date": str(days.min().astype("datetime64[D]")),
        "last_date": str(days.max().astype("datetime64[D]")),
        "tickers": sorted(table["ticker"].unique().to_pylist()),
        "date_format": parts[0].date_format,
        "order": order,
        "adj_close": table["adj_close"].null_count < len(table),
        "empty_volumes": table["volume"].null_count,
        "ignored_columns": list(parts[0].cells.ignored),
        **({"set_aside_first": faults[:_SHOWN]} if faults else {}),
        **({"days_without_prices": dict(absent)} if absent else {}),
    }
    return sort(table), record


def sort(table: pa.Table) -> pa.Table:
    """Sort rows by ticker and date; rows of the same ticker and date keep their order."""
    return table.sort_by([("ticker", "ascending"), ("date", "ascending")])


def read_dataset(fetched: Sequence["Fetched"], section: PriceDataset) -> Ingested:
    """Read every file of every source into one table with a `split` column (the source's, or null).

    The files of a folder are read by name. The ticker of a file without a ticker column is the dataset's, or else the
    file's name.

    Raises:
        FormatError: A file is not a price file, or a folder has none.
    """
    parts: list[pa.Table] = []
    records: list[dict[str, Any]] = []
    notes: list[str] = []
    for source in fetched:
        described: list[dict[str, Any]] = []
        for path in files_of(source.path, ENDINGS):
            ticker = section.ticker or table_name(source.path if is_parquet_folder(source.path) else path)
            part, record = read_prices(path, ticker, section)
            parts.append(part.append_column(_SPLIT, pa.repeat(pa.scalar(source.split, pa.string()), part.num_rows)))
            described.append({"file": path.name, **record})
            notes += _notes(path.name, record)
        records.append({**source.record, "files": described})
    table = sort(pa.concat_tables(parts))
    if not section.rescale_close:
        return Ingested(table, records, notes=notes)
    table, rescaled = scale.rescale(table)
    notes += [
        f"close of {one['ticker']} divided by {one['ratio']:.4g} from {one['first']} to {one['last']} "
        f"({one['rows']} rows)"
        for one in rescaled[:3]
    ]
    return Ingested(table, records, {"rescaled_close": rescaled}, notes)


def _notes(name: str, record: dict[str, Any]) -> list[str]:
    notes = []
    if record["set_aside"]:
        notes.append(f"rows of {name} set aside: {record['set_aside']:,}, first {record['set_aside_first'][0]}")
    for ticker, days in record.get("days_without_prices", {}).items():
        notes.append(f"{name} has {days:,} days without prices of {ticker}")
    return notes
