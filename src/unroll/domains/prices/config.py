"""Sections of params.yaml for daily prices."""

import re
import zoneinfo
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from unroll.config.section import Section, TaskSection, check_quantile_levels
from unroll.config.sources import DatasetSection, TableSettings
from unroll.config.splits import TimeSplits

PriceColumn = Literal["open", "high", "low", "close", "adj_close", "volume"]


FileColumn = Literal["date", "ticker", "open", "high", "low", "close", "adj_close", "volume"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
EPOCHS = ("s", "ms", "us", "ns")
"""Units of dates that count from 1970."""


class PriceExpectations(Section):
    """Bounds of a price table."""

    max_daily_move: Annotated[float, Field(gt=0)] = 0.25
    """Largest |close / previous close − 1|."""
    max_gap_days: Annotated[int, Field(ge=1)] = 7
    """Largest number of calendar days between two rows."""
    max_off_calendar: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Largest share of rows on days that `calendar` does not have, such as special sessions on a weekend."""


class PriceReading(TableSettings):
    """How files of prices are read, the same when a dataset is made and when files are scored."""

    ticker: Annotated[str, Field(min_length=1)] | None = None
    """Ticker of files without a ticker column; left out, it is the name of the file, or of the folder of its parts."""
    columns: dict[FileColumn, str] = Field(default_factory=dict)
    """Titles of columns that are not found by themselves, as in `{close: Settle}`."""
    date_format: str | None = None
    """How dates are written where that is ambiguous, as in `%d/%m/%Y`; or `s`, `ms`, `us` or `ns` since 1970."""
    timezone: str | None = None
    """Time zone of the exchange, as in `America/New_York`: where dates are instants, the days are those there."""
    decimal: Literal[".", ","] | None = None
    """Decimal separator of numbers, where a file does not decide it."""
    thousands: Literal[",", ".", " ", "'"] | None = None
    """Separator between thousands; left out, any but `decimal`."""
    calendar: Literal["every_day"] | Annotated[tuple[Weekday, ...], Field(min_length=1)] = (
        "mon",
        "tue",
        "wed",
        "thu",
        "fri",
    )
    """Weekdays on which the exchange trades, or `every_day`; a forecast is for the next of them."""
    rescale_close: bool = False
    """Rescale a close that is on another scale than open, high and low, and record the change."""
    max_bad_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """A file is refused if a larger share of its rows, rounded up to a whole row, lacks a date or a price."""
    expectations: PriceExpectations = PriceExpectations()

    @property
    def weekmask(self) -> str:
        """The calendar in numpy's form: `1111100` for Monday to Friday."""
        days = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
        return "".join("01"[self.calendar == "every_day" or day in self.calendar] for day in days)

    @field_validator("date_format")
    @classmethod
    def _is_a_format(cls, value: str | None) -> str | None:
        directives = set(re.findall("%(.?)", value or ""))
        if value is not None and value not in EPOCHS and not {"d"} <= directives <= set("YymdbBaA"):
            raise ValueError(
                f"expected the format of a day, such as %d/%m/%Y (a time needs none), or one of {', '.join(EPOCHS)}"
            )
        return value

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, value: str | None) -> str | None:
        if value is not None and value not in zoneinfo.available_timezones():
            raise ValueError("expected a time zone such as America/New_York")
        return value

    @model_validator(mode="after")
    def _separators_differ(self) -> Self:
        if self.decimal and self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}")
        return self


class PriceDataset(PriceReading, DatasetSection):
    """Daily prices: columns date, open, high, low, close; volume, adjusted close and ticker (or symbol) if there."""

    domain: Literal["prices"]


class _ColumnTask(TaskSection):
    columns: Annotated[tuple[PriceColumn, ...], Field(min_length=1)]
    target: PriceColumn

    @model_validator(mode="after")
    def _target_is_read(self) -> Self:
        if self.target not in self.columns:
            raise ValueError(f"target {self.target!r} must be one of columns ({', '.join(self.columns)})")
        if len(set(self.columns)) != len(self.columns):
            raise ValueError(f"a column is listed twice: {', '.join(self.columns)}")
        return self


class LevelTask(_ColumnTask):
    """Predict the next price level from a window of past levels."""

    domain: Literal["prices"]
    kind: Literal["level"]
    window: Annotated[int, Field(ge=2)]
    every_step: bool = False
    """Forecast the next day at every step of the window (many to many), not only at the last one."""
    splits: TimeSplits


class LogReturnTask(_ColumnTask):
    """Predict the next price as its log return over the last known price."""

    domain: Literal["prices"]
    kind: Literal["log_return"]
    window: Annotated[int, Field(ge=3)]
    splits: TimeSplits

    @model_validator(mode="after")
    def _known_price_is_read(self) -> Self:
        if self.target == "open" and "close" not in self.columns:
            raise ValueError("target open needs close among columns: the last known price before an opening is a close")
        return self


class QuantileTask(TaskSection):
    """Predict quantiles of the next day's log return, in units of its EWMA volatility."""

    domain: Literal["prices"]
    kind: Literal["return_quantiles"]
    window: Annotated[int, Field(ge=3)]
    """Days of standardized returns that the network reads."""
    volatility_window: Annotated[int, Field(ge=10)] = 120
    """Days of returns in each volatility estimate; the model reads window + volatility_window + 1 days."""
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.94
    quantiles: Annotated[tuple[float, ...], Field(min_length=3)] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    splits: TimeSplits

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_quantile_levels(self.quantiles)
        return self
