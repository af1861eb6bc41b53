"""Sections of params.yaml for recordings."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from unroll.config.section import TaskSection
from unroll.config.sources import RowDataset


class RecordingDataset(RowDataset):
    """Recordings as a varying number of frames of features, each with a class: an npz file with X, y and lengths."""

    domain: Literal["recordings"]


class RecordingTask(TaskSection):
    """Classify a recording; the test uses voices that are not in training."""

    domain: Literal["recordings"]
    kind: Literal["classification"]
    voices: Annotated[int, Field(ge=2)] = 6
    """Number of clusters of recordings that stand in for speakers, whom the data does not name."""
    valid_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Test share of the random split, which gives `accuracy_random_split`."""
    normalize: bool = True
    """Scale each recording's features to mean 0 and standard deviation 1."""
    deltas: bool = True
    """Append the change of each feature over time."""
    seed: int = 0

    @model_validator(mode="after")
    def _leaves_some(self) -> Self:
        if self.valid_share + self.test_share >= 1:
            raise ValueError("valid_share and test_share leave no rows for training")
        return self
