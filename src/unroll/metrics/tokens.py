"""Comparison of token sequences: removal of padding, edit distance, groups by length."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll.features.special_tokens import EOS, IGNORE_INDEX, PAD


def without_padding(ids: NDArray[np.int64]) -> list[list[int]]:
    """Return the token numbers of each row before `<eos>` or padding.

    Example:
        [[7, 8, EOS, PAD], [9, EOS, IGNORE_INDEX, IGNORE_INDEX]] → [[7, 8], [9]]
    """
    ends = np.isin(ids, (EOS, PAD, IGNORE_INDEX))
    lengths = np.where(ends.any(1), ends.argmax(1), ids.shape[1])
    return [row[:length].tolist() for row, length in zip(ids, lengths, strict=True)]


def with_eos(rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Return rows of token numbers as int64 [row, time], with `<eos>` and then padding after each."""
    table = np.full((len(rows), max(map(len, rows), default=0) + 1), PAD, np.int64)
    for padded, row in zip(table, rows, strict=True):
        padded[: len(row) + 1] = [*row, EOS]
    return table


def edit_distance(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the least number of insertions, deletions and substitutions between two sequences (Levenshtein 1966)."""
    above = list(range(len(other) + 1))
    for row, left in enumerate(one, start=1):
        current = [row]
        for column, right in enumerate(other):
            current.append(min(above[column + 1] + 1, current[column] + 1, above[column] + (left != right)))
        above = current
    return above[-1]


def by_group(groups: Mapping[str, NDArray[np.bool_]], score: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """Return the score of each group of rows, given as a mask; groups without rows are left out."""
    return {name: score(mask) for name, mask in groups.items() if mask.any()}


def length_groups(lengths: NDArray[Any], ends: Sequence[int]) -> dict[str, NDArray[np.bool_]]:
    """Group rows by length into `1-5`, `6-10`, …, `over 50`, as masks; groups without rows are left out."""
    groups, first = {}, 1
    for end in ends:
        groups[f"{first}-{end}"] = (lengths >= first) & (lengths <= end)
        first = end + 1
    groups[f"over {ends[-1]}"] = lengths > ends[-1]
    return {name: mask for name, mask in groups.items() if mask.any()}
