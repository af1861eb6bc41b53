"""Price files as text, read by the reader of prices."""

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from unroll.domains.prices import dataset as prices
from unroll.domains.prices.config import PriceReading

DAYS = [date(2017, 1, 3), date(2017, 1, 4), date(2017, 1, 13)]


def read(path: Path, ticker: str = "X", **reading: Any) -> tuple[pa.Table, dict[str, Any]]:
    """Read a file with these settings."""
    return prices.read_prices(path, ticker, PriceReading(**reading))


def write(folder: Path, content: str | bytes, name: str = "prices.csv") -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
