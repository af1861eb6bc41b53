"""`scoring`: the scheduled job."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from unroll.config.section import Section


class DriftLimits(Section):
    """Thresholds above which scored rows count as different from the training data."""

    psi: Annotated[float, Field(gt=0)] = 0.25
    """Limit of a column's population stability index."""
    ks: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Limit of the Kolmogorov–Smirnov statistic of a column of numbers."""
    min_rows: Annotated[int, Field(ge=1)] = 200
    """Minimum number of scored rows for a verdict on drift."""
    retrain: bool = False
    """Whether drift starts the training flow."""


class Shadow(Section):
    """A second model that scores the same files, to be compared with the first; its predictions are never mixed in."""

    model: Annotated[str, Field(min_length=1)]
    """Such as `models:/digit-rows@challenger`; as in `scoring`."""
    output: Annotated[str, Field(min_length=1)] = "data/shadow/predictions"
    """Folders of its own; neither may be inside one of `scoring`."""
    quarantine: Annotated[str, Field(min_length=1)] = "data/shadow/quarantine"
    seconds: Annotated[float, Field(gt=0, le=7200)] = 600.0
    """Seconds that the flow gives it after the first model, less if its time limit comes before; the next run does the
    rest."""


class LocalEngineConfig(Section):
    """Files are scored one after the other, by a process of this machine."""

    kind: Literal["local"] = "local"


def _is_scheduler(address: str) -> str:
    # With a host in brackets if it is an IPv6 address.
    found = re.fullmatch(r"(tcp|tls|wss?)://(\[[^][\s]+\]|[^][:/@\s]+):(\d{1,5})", address, re.ASCII)
    if not found or not 0 < int(found[3]) < 1 << 16:
        raise ValueError("is not the address of a scheduler, such as tcp://HOST:8786 (or tls, ws, wss)")
    return address


SchedulerAddress = Annotated[str, AfterValidator(_is_scheduler)]


class DaskEngineConfig(Section):
    """Files are scored in chunks by a Dask cluster; needs `pip install -c constraints.txt -e ".[dask]"`."""

    kind: Literal["dask"]
    scheduler: SchedulerAddress | None = None
    """Address of the scheduler, such as tcp://HOST:8786; without it, the job starts workers on this machine."""
    workers: Annotated[int, Field(ge=1)] = 2
    """Number of worker processes on this machine, if no scheduler is named."""


class Scoring(Section):
    """Batch prediction of the new files of an inbox; not a stage of DVC."""

    model: Annotated[str, Field(min_length=1)] = "models:/digit-rows@champion"
    """`models:/NAME@ALIAS` or `models:/NAME/VERSION` of MLflow's registry, or a folder such as models/mnist-bilstm."""
    input: Annotated[str, Field(min_length=1)] = "data/inbox"
    """A folder, or an fsspec URL such as s3://bucket/inbox; output and quarantine may be either, too."""
    output: Annotated[str, Field(min_length=1)] = "data/predictions"
    quarantine: Annotated[str, Field(min_length=1)] = "data/quarantine"
    batch_rows: Annotated[int, Field(ge=1)] = 512
    threads: Annotated[int, Field(ge=1)] = 2
    """Number of batches to score at the same time, each by one thread; it does not change the predictions."""
    chunk_rows: Annotated[int, Field(ge=1)] = 100_000
    """Least number of rows of a chunk, several whole row groups of a Parquet file that are scored together."""
    memory_mb: Annotated[int, Field(ge=256)] = 768
    """Memory in MiB of a process that scores files; a file that needs more is rejected."""
    file_seconds: Annotated[float, Field(gt=0)] = 3600.0
    """Seconds that a file, or a chunk of it, may take; a file that needs more is rejected."""
    settle_seconds: Annotated[float, Field(ge=0)] = 5.0
    """A file that changed less than this many seconds ago counts as still being written."""
    max_bad_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """A file is rejected if a larger share of its rows cannot be scored."""
    settings: dict[str, bool | int | float | str | tuple[str, ...] | None] = {}  # noqa: RUF012 -- a copy is given
    """Settings of files that replace those of the model's card: those of the dataset's section, such as `header`."""
    engine: Annotated[LocalEngineConfig | DaskEngineConfig, Field(discriminator="kind")] = LocalEngineConfig()
    """`kind: local` scores on this machine, `kind: dask` on many; both write the same bytes."""
    drift: DriftLimits = DriftLimits()
    shadow: Shadow | None = None
