"""The base of all sections of params.yaml."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A part of params.yaml: unknown keys are refused, types are not converted, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
"""Name of a dataset, task or experiment: it becomes the name of a folder and part of a DVC stage's name."""


class TaskSection(Section):
    """What every task has. A domain's own section narrows `domain` and `kind` and adds its options."""

    domain: str
    kind: str
    dataset: str
