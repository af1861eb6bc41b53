"""The base of all sections of params.yaml."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A part of params.yaml. Unknown keys are errors, types are not converted, and values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
"""Name of a dataset, task or experiment, which is also the name of a folder and part of the name of a DVC stage."""


class TaskSection(Section):
    """Base of all task sections. Each narrows `domain` and `kind` to its own, and adds its options."""

    domain: str
    kind: str
    dataset: str


def check_quantile_levels(levels: tuple[float, ...]) -> None:
    """Raise a ValueError unless levels of quantiles rise and are symmetric about the median."""
    if list(levels) != sorted(set(levels)) or levels[0] <= 0 or levels[-1] >= 1:
        raise ValueError("quantiles must increase strictly, between 0 and 1")
    if any(round(1 - q, 9) not in {round(p, 9) for p in levels} or 0.5 not in levels for q in levels):
        raise ValueError("quantiles must be symmetric about 0.5 and contain it, as in [0.1, 0.5, 0.9]")
