"""`scoring`: the scheduled job."""

from typing import Annotated

from pydantic import Field

from unroll.config.section import Section


class DriftLimits(Section):
    """From where on what is scored counts as other than what the model was trained on."""

    psi: Annotated[float, Field(gt=0)] = 0.25
    """Population stability index of a column."""
    ks: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Kolmogorov–Smirnov statistic of a column of numbers."""
    min_rows: Annotated[int, Field(ge=1)] = 200
    """With fewer rows in a run there is no verdict."""
    retrain: bool = False
    """Whether drift is to start the training flow."""


class Scoring(Section):
    """Batch prediction of what is new in an inbox; outside DVC's graph."""

    model: Annotated[str, Field(min_length=1)] = "models:/digit-rows@champion"
    """`models:/NAME@ALIAS` or `models:/NAME/VERSION` of MLflow's registry, or a folder such as models/mnist-bilstm."""
    input: Annotated[str, Field(min_length=1)] = "data/inbox"
    """A folder, or an address of fsspec such as s3://bucket/inbox. So are the next two."""
    output: Annotated[str, Field(min_length=1)] = "data/predictions"
    quarantine: Annotated[str, Field(min_length=1)] = "data/quarantine"
    batch_rows: Annotated[int, Field(ge=1)] = 512
    threads: Annotated[int, Field(ge=1)] = 2
    """Batches that are scored at once, each by one thread; the number does not change what comes out."""
    memory_mb: Annotated[int, Field(ge=256)] = 768
    """MiB of the process that scores files; a file that needs more is rejected."""
    file_seconds: Annotated[float, Field(gt=0)] = 3600.0
    """Seconds that a file may take; one that needs more is rejected."""
    settle_seconds: Annotated[float, Field(ge=0)] = 5.0
    """A file that changed within so many seconds counts as still being written."""
    max_bad_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """A file of which a larger share cannot be scored is rejected."""
    drift: DriftLimits = DriftLimits()
