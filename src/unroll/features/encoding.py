"""Texts as token numbers, within the limits of a task."""

import itertools
from collections.abc import Iterable, Sequence, Sized
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.config.tokenizer import TextTask
from unroll.errors import DataError
from unroll.features.text import TokenArray, Vocabulary

OVER_MAX_TOKENS = "over max_tokens"
"""Why a text is truncated, in the notes of samples."""
_TEXTS_AT_ONCE = 256
"""Texts per call of the tokenizer, which returns a hundred bytes for each token."""


def encode(
    vocabulary: Vocabulary,
    texts: Sequence[str],
    table: pa.Table,
    side: str,
    section: TextTask,
    name: str,
) -> tuple[list[TokenArray], NDArray[np.bool_]]:
    """Return the token numbers of each text, truncated to the limit of the task.

    Args:
        vocabulary: Vocabulary of the texts.
        texts: A text for each row.
        table: Table with `row_id`, for error messages.
        side: What the texts are, for error messages.
        section: Parameters of the task.
        name: Name of the task, for error messages.

    Returns:
        The token numbers, and a mask of the truncated rows.

    Raises:
        DataError: A text has no tokens, or too many without truncation.
    """
    ids = token_arrays(vocabulary, texts)
    rows = table["row_id"].to_numpy()
    refuse_empty(ids, texts, rows, side, name)
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    too_long = lengths > section.max_tokens
    if too_long.any() and not section.truncation:
        row = int(too_long.argmax())
        raise DataError(
            f"tasks.{name}: the {side} of row {rows[row]} has {lengths[row]} tokens, but max_tokens is "
            f"{section.max_tokens} ({too_long.sum():,} rows have more, at most {lengths.max()}): raise max_tokens, "
            "shorten the rows, or set truncation: true"
        )
    return [row[: section.max_tokens] for row in ids], too_long


def token_arrays(vocabulary: Vocabulary, texts: Iterable[str]) -> list[TokenArray]:
    """Return the token numbers of each text, without `<bos>` and `<eos>`, int32 [token]."""
    remaining, found = iter(texts), []
    while some := list(itertools.islice(remaining, _TEXTS_AT_ONCE)):
        found += [np.array(row, np.int32) for row in vocabulary.encode(some)]
    return found


def refuse_empty(ids: Sequence[Sized], texts: Sequence[str], rows: NDArray[Any], side: str, name: str) -> None:
    """Raise DataError for the first text without a token."""
    for one, text, row in zip(ids, texts, rows, strict=True):
        if not len(one):
            raise DataError(
                f"tasks.{name}: the {side} of row {row} is empty: {text!r} has no token; remove the row from the data"
            )
