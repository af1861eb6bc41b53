"""Sections for tasks that read text."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from unroll.config.section import Section, TaskSection


class TokenizerConfig(Section):
    """How text is split into tokens. The vocabulary is fitted on the training split."""

    kind: Literal["word", "bpe", "split"]
    """`word`: words and punctuation marks; `bpe`: byte-pair encoding within words; `split`: split at white space."""
    vocabulary_size: Annotated[int, Field(ge=10, le=50_000)] = 10_000
    """Maximum number of tokens, special tokens included."""
    min_count: Annotated[int, Field(ge=1)] = 1
    """Tokens that occur less often in training become [UNK]."""
    lowercase: bool = False
    placeholders: bool = False
    """Replace numbers by [NUM] and URLs by [URL]; for kind `word`."""

    @model_validator(mode="after")
    def _by_words(self) -> Self:
        if self.placeholders and self.kind != "word":
            raise ValueError(f"placeholders need tokenizer kind word, not {self.kind}")
        return self


class TextTask(TaskSection):
    """Base of the sections of tasks that read the tokens of a text."""

    tokenizer: TokenizerConfig
    max_tokens: Annotated[int, Field(ge=1)]
    """Maximum number of tokens that the model reads."""
    truncation: bool = True
    """Truncate longer texts and count them; with false, a longer text is an error."""
    vectors: str | None = None
    """GloVe or word2vec text file below data/own, for embeddings with `init: pretrained`."""

    @model_validator(mode="after")
    def _vectors_of_words(self) -> Self:
        if self.vectors is not None and self.tokenizer.kind == "bpe":
            raise ValueError("vectors need a tokenizer of kind word or split, not bpe")
        return self
