"""Sections of params.yaml for pairs of sentences."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from unroll.config.decoding import BeamSearch, DecodingConfig
from unroll.config.section import Section
from unroll.config.sources import Column, RowDataset, TableSettings
from unroll.config.splits import ShareSplits
from unroll.config.tokenizer import TextTask


class PairColumns(Section):
    """Columns of a table of sentence pairs."""

    source: Column
    target: Column


class PairDataset(TableSettings, RowDataset):
    """Sentences and their translations: tables with columns source and target, or the first two; or two parallel files
    as two sources, source language first."""

    scored_alike: ClassVar[bool] = False
    domain: Literal["pairs"]
    columns: PairColumns | None = None
    """Names or numbers, from 0, of the columns of sentences; null: those called source and target, or else the first
    two."""
    max_bad_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Pairs with an empty side are left out; a larger share of them, rounded up to a whole row, is an error."""


class TranslationTask(TextTask):
    """Translate a sentence, with one tokenizer for both languages."""

    domain: Literal["pairs"]
    kind: Literal["translation"]
    max_words: Annotated[int, Field(ge=1)] = 12
    """Pairs in which a side has more words are left out, except test pairs of a given split: those are kept."""
    splits: ShareSplits = ShareSplits()
    decoding: BeamSearch = DecodingConfig()
