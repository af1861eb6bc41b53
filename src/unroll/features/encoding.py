"""Texts as token numbers, held to the limits of a task."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.config.tokenizer import TextTask
from unroll.errors import DataError
from unroll.features.text import Vocabulary


def encode(
    vocabulary: Vocabulary,
    texts: Sequence[str],
    table: pa.Table,
    side: str,
    task: TextTask,
    name: str,
) -> tuple[list[list[int]], NDArray[np.bool_]]:
    """Token numbers of each row, none longer than the task allows.

    Args:
        vocabulary: What cuts the texts.
        texts: One a row.
        table: Has `row_id`, for error messages.
        side: What the texts are, for error messages.
        task: Says the greatest length, and what to do beyond it.
        name: Of the task.

    Returns:
        The numbers, and which rows were cut.

    Raises:
        DataError: A text has no tokens, or is too long where that is refused.
    """
    ids = vocabulary.encode(texts)
    rows = table["row_id"].to_numpy()
    refuse_empty(ids, texts, rows, side, name)
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    too_long = lengths > task.max_tokens
    if too_long.any() and not task.truncation:
        row = int(too_long.argmax())
        raise DataError(
            f"tasks.{name}: the {side} of row {rows[row]} has {lengths[row]} tokens, max_tokens is {task.max_tokens} "
            f"(rows too long: {too_long.sum():,}, the longest {lengths.max()}): raise max_tokens, shorten the rows or "
            "set truncation: true"
        )
    return [row[: task.max_tokens] for row in ids], too_long


def refuse_empty(ids: Sequence[Sequence[int]], texts: Sequence[str], rows: NDArray[Any], side: str, name: str) -> None:
    """Raise DataError for the first text without a token."""
    for one, text, row in zip(ids, texts, rows, strict=True):
        if not one:
            raise DataError(
                f"tasks.{name}: the {side} of row {row} is empty: {text!r} has no token; take the row out of the data"
            )
