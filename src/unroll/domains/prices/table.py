"""The typed table of a price file. Ingest and scoring read files by this."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from unroll.domains.prices import cells, dates
from unroll.domains.prices.config import PriceReading
from unroll.domains.prices.files import Cells, read_cells
from unroll.errors import FormatError

PRICES = ("open", "high", "low", "close")
SCHEMA = pa.schema(
    [
        ("ticker", pa.string()),
        ("date", pa.date32()),
        *((name, pa.float64()) for name in (*PRICES, "adj_close", "volume")),
    ]
)


@dataclass(frozen=True)
class Part:
    """Rows of a file.

    Attributes:
        table: Those with a date, a ticker and every price, in the file's order, in columns of `SCHEMA`.
        cells: What was read.
        faults: Where the other rows are, and why they are set aside.
        date_format: The format of the dates.
    """

    table: pa.Table
    cells: Cells
    faults: Sequence[tuple[str, str]]
    date_format: str


def read_parts(path: Path, ticker: str, reading: PriceReading, required: Sequence[str]) -> Iterator[Part]:
    """Read a CSV or Parquet file of daily prices.

    Args:
        path: The file.
        ticker: For rows of a file without a column of tickers.
        reading: What decides where a file is ambiguous.
        required: Columns that the file has to have. The others of `SCHEMA` are read if they are there: whatever a model
            reads, they take part in deciding how the file writes numbers, and which rows are set aside.

    Raises:
        FormatError: Not a price file, ambiguous, or with too many rows that cannot be used; the message has the file
            and the row, or the parameter that decides.
    """
    rows = 0
    faults: list[tuple[str, str]] = []
    try:
        for read in read_cells(path, required, reading):
            part = _convert(read, ticker, reading)
            rows += len(read.frame)
            faults += part.faults
            yield part
    except FormatError as error:
        raise error if str(error).startswith(str(path)) else FormatError(f"{path}: {error}") from None
    if not rows:
        raise FormatError(f"{path} has no rows; add rows, or remove the file")
    if len(faults) == rows or len(faults) > math.ceil(reading.max_bad_share * rows):
        where, reason = faults[0]
        raise FormatError(
            f"{path}, {where}, {reason}; {len(faults):,} of {rows:,} rows cannot be used, more than the share of "
            f"{reading.max_bad_share:g} that `max_bad_share` of the dataset allows"
        )


def _convert(read: Cells, ticker: str, reading: PriceReading) -> Part:
    frame, faults = read.frame, cells.Faults()
    numbers = [name for name in (*PRICES, "adj_close", "volume") if name in frame]
    days, date_format = dates.days(frame["date"], reading, faults)
    names = cells.tickers(frame["ticker"], faults) if "ticker" in frame else [ticker] * len(frame)
    columns = {"ticker": pa.array(names, pa.string()), "date": pa.array(days, pa.date32())}
    style = cells.style_of([frame[name] for name in numbers], read.separator, reading)
    for name in numbers:
        optional, units = name not in PRICES, name == "volume"
        values = cells.numbers(frame[name], style, faults, optional=optional, units=units)
        columns[name] = pa.array(values, pa.float64(), from_pandas=True)
    table = pa.table({name: columns[name] for name in SCHEMA.names if name in columns})
    bad = sorted(faults.reasons.items())
    if bad:
        usable = np.ones(len(frame), bool)
        usable[[row for row, _ in bad]] = False
        table = table.filter(pa.array(usable))
    return Part(table, read, [(f"{read.word} {read.rows[row]}", reason) for row, reason in bad], date_format)
