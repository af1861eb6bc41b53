"""Sections of params.yaml for ramps."""

from typing import Literal

from unroll.config.section import TaskSection
from unroll.config.sources import DatasetSection


class RampDataset(DatasetSection):
    """Sequences of numbers: CSV files with the columns direction and values, the numbers separated by blanks."""

    domain: Literal["ramps"]


class RampTask(TaskSection):
    """Whether a sequence rises or falls."""

    domain: Literal["ramps"]
    kind: Literal["direction"]
