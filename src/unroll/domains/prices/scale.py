"""Closing prices on another scale than the open, high and low of their day.

This happens where a site adjusts three of the columns for a split and forgets the fourth: up to the split, every close
is the same multiple of its day's range.
"""

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

_FAR = 0.05
"""|log(close / middle of the day's range)| from which a close outside its range may be on another scale."""
_SPREAD = 0.15
"""How far a log ratio may be from the mean of its stretch; daily ranges beyond 30 % are rare."""
_LEAST_ROWS = 5
_ROUNDING = 1e-3
"""Share of a price by which a rescaled close may miss its day's range: the file's prices were rounded."""


@dataclass(frozen=True)
class OtherScale:
    """A stretch of days of one ticker whose closes are `ratio` times what they should be."""

    ticker: str
    first: date
    last: date
    rows: int
    ratio: float
    start: int
    """Position of the first row in the table; the rows follow each other."""

    def __str__(self) -> str:
        """Return a readable clause."""
        days = f"{self.first} to {self.last} ({self.rows} rows)"
        return f"the close of {self.ticker} is {self.ratio:.4g} times the scale of open, high and low from {days}"


def find(table: pa.Table) -> list[OtherScale]:
    """Find the stretches in a table that is sorted by ticker and date.

    Worked example: middles 10, 10, …, closes 20, 20.1, 19.9, 20, 20, 10 → one stretch of five rows, ratio 2.
    """
    low, high, close = (table.column(name).to_numpy() for name in ("low", "high", "close"))
    tickers, dates = table.column("ticker").to_pylist(), table.column("date").to_pylist()
    usable = (low > 0) & (high >= low) & (close > 0)
    ratio = np.ones(len(close))
    np.divide(close, (low + high) / 2, out=ratio, where=usable)
    distance = np.log(ratio)
    off = usable & ((close > high) | (close < low)) & (np.abs(distance) > _FAR)

    found: list[OtherScale] = []
    start = 0
    # A cumulative sum gives the mean of the stretch so far: a single day at the edge of a wide range must not end it.
    total = np.concatenate([[0.0], np.cumsum(distance)])
    for stop in range(1, len(close) + 1):
        goes_on = (
            stop < len(close)
            and tickers[stop] == tickers[start]
            and off[stop] == off[start]
            and (not off[start] or abs(distance[stop] - (total[stop] - total[start]) / (stop - start)) <= _SPREAD)
        )
        if goes_on:
            continue
        rows, here = stop - start, slice(start, stop)
        if off[start] and rows >= _LEAST_ROWS and np.ptp(distance[here]) <= 2 * _SPREAD:
            ratio_of_all = _ratio(low[here], high[here], close[here])
            found.append(OtherScale(tickers[start], dates[start], dates[stop - 1], rows, ratio_of_all, start))
        start = stop
    return found


def _ratio(low: np.ndarray, high: np.ndarray, close: np.ndarray) -> float:
    """Return the median ratio, clipped to the ratios (if any) that put every close into its day's range."""
    middle = float(np.median(close / ((low + high) / 2)))
    least, most = float(np.max(close / high)), float(np.min(close / low))
    if least <= most:
        return min(max(middle, least), most)
    # Prices that were rounded may leave none, by a hair: then the one that misses the ranges least. Otherwise some
    # close is wrong by itself, and must not move the ratio of the others.
    return (least + most) / 2 if least / most - 1 <= 2 * _ROUNDING else middle


def rescale(table: pa.Table) -> tuple[pa.Table, list[dict[str, Any]]]:
    """Divide the closes of each stretch by its ratio.

    A rescaled close that misses its day's range by no more than rounding is set to the edge of the range.

    Returns:
        The table, and a record of every stretch: ticker, first, last, rows, ratio, rounded_rows.
    """
    close = table.column("close").to_numpy().copy()
    low, high = table.column("low").to_numpy(), table.column("high").to_numpy()
    records: list[dict[str, Any]] = []
    for stretch in find(table):
        here = slice(stretch.start, stretch.start + stretch.rows)
        rescaled = close[here] / stretch.ratio
        edge = np.clip(rescaled, low[here], high[here])
        rounded = (edge != rescaled) & (np.abs(edge - rescaled) <= _ROUNDING * rescaled)
        close[here] = np.where(rounded, edge, rescaled)
        record = asdict(stretch) | {"first": str(stretch.first), "last": str(stretch.last)}
        del record["start"]
        records.append(record | {"rounded_rows": int(rounded.sum())})
    place = table.schema.get_field_index("close")
    return table.set_column(place, table.schema.field(place), pa.array(close, pa.float64())), records
