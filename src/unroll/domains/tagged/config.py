"""Sections of params.yaml for sentences with a tag for each token."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from unroll.config.section import Section
from unroll.config.sources import Column, RowDataset, TableSettings
from unroll.config.splits import ShareSplits
from unroll.config.tokenizer import TextTask


class TaggedColumns(Section):
    """Columns of a file of tagged sentences."""

    token: Column
    tag: Column
    sentence: Column | None = None


class TaggedDataset(TableSettings, RowDataset):
    """Tagged sentences: a token per line, its tag in the last column, a blank line after each sentence; or a CSV with
    columns of tokens, tags and sentences."""

    scored_alike: ClassVar[bool] = False
    domain: Literal["tagged"]
    columns: TaggedColumns | None = None
    """Numbers of the columns from 0, or names where a file has them; null: as the file shows."""


class TaggingTask(TextTask):
    """Predict an IOB tag for each token of a sentence."""

    domain: Literal["tagged"]
    kind: Literal["token_classification"]
    characters: Annotated[int, Field(ge=0)] = 12
    """Number of first characters of each token that the model also reads; 0 for none."""
    splits: ShareSplits = ShareSplits()
    """For data without splits of its own."""

    @model_validator(mode="after")
    def _tokens_as_given(self) -> Self:
        if self.tokenizer.kind != "split":
            raise ValueError("tags belong to the tokens of the data: tokenizer.kind must be split")
        return self
