"""Turn texts into token ids, and find those that cannot be scored."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from unroll.features.special_tokens import PAD, UNK
from unroll.features.text_files import one_line
from unroll.inference.batches import SURROGATE
from unroll.inference.bundle import Bundle
from unroll.inference.card import TextInput, required

MAX_CHARACTERS = 1 << 18
"""Maximum number of characters of a text."""


def encode(ids: pa.Array, cells: Sequence[Any], first: int, bundle: Bundle) -> pa.RecordBatch:
    """Encode a batch of texts as the graph reads them.

    Args:
        ids: An id for each cell.
        cells: Texts; if the card has `pretokenized`, also lists of tokens; None for a missing one.
        first: Row number of the first cell.
        bundle: Bundle whose card has the settings, with the vocabularies.

    Returns:
        row_id, row int64, text string (as in the file), inputs list<int64> (a row's tokens, each with its characters if
        the card has some), truncated bool, and reason string: why a row cannot be scored, or null. For a cell that is
        not text, not proper Unicode, or too long, text is null and the reason shows its beginning.
    """
    spec = required(bundle.card.text)
    faults = {row: fault for row, cell in enumerate(cells) if (fault := _fault(cell, spec))}
    cells = [None if row in faults else cell for row, cell in enumerate(cells)] if faults else cells
    text = pa.array([" ".join(cell) if isinstance(cell, list) else cell for cell in cells], pa.string())
    vocabulary = bundle.vocabularies[spec.vocabulary]
    found: Sequence[Sequence[Any]]
    found = (
        _encode_tokens(cells, spec, bundle) if spec.pretokenized else vocabulary.encode([one or "" for one in cells])
    )
    reasons = [
        faults.get(row) or _reason(cell, len(tokens), spec)
        for row, (cell, tokens) in enumerate(zip(cells, found, strict=True))
    ]
    before = [] if spec.first_token is None else [spec.first_token]
    inputs = [
        [] if reason else [*before, *tokens[: spec.max_tokens]] for tokens, reason in zip(found, reasons, strict=True)
    ]
    truncated = [not reason and len(tokens) > spec.max_tokens for tokens, reason in zip(found, reasons, strict=True)]
    return pa.record_batch(
        {
            "row_id": ids,
            "row": pa.array(range(first, first + len(cells)), pa.int64()),
            "text": text,
            "inputs": _lists(inputs),
            "truncated": pa.array(truncated, pa.bool_()),
            "reason": pa.array(reasons, pa.string()),
        }
    )


def _fault(cell: Any, spec: TextInput) -> str | None:
    """Return why a cell is not readable text; None if it is."""
    words = cell if isinstance(cell, list) and spec.pretokenized else [cell]
    if cell is None or all(isinstance(word, str) for word in words):
        size = sum(len(word or "") for word in words)
        if size > MAX_CHARACTERS:
            return f"{spec.column} has {size:,} characters; a text may have {MAX_CHARACTERS:,}"
        half = next((char for word in words for char in SURROGATE.findall(word or "")), None)
        return half and f"{spec.column} has U+{ord(half):04X}, which is half of a surrogate pair, not a character"
    return f"{spec.column} is {str(cell)[:60]!r} ({type(cell).__name__}), expected text"


def _encode_tokens(cells: Sequence[str | list[str] | None], spec: TextInput, bundle: Bundle) -> Sequence[Sequence[Any]]:
    """Return, for each token of each row, its id and those of its first characters."""
    rows = [cell.split() if isinstance(cell, str) else cell or [] for cell in cells]
    flat = [one_line(token) for row in rows for token in row]
    numbers = [one[0] if len(one) == 1 else UNK for one in bundle.vocabularies[spec.vocabulary].encode(flat)]
    found = [[number] for number in numbers]
    if spec.character_vocabulary is not None:
        spelled = bundle.vocabularies[spec.character_vocabulary].encode(
            [" ".join(one[: spec.characters]) for one in flat]
        )
        for number, characters in zip(found, spelled, strict=True):
            number += [*characters, *[PAD] * (spec.characters - len(characters))]
    whole = iter(found)
    return [[next(whole) for _ in row] for row in rows]


def _reason(cell: str | list[str] | None, tokens: int, spec: TextInput) -> str | None:
    if cell is None:
        return "the text is missing"
    if not tokens:
        return "the text has no tokens"
    if tokens > spec.max_tokens and not spec.truncation:
        return f"the text has {tokens:,} tokens, the model reads at most {spec.max_tokens:,}"
    return None


def _lists(rows: Sequence[Sequence[Any]]) -> pa.Array:
    """Return list<int64>: each row's ids, those of a token one after the other."""
    flat = list(chain.from_iterable(rows))
    values = np.array(flat, np.int64).reshape(-1)
    width = len(flat[0]) if flat and isinstance(flat[0], list) else 1
    ends = np.cumsum([0, *(len(row) * width for row in rows)])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(values))
