"""Sections of params.yaml for images in classes, such as digits."""

from typing import Annotated, Literal

from pydantic import Field

from unroll.config.section import Section, TaskSection
from unroll.config.sources import DatasetSection, TableSettings
from unroll.config.splits import ShareSplits


class ImageSettings(TableSettings):
    """How images are read from files."""

    transpose: bool = False
    """Whether images are stored column by column, as those of EMNIST are; they are turned."""
    image_size: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = None
    """Height and width of images of which a file has only a list of pixels; null: they are square."""


class DigitExpectations(Section):
    """Bounds of a table of images."""

    class_share: tuple[float, float] | None = None
    """Smallest and largest share of a label in a split; null: 0.8 and 1.3 times an equal share."""
    max_duplicates: Annotated[int, Field(ge=0)] = 10
    """Largest number of test images that also occur in the training split."""


class DigitDataset(ImageSettings, DatasetSection):
    """Labeled gray images of bytes, all of one size: digits, letters, clothes; IDX files have any name."""

    domain: Literal["digits"]
    labels: Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    """Names of the classes, in the order of their numbers; null: the labels as they are."""
    first_label: Literal[0, 1] | None = None
    """Number of the first of `labels` in the files; null: as the numbers show."""
    expectations: DigitExpectations = DigitExpectations()


class DigitTask(TaskSection):
    """Classify an image; its rows are the time steps, and its columns are the features."""

    domain: Literal["digits"]
    kind: Literal["classification"]
    valid_rows: Annotated[int, Field(ge=1)] = 5000
    """Images at the end of the training split that are used for validation."""
    splits: ShareSplits = ShareSplits()
    """Splits of images that came without one; valid_rows does not apply to them."""
