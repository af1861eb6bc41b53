"""The whole of params.yaml."""

from typing import Annotated

from pydantic import Field

from unroll.params.base import Name, Section
from unroll.params.datasets import Dataset
from unroll.params.experiments import Experiment
from unroll.params.tasks import Task


class Scoring(Section):
    """Batch prediction; outside DVC's graph."""

    experiment: str
    """Whose bundle scores the inbox."""
    batch_rows: Annotated[int, Field(ge=1)] = 512
    threads: Annotated[int, Field(ge=1)] = 2
    """Batches that are scored at once, each by one thread; the number does not change what comes out."""
    settle_seconds: Annotated[float, Field(ge=0)] = 5.0
    """A file that changed within so many seconds counts as still being written."""


class Params(Section):
    """The whole of params.yaml."""

    datasets: dict[Name, Dataset]
    tasks: dict[Name, Task]
    experiments: dict[Name, Experiment]
    scoring: Scoring
