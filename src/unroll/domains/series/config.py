"""Sections of params.yaml for time series."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from unroll.config.section import Section, TaskSection, check_quantile_levels
from unroll.config.sources import DatasetSection, TableSettings

Names = Annotated[tuple[str, ...], Field(min_length=1)]


class SeriesExpectations(Section):
    """Bounds of a table of series."""

    min_rows: Annotated[int, Field(ge=1)] = 100
    max_gaps: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Largest share of times between the first and the last of a series that have no row."""
    max_empty: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Largest share of empty cells in a column of numbers."""


class SeriesReading(TableSettings):
    """How files of series are read, the same when a dataset is made and when files are scored."""

    time_column: str | None = None
    """Column of the times; left out, the one that is called time, date, datetime, date_time, timestamp or ds."""
    series_column: str | None = None
    """Column that names the series of a row; left out, series_id, unique_id or series if there is one, else a file is
    one series."""
    value_columns: Names | None = None
    """Columns of numbers; left out, all further columns."""
    date_format: str | None = None
    """How times are written where they are not in ISO 8601, as in `%d.%m.%Y %H:%M`."""
    ranges: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Least and greatest possible value of columns. A value beyond them, such as a sensor's fault, is taken as an empty
    cell, and counted."""

    @field_validator("ranges")
    @classmethod
    def _are_ranges(cls, value: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, (least, most) in value.items():
            if least >= most:
                raise ValueError(f"{name}: expected the least value before the greatest, got [{least:g}, {most:g}]")
        return value


class SeriesDataset(SeriesReading, DatasetSection):
    """Series of numbers at regular times: a column of times, columns of numbers, and one that names the series if a
    file has several."""

    domain: Literal["series"]
    expectations: SeriesExpectations = SeriesExpectations()


class BacktestSplits(Section):
    """Rolling-origin backtest: forecasts from many times of the last part of the data."""

    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the times, from the end, that is forecast in the test."""
    valid_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the remaining times, from their end, that is used for validation."""
    stride: Annotated[int, Field(ge=1)] | None = None
    """Steps from one test forecast to the next; left out, the horizon, so that forecasts do not overlap."""
    refits: Annotated[int, Field(ge=1)] = 1
    """Number of parts of the test, each of which is forecast by networks trained on everything before it."""


class ForecastTask(TaskSection):
    """Forecast quantiles of the next steps of one or several columns."""

    domain: Literal["series"]
    kind: Literal["forecast"]
    history: Annotated[int, Field(ge=2)]
    """Steps that the network reads."""
    horizon: Annotated[int, Field(ge=1)]
    """Steps that are forecast at once."""
    targets: Names
    """Columns to forecast."""
    inputs: tuple[str, ...] = ()
    """Further columns whose past the network reads."""
    known: tuple[str, ...] = ()
    """Columns that are known for the steps to come, such as holidays; files to score have rows for these steps."""
    season: Annotated[int, Field(ge=1)] = 1
    """Steps after which the series roughly repeats itself, such as 24 for hours; 1 where it does not."""
    start: Literal["season", "linear"] = "season"
    """The simple forecast that the network improves on: the value one season before, or a linear autoregression, which
    is fitted first and is part of the model."""
    fill: Literal["none", "previous", "linear"] = "none"
    """How gaps and empty cells are filled: with the last value before, or on the line between both neighbors. With
    `none`, windows that contain any are left out, and counted."""
    quantiles: Annotated[tuple[float, ...], Field(min_length=3)] = (0.1, 0.25, 0.5, 0.75, 0.9)
    splits: BacktestSplits = BacktestSplits()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = (*self.targets, *self.inputs, *self.known)
        if len(set(names)) != len(names):
            raise ValueError(f"a column is listed twice among targets, inputs and known: {', '.join(names)}")
        if self.horizon > self.history:
            raise ValueError(f"history {self.history} is shorter than horizon {self.horizon}: it has to be as long")
        if self.season >= self.history:
            raise ValueError(f"history {self.history} is too short: it has to be longer than a season ({self.season})")
        check_quantile_levels(self.quantiles)
        return self
