"""Sections of params.yaml for daily prices."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from unroll.config.section import Section, TaskSection
from unroll.config.sources import DatasetSection
from unroll.config.splits import TimeSplits

PriceColumn = Literal["open", "high", "low", "close", "adj_close", "volume"]


class PriceExpectations(Section):
    """Bounds of a price table."""

    max_daily_move: Annotated[float, Field(gt=0)] = 0.25
    """Largest |close / previous close − 1|."""
    max_gap_days: Annotated[int, Field(ge=1)] = 7
    """Largest number of calendar days between two rows."""


class PriceDataset(DatasetSection):
    """Daily prices: date, open, high, low, close, adjusted close, volume."""

    domain: Literal["prices"]
    ticker: str
    """Ticker of files without a ticker column."""
    rescale_close: bool = False
    """Rescale a close that is on another scale than open, high and low, and record the change."""
    expectations: PriceExpectations = PriceExpectations()


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
        levels = self.quantiles
        if list(levels) != sorted(set(levels)) or levels[0] <= 0 or levels[-1] >= 1:
            raise ValueError("quantiles must increase strictly, between 0 and 1")
        if any(round(1 - q, 9) not in {round(p, 9) for p in levels} or 0.5 not in levels for q in levels):
            raise ValueError("quantiles must be symmetric about 0.5 and contain it, as in [0.1, 0.5, 0.9]")
        return self
