"""Token sequences compared: trimming, edit distance, groups by length."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll.features.special_tokens import EOS, IGNORE_INDEX, PAD


def written(ids: NDArray[np.int64]) -> list[list[int]]:
    """Rows of token numbers → those before `<eos>` or padding.

    Example:
        [[7, 8, EOS, PAD], [9, EOS, IGNORE_INDEX, IGNORE_INDEX]] → [[7, 8], [9]]
    """
    ends = np.isin(ids, (EOS, PAD, IGNORE_INDEX))
    lengths = np.where(ends.any(1), ends.argmax(1), ids.shape[1])
    return [row[:length].tolist() for row, length in zip(ids, lengths, strict=True)]


def ended(rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Rows of token numbers → int64 [row, time] with `<eos>` after each and padding after that."""
    table = np.full((len(rows), max(map(len, rows), default=0) + 1), PAD, np.int64)
    for place, row in enumerate(rows):
        table[place, : len(row) + 1] = [*row, EOS]
    return table


def edit_distance(one: Sequence[int], other: Sequence[int]) -> int:
    """Fewest insertions, deletions and substitutions that turn one sequence into the other (Levenshtein 1966)."""
    above = list(range(len(other) + 1))
    for row, left in enumerate(one, start=1):
        current = [row]
        for column, right in enumerate(other):
            current.append(min(above[column + 1] + 1, current[column] + 1, above[column] + (left != right)))
        above = current
    return above[-1]


def by_group(groups: Mapping[str, NDArray[np.bool_]], figures: Any) -> dict[str, Any]:
    """Figures of parts of the rows: name → `figures(mask)`; a part without rows is left out."""
    return {name: figures(inside) for name, inside in groups.items() if inside.any()}


def length_groups(lengths: NDArray[Any], ends: Sequence[int]) -> dict[str, NDArray[np.bool_]]:
    """Rows by length: `1-5`, `6-10`, … and `over 50`, say, as masks; groups without rows are left out."""
    groups, first = {}, 1
    for end in ends:
        groups[f"{first}-{end}"] = (lengths >= first) & (lengths <= end)
        first = end + 1
    groups[f"over {ends[-1]}"] = lengths > ends[-1]
    return {name: inside for name, inside in groups.items() if inside.any()}
