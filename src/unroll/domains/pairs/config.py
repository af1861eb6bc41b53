"""Sections of params.yaml for pairs of sentences."""

from typing import Annotated, Literal

from pydantic import Field

from unroll.config.decoding import BeamSearch, DecodingConfig
from unroll.config.sources import RowDataset
from unroll.config.splits import ShareSplits
from unroll.config.tokenizer import TextTask


class PairDataset(RowDataset):
    """Sentences and their translations: tab-separated (further columns are ignored), or two parallel files."""

    domain: Literal["pairs"]


class TranslationTask(TextTask):
    """Translate a sentence, with one tokenizer for both languages."""

    domain: Literal["pairs"]
    kind: Literal["translation"]
    max_words: Annotated[int, Field(ge=1)] = 12
    """Pairs in which a side has more words are left out."""
    splits: ShareSplits = ShareSplits()
    decoding: BeamSearch = DecodingConfig()
