"""Sections that say how samples are split into train, valid and test."""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from unroll.config.section import Section


class Period(Section):
    """Days of a split, both ends included. A missing end leaves the period open."""

    first: date | None = None
    last: date | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first and self.last and self.first > self.last:
            raise ValueError(f"the period starts on {self.first}, after its end on {self.last}")
        return self


PeriodName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]*$")]
"""Part of a metric's name; MLflow allows no other characters."""


class DateSplits(Section):
    """Splits by the date of the forecast day."""

    kind: Literal["dates"]
    train: Period
    valid_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the training days, the last ones, on which the best epoch is chosen."""
    test: Annotated[dict[PeriodName, Period], Field(min_length=1)]
    """Named periods after training. The first one gives the headline metric."""


class LastShareSplits(Section):
    """The last share of all forecast days is the test split."""

    kind: Literal["last_share"]
    test_share: Annotated[float, Field(gt=0, lt=1)]
    valid_share: Annotated[float, Field(ge=0, lt=1)] = 0.1


class WalkForwardSplits(Section):
    """One fold a test year, trained on everything before it."""

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
    """Random splits; equal and nearly equal rows stay in one split."""

    valid_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    seed: int = 0

    @model_validator(mode="after")
    def _leaves_some(self) -> Self:
        if self.valid_share + self.test_share >= 1:
            raise ValueError("valid_share and test_share leave nothing to train on")
        return self
