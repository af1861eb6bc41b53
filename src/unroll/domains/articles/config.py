"""Sections of params.yaml for running text."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from unroll.config.decoding import DecodingConfig
from unroll.config.section import TaskSection
from unroll.config.sources import EncodingSettings, SplitDataset
from unroll.config.tokenizer import TokenizerConfig

SAMPLING = DecodingConfig(temperature=0.8, top_k=40)
"""Texts are sampled by default, because the most probable text repeats itself."""


class ArticleDataset(EncodingSettings, SplitDataset):
    """Running text: plain text files with a paragraph or heading per line; blank lines are left out."""

    domain: Literal["articles"]


class LanguageTask(TaskSection):
    """Predict the next word of running text; the state is carried from window to window."""

    domain: Literal["articles"]
    kind: Literal["language_model"]
    tokenizer: TokenizerConfig
    window: Annotated[int, Field(ge=2)] = 35
    """Tokens in a window, through which gradients are backpropagated."""
    decoding: Annotated[DecodingConfig, AfterValidator(SAMPLING.override)] = SAMPLING
