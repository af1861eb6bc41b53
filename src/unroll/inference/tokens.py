"""Texts to token numbers, and which of them cannot be scored."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from unroll.datasets.text_files import normal, one_line
from unroll.errors import FormatError
from unroll.features.text import PAD, UNK
from unroll.inference.bundle import Bundle
from unroll.inference.card import TextInput, stated


def encoded(ids: pa.Array, cells: Sequence[Any], path: Path, first: int, bundle: Bundle) -> pa.RecordBatch:
    """One batch of texts, each as the graph reads it.

    Args:
        ids: As many as cells.
        cells: Texts; where the card's column is `tokens`, also lists of tokens; None where a row has none.
        path: For messages.
        first: Row number of the first.
        bundle: Its card says how, its vocabularies what.

    Returns:
        row_id, row int64, text string (as it stands in the file), inputs list<int64> (a row's tokens, each with its
        characters where the card has some), cut bool, and reason string: why a row cannot be scored, or null.

    Raises:
        FormatError: A cell is no text, or no proper Unicode.
    """
    spec = stated(bundle.card.text)
    for row, cell in enumerate(cells):
        if not _is_text(cell, spec):
            raise FormatError(
                f"{path}, row {first + row}: {spec.column} is {str(cell)[:60]!r} ({type(cell).__name__}), expected text"
            )
    text = _column([" ".join(cell) if isinstance(cell, list) else cell for cell in cells], path, first)
    found = _words(cells, spec, bundle) if spec.column == "tokens" else _numbers(cells, spec, bundle)
    reasons = [_reason(cell, len(tokens), spec) for cell, tokens in zip(cells, found, strict=True)]
    before = [] if spec.first_token is None else [spec.first_token]
    inputs = [
        [] if reason else [*before, *tokens[: spec.max_tokens]] for tokens, reason in zip(found, reasons, strict=True)
    ]
    cut = [not reason and len(tokens) > spec.max_tokens for tokens, reason in zip(found, reasons, strict=True)]
    return pa.record_batch(
        {
            "row_id": ids,
            "row": pa.array(range(first, first + len(cells)), pa.int64()),
            "text": text,
            "inputs": _lists(inputs),
            "cut": pa.array(cut, pa.bool_()),
            "reason": pa.array(reasons, pa.string()),
        }
    )


def _is_text(cell: Any, spec: TextInput) -> bool:
    if isinstance(cell, list) and spec.column == "tokens":
        return all(isinstance(token, str) for token in cell)
    return cell is None or isinstance(cell, str)


def _column(texts: Sequence[str | None], path: Path, first: int) -> pa.Array:
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:
        for row, text in enumerate(texts):
            # JSON can write half of a character outside the basic plane: "\ud83d".
            half = next((char for char in text or "" if "\ud800" <= char <= "\udfff"), None)
            if half:
                raise FormatError(
                    f"{path}, row {first + row}: U+{ord(half):04X} is half of a surrogate pair, no character; "
                    "write the file again as UTF-8"
                ) from None
        raise


def _numbers(cells: Sequence[str | None], spec: TextInput, bundle: Bundle) -> Sequence[Sequence[Any]]:
    """Token numbers of each text, brought to the form that it had in training."""
    clean = one_line if spec.column == "source" else normal
    return bundle.vocabularies[spec.vocabulary].encode([clean(cell) if cell else "" for cell in cells])


def _words(cells: Sequence[str | list[str] | None], spec: TextInput, bundle: Bundle) -> Sequence[Sequence[Any]]:
    """Of each token of each row: its number and those of its first characters."""
    rows = [cell.split() if isinstance(cell, str) else cell or [] for cell in cells]
    flat = [one_line(token) for row in rows for token in row]
    numbers = [one[0] if len(one) == 1 else UNK for one in bundle.vocabularies[spec.vocabulary].encode(flat)]
    found = [[number] for number in numbers]
    if spec.character_vocabulary is not None:
        spelt = bundle.vocabularies[spec.character_vocabulary].encode(
            [" ".join(one[: spec.characters]) for one in flat]
        )
        for number, characters in zip(found, spelt, strict=True):
            number += [*characters, *[PAD] * (spec.characters - len(characters))]
    whole = iter(found)
    return [[next(whole) for _ in row] for row in rows]


def _reason(cell: str | list[str] | None, tokens: int, spec: TextInput) -> str | None:
    """Why a row cannot be scored."""
    if cell is None:
        return "the text is missing"
    if not tokens:
        return "the text gives no token" if normal("".join(cell)) else "the text is empty"
    if tokens > spec.max_tokens and spec.too_long == "refuse":
        return f"the text has {tokens:,} tokens, the model reads at most {spec.max_tokens:,}"
    return None


def _lists(rows: Sequence[Sequence[Any]]) -> pa.Array:
    """list<int64> of each row's numbers, those of a token one after the other."""
    flat = list(chain.from_iterable(rows))
    values = np.array(flat, np.int64).reshape(-1)
    width = len(flat[0]) if flat and isinstance(flat[0], list) else 1
    ends = np.cumsum([0, *(len(row) * width for row in rows)])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(values))
