"""Sections for the splits of samples into train, valid and test."""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from unroll.config.section import Section


class Period(Section):
    """Days of a split, both ends included; a missing end leaves that side open."""

    first: date | None = None
    last: date | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first and self.last and self.first > self.last:
            raise ValueError(f"the period starts on {self.first}, after its end on {self.last}")
        return self


PeriodName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]*$")]
"""Name of a period, which is part of the names of metrics: MLflow allows these characters only."""


class DateSplits(Section):
    """Splits by the date of the forecast day."""

    kind: Literal["dates"]
    train: Period
    valid_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the training days, from the end, that is used for validation."""
    test: Annotated[dict[PeriodName, Period], Field(min_length=1)]
    """Test periods by name, after training. The first one gives the headline metric."""


class LastShareSplits(Section):
    """The last share of all forecast days is the test split."""

    kind: Literal["last_share"]
    test_share: Annotated[float, Field(gt=0, lt=1)]
    valid_share: Annotated[float, Field(ge=0, lt=1)] = 0.1


class WalkForwardSplits(Section):
    """A fold for each test year, trained on all days before it."""

    kind: Literal["walk_forward"]
    first_year: int
    last_year: int
    valid_share: Annotated[float, Field(ge=0, lt=1)] = 0.1

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first_year > self.last_year:
            raise ValueError(f"first_year {self.first_year} is after last_year {self.last_year}")
        return self


TimeSplits = Annotated[DateSplits | LastShareSplits | WalkForwardSplits, Field(discriminator="kind")]


class ShareSplits(Section):
    """Random splits; equal and nearly equal rows are in one split."""

    valid_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    seed: int = 0

    @model_validator(mode="after")
    def _leaves_some(self) -> Self:
        if self.valid_share + self.test_share >= 1:
            raise ValueError("valid_share and test_share leave no rows for training")
        return self
