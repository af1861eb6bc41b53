"""Sections of params.yaml for strips of several digits, which are composed from a dataset of domain digits."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from unroll.config.decoding import BeamSearch, DecodingConfig
from unroll.config.section import TaskSection


class _StripTask(TaskSection):
    domain: Literal["strips"]
    digits: tuple[int, int] = (2, 5)
    """Smallest and largest number of digits in a strip."""
    columns: Annotated[int, Field(ge=60)] = 140
    """Width of a strip in pixels."""
    train: Annotated[int, Field(ge=1)] = 12_000
    """Number of training strips."""
    valid: Annotated[int, Field(ge=1)] = 1_000
    test: Annotated[int, Field(ge=1)] = 2_000
    """Number of test strips, composed of test images."""
    seed: int = 0

    @model_validator(mode="after")
    def _room(self) -> Self:
        least, most = self.digits
        if not 1 <= least <= most or most * 28 > self.columns:
            raise ValueError(f"{least} to {most} digits of 28 pixels do not fit into {self.columns} columns")
        return self


class StripColumnTask(_StripTask):
    """Label each pixel column of a strip with the digit that it belongs to, if any."""

    kind: Literal["column_labels"]


class StripCaptionTask(_StripTask):
    """Write the digits of a strip as words."""

    kind: Literal["captions"]
    decoding: BeamSearch = DecodingConfig(max_length=8)


class StripReadingTask(_StripTask):
    """Read the digits of a strip, of which it is not given where they are."""

    kind: Literal["reading"]
