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
