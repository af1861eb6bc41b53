"""Sections of params.yaml for tunes."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from unroll.config.decoding import DecodingConfig
from unroll.config.section import TaskSection
from unroll.config.sources import EncodingSettings, RowDataset
from unroll.config.splits import ShareSplits

SAMPLING = DecodingConfig(max_length=400, temperature=0.8, top_k=20)
"""Tunes are sampled by default."""


class TuneDataset(EncodingSettings, RowDataset):
    """Tunes of one voice: files in ABC notation, each with one tune (`X:`) or several; a tune has a key (`K:`)."""

    domain: Literal["tunes"]


class TuneTask(TaskSection):
    """Continue a tune, token by token, from its meter and key."""

    domain: Literal["tunes"]
    kind: Literal["language_model"]
    max_tokens: Annotated[int, Field(ge=2)] = 600
    """A longer tune is truncated, and then has no `<eos>`."""
    min_count: Annotated[int, Field(ge=1)] = 2
    """Tokens that occur less often in training become [UNK]."""
    splits: ShareSplits = ShareSplits()
    decoding: Annotated[DecodingConfig, AfterValidator(SAMPLING.override)] = SAMPLING
