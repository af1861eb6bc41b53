"""Sections of params.yaml for sentences with a tag for each token."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from unroll.config.sources import SplitDataset
from unroll.config.tokenizer import TextTask


class TaggedDataset(SplitDataset):
    """Tagged sentences: CoNLL columns, the token first and its tag last."""

    domain: Literal["tagged"]


class TaggingTask(TextTask):
    """Predict an IOB tag for each token of a sentence."""

    domain: Literal["tagged"]
    kind: Literal["token_classification"]
    characters: Annotated[int, Field(ge=0)] = 12
    """Number of first characters of each token that the model also reads; 0 for none."""

    @model_validator(mode="after")
    def _tokens_as_given(self) -> Self:
        if self.tokenizer.kind != "split":
            raise ValueError("tags belong to the tokens of the data: tokenizer.kind must be split")
        return self
