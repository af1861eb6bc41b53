"""Splits by chance in which rows that say the same, or nearly the same, stand together."""

import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.config.splits import ShareSplits
from unroll.errors import SplitError
from unroll.features.samples import Fold

Groups = NDArray[np.int64]
"""Number of each row's group, int64 [row]: 0, 1, … in the order of their first rows."""


class _LettersOnly(dict[int, int | None]):
    """For `str.translate`: drops punctuation, blanks, symbols and control characters; keeps letters, marks, digits."""

    def __missing__(self, code: int) -> int | None:
        self[code] = None if unicodedata.category(chr(code))[0] in "PZCS" else code
        return self[code]


_LETTERS_ONLY = _LettersOnly()


def normalized(text: str) -> str:
    """What two texts that say the same have in common: letters and digits without case, blanks and punctuation.

    A text of punctuation alone stays what it is.

    Example:
        "Go away!" and "Go, away" → "goaway"; "?!" → "?!".
    """
    return unicodedata.normalize("NFKC", text).casefold().translate(_LETTERS_ONLY) or text


def connected(rows: Iterable[Sequence[str]]) -> Groups:
    """Connected components: rows that share a key are in one group, and so are rows linked through others.

    Example:
        Rows (a, x), (b, x), (b, y), (c, z) → groups 0, 0, 0, 1: the first two share x, the next two b.
    """
    parents: list[int] = []
    first_with: dict[str, int] = {}
    for row, keys in enumerate(rows):
        parents.append(row)
        for key in keys:
            _join(parents, row, first_with.setdefault(key, row))
    return _numbered(parents)


def linked(count: int, pairs: Iterable[tuple[int, int]]) -> Groups:
    """The same for `count` rows of which these pairs belong together."""
    parents = list(range(count))
    for one, other in pairs:
        _join(parents, one, other)
    return _numbered(parents)


def _root(parents: list[int], row: int) -> int:
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row


def _join(parents: list[int], one: int, other: int) -> None:
    one, other = _root(parents, one), _root(parents, other)
    # The earlier row leads, so that a group's root is its first row.
    parents[max(one, other)] = min(one, other)


def _numbered(parents: list[int]) -> Groups:
    roots = np.array([_root(parents, row) for row in range(len(parents))], np.int64)
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)


def given_splits(table: pa.Table, task: str) -> NDArray[np.object_] | None:
    """The split of each row where the sources say it; None where none does.

    Raises:
        SplitError: Some rows have a split and others have none.
    """
    unknown = table["split"].null_count
    if unknown == table.num_rows:
        return None
    if unknown:
        raise SplitError(
            f"tasks.{task}: {unknown:,} of {table.num_rows:,} rows have no split and the others have one; "
            "give every source of the dataset a split, or none"
        )
    return np.array(table["split"].to_pylist(), object)


def required_splits(table: pa.Table, task: str) -> NDArray[np.object_]:
    """The split of each row, of data whose sources have to say it.

    Raises:
        SplitError: They do not.
    """
    splits = given_splits(table, task)
    if splits is None:
        raise SplitError(
            f"tasks.{task}: no row has a split; give each source of the dataset split: train, valid or test"
        )
    return splits


def share_fold(groups: Groups, given: NDArray[np.object_] | None, splits: ShareSplits) -> tuple[Fold, int]:
    """Parts rows by chance, each group in one split; or as given, without what would leak.

    Args:
        groups: Of each row.
        given: The split of each row, where it is given. Rows of training whose group stands in validation or test,
            too, and rows of validation whose group stands in test, are then left out. Without given rows for
            validation, some of training's are held out.
        splits: Shares of the rows, and the seed.

    Returns:
        The fold `all`, and how many rows were left out.
    """
    count = len(groups)
    if given is None:
        in_test = _drawn(groups, np.arange(count), round(splits.test_share * count), splits.seed)
        in_valid, in_train = np.zeros(count, bool), ~in_test
    else:
        in_test = given == "test"
        in_valid = (given == "valid") & ~np.isin(groups, groups[in_test])
        in_train = (given == "train") & ~np.isin(groups, groups[in_test | in_valid])
    left_out = count - int((in_train | in_valid | in_test).sum())
    if not in_valid.any():
        wanted = round(splits.valid_share * (count if given is None else int(in_train.sum())))
        in_valid = _drawn(groups, np.flatnonzero(in_train), wanted, splits.seed + 1)
        in_train &= ~in_valid
    return Fold("all", *(np.flatnonzero(part) for part in (in_train, in_valid, in_test))), left_out


def _drawn(groups: Groups, rows: NDArray[np.int64], wanted: int, seed: int) -> NDArray[np.bool_]:
    """Whole groups of some rows, drawn until `wanted` rows are together; a group that is too large is passed over."""
    sizes = np.bincount(groups[rows], minlength=int(groups.max(initial=-1)) + 1)
    chosen = np.zeros(len(sizes), bool)
    for group in np.random.default_rng(seed).permutation(np.flatnonzero(sizes)):
        if sizes[group] <= wanted:
            chosen[group] = True
            wanted -= sizes[group]
    found = np.zeros(len(groups), bool)
    found[rows] = chosen[groups[rows]]
    return found
