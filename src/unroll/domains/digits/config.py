"""Sections of params.yaml for images of digits."""

from typing import Annotated, Literal

from pydantic import Field

from unroll.config.section import Section, TaskSection
from unroll.config.sources import DatasetSection


class DigitExpectations(Section):
    """Bounds of a table of digit images."""

    class_share: tuple[float, float] = (0.08, 0.13)
    """Smallest and largest share of a label in a split."""
    max_duplicates: Annotated[int, Field(ge=0)] = 10
    """Largest number of test images that also occur in the training split."""


class DigitDataset(DatasetSection):
    """Labeled gray images of 28 × 28 bytes."""

    domain: Literal["digits"]
    expectations: DigitExpectations = DigitExpectations()


class DigitTask(TaskSection):
    """Classify the digit in an image; its rows are the time steps, and its columns are the features."""

    domain: Literal["digits"]
    kind: Literal["classification"]
    valid_rows: Annotated[int, Field(ge=1)] = 5000
    """Images at the end of the training split that are used for validation."""
