"""Closing prices on another scale than the open, high and low of their day.

It happens where a site adjusts three of the columns for a split and forgets the fourth: up to the split, every close
is the same multiple of its day's range.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

_FAR = 0.05
"""|log(close / middle of the day's range)| from which a close outside its range may be on another scale."""
_SPREAD = 0.15
"""How far a log ratio may stray from the mean of its stretch; daily ranges beyond 30 % are rare."""
_LEAST_ROWS = 5
_ROUNDING = 1e-3
"""Share of a price by which a mended close may miss its day's range: the file's prices were rounded."""


@dataclass(frozen=True)
class OtherScale:
    """A stretch of days of one ticker whose closes are `ratio` times what they should be."""

    ticker: str
    first: date
    last: date
    rows: int
    ratio: float
    start: int
    """Place of the first row in the table; the stretch has no holes."""

    def record(self) -> dict[str, Any]:
        """For ingest.json."""
        return {
            "ticker": self.ticker,
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
            "rows": self.rows,
            "ratio": self.ratio,
        }

    def __str__(self) -> str:
        """One readable clause."""
        days = f"{self.first} to {self.last} ({self.rows} rows)"
        return f"the close of {self.ticker} is {self.ratio:.4g} times the scale of open, high and low from {days}"


def find(table: pa.Table) -> list[OtherScale]:
    """Finds the stretches, in a table sorted by ticker and date.

    Worked example: middles 10, 10, …, closes 20, 20.1, 19.9, 20, 20, 10 → one stretch of five rows, ratio 2.
    """
    low, high, close = (table.column(name).to_numpy() for name in ("low", "high", "close"))
    tickers = table.column("ticker").to_pylist()
    dates = table.column("date").to_pylist()
    usable = (low > 0) & (high >= low) & (close > 0)
    ratio = np.ones(len(close))
    np.divide(close, (low + high) / 2, out=ratio, where=usable)
    distance = np.log(ratio)
    off = usable & ((close > high) | (close < low)) & (np.abs(distance) > _FAR)

    found: list[OtherScale] = []
    start = 0
    # A cumulated sum gives the mean of the stretch so far: a single day at the edge of a wide range must not end it.
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
        here = slice(start, stop)
        if off[start] and stop - start >= _LEAST_ROWS and np.ptp(distance[here]) <= 2 * _SPREAD:
            found.append(
                OtherScale(
                    ticker=tickers[start],
                    first=dates[start],
                    last=dates[stop - 1],
                    rows=stop - start,
                    ratio=_ratio(low[here], high[here], close[here]),
                    start=start,
                )
            )
        start = stop
    return found


def _ratio(low: np.ndarray, high: np.ndarray, close: np.ndarray) -> float:
    """The median ratio, held to where every mended close stands within its day's range, if there is such a ratio."""
    middle = float(np.median(close / ((low + high) / 2)))
    least, most = float(np.max(close / high)), float(np.min(close / low))
    if least <= most:
        return min(max(middle, least), most)
    # Prices rounded to cents may leave none, by a hair: then the one that misses the ranges least. Else some close is
    # wrong by itself, and must not drag the others along.
    return (least + most) / 2 if least / most - 1 <= 2 * _ROUNDING else middle


def mend(table: pa.Table) -> tuple[pa.Table, list[dict[str, Any]]]:
    """Divides the closes of each stretch by its ratio.

    A mended close that misses its day's range by no more than rounding is set to the range's edge.

    Returns:
        The mended table, and a record of every stretch: ticker, first, last, rows, ratio, rounded_rows.
    """
    close = table.column("close").to_numpy().copy()
    low, high = table.column("low").to_numpy(), table.column("high").to_numpy()
    records: list[dict[str, Any]] = []
    for stretch in find(table):
        here = slice(stretch.start, stretch.start + stretch.rows)
        mended = close[here] / stretch.ratio
        edge = np.clip(mended, low[here], high[here])
        rounded = (edge != mended) & (np.abs(edge - mended) <= _ROUNDING * mended)
        close[here] = np.where(rounded, edge, mended)
        records.append({**stretch.record(), "rounded_rows": int(rounded.sum())})
    place = table.schema.get_field_index("close")
    return table.set_column(place, table.schema.field(place), pa.array(close, pa.float64())), records
