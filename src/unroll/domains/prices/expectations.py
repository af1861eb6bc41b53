"""What is expected of a table of daily prices."""

import great_expectations as gx
import pandas as pd
import pyarrow as pa
from great_expectations import expectations as gxe

from unroll.domains.prices import scale
from unroll.domains.prices.config import PriceDataset
from unroll.domains.prices.rules import PAIRS, range_limits
from unroll.domains.prices.table import PRICES
from unroll.validation.suites import Suites

_ROW = ("ticker", "date")
_LIMITS = {"low": "low_limit", "high": "high_limit"}
"""Columns that are compared instead: beyond them by a rounding error."""


def make_suites(table: pa.Table, name: str, section: PriceDataset) -> Suites:
    """Return the days, sorted by ticker and date, and their suite."""
    bounds, key = section.expectations, f"datasets.{name}"
    move, gap = bounds.max_daily_move, bounds.max_gap_days
    stretches = scale.find(table)
    other_scale = "; ".join(map(str, stretches[:3])) + f"; and {len(stretches) - 3} more" * (len(stretches) > 3)
    expectations = [
        *(
            gxe.ExpectColumnValuesToNotBeNull(column=column, description=f"{column} is never empty")
            for column in (*_ROW, *PRICES)
        ),
        *(
            gxe.ExpectColumnValuesToBeBetween(column=column, min_value=0, strict_min=True, description=f"{column} > 0")
            for column in (*PRICES, "adj_close")
        ),
        *(
            gxe.ExpectColumnPairValuesAToBeGreaterThanB(
                column_A=_LIMITS.get(upper, upper),
                column_B=_LIMITS.get(lower, lower),
                or_equal=True,
                description=f"{lower} ≤ {upper}",
            )
            for lower, upper in PAIRS
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="close_scale",
            value_set=[1.0],
            description="close is on the scale of open, high and low",
            notes=f"{other_scale}; `{key}.rescale_close: true` divides it, on record",
        ),
        gxe.ExpectColumnValuesToBeBetween(column="volume", min_value=0, description="volume ≥ 0"),
        gxe.ExpectCompoundColumnsToBeUnique(column_list=list(_ROW), description="one row for each ticker and date"),
        gxe.ExpectColumnValuesToBeInSet(
            column="weekday",
            value_set=[day for day in range(7) if section.weekmask[day] == "1"],
            mostly=1 - bounds.max_off_calendar,
            description="rows on trading days",
            notes=f"the exchange's weekdays: `{key}.calendar`; share of rows on other days: "
            f"`{key}.expectations.max_off_calendar`",
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="days_since_previous",
            min_value=0,
            max_value=gap,
            description=f"dates increase, with no gap beyond {gap} days",
            notes=f"bound: `{key}.expectations.max_gap_days`",
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="daily_move",
            min_value=-move,
            max_value=move,
            description=f"no daily move of close beyond {100 * move:.4g} %",
            notes=f"bound: `{key}.expectations.max_daily_move`",
        ),
    ]
    return [(_derive(table, stretches), gx.ExpectationSuite("prices", expectations, meta={"row": _ROW}))]


def _derive(table: pa.Table, stretches: list[scale.OtherScale]) -> pd.DataFrame:
    """Return the table with columns that depend on others or on other rows.

    These are low_limit and high_limit (a rounding error beyond low and high), weekday (0 = Monday), days_since_previous
    (calendar days since the ticker's previous row), daily_move (close / previous close − 1) and close_scale (1, or the
    ratio of a stretch whose closes are on another scale).
    """
    frame: pd.DataFrame = table.to_pandas()
    frame["date"] = pd.to_datetime(frame["date"])
    frame["low_limit"], frame["high_limit"] = range_limits(frame["low"].to_numpy(), frame["high"].to_numpy())
    frame["weekday"] = frame["date"].dt.day_of_week
    by_ticker = frame.groupby("ticker", sort=False)
    frame["days_since_previous"] = by_ticker["date"].diff().dt.days
    frame["daily_move"] = frame["close"] / by_ticker["close"].shift() - 1
    frame["close_scale"] = 1.0
    for stretch in stretches:
        frame.loc[stretch.start : stretch.start + stretch.rows - 1, "close_scale"] = stretch.ratio
    return frame
