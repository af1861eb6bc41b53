"""Random splits that keep nearly equal rows together."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.config.splits import ShareSplits
from unroll.errors import SplitError
from unroll.features.samples import Fold

Groups = NDArray[np.int64]
"""Group number of each row, int64 [row]: 0, 1, … in the order of the groups' first rows."""


Counts = dict[str, dict[str, int]]
"""Numbers of rows by split (`all` before the rows are split) and reason, for the notes of samples."""


class _LettersOnly(dict[int, int | None]):
    """Table for `str.translate` that drops everything but letters, combining marks and digits."""

    def __missing__(self, code: int) -> int | None:
        self[code] = None if unicodedata.category(chr(code))[0] in "PZCS" else code
        return self[code]


_LETTERS_ONLY = _LettersOnly()


def normalized(text: str) -> str:
    """Return the letters and digits of a text, case-folded, to find nearly equal texts.

    A text of punctuation alone is returned as it is.

    Example:
        "Go away!" and "Go, away" → "goaway"; "?!" → "?!".
    """
    return unicodedata.normalize("NFKC", text).casefold().translate(_LETTERS_ONLY) or text


def connected(rows: Iterable[Sequence[str]]) -> Groups:
    """Group rows that share a key, directly or through other rows (connected components).

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
    """Group `count` rows by the pairs that link them."""
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
    # The root of a group is its first row.
    parents[max(one, other)] = min(one, other)


def _numbered(parents: list[int]) -> Groups:
    roots = np.array([_root(parents, row) for row in range(len(parents))], np.int64)
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)


def given_splits(table: pa.Table, task: str) -> NDArray[np.object_] | None:
    """Return the split of each row, or None if no source has one.

    Raises:
        SplitError: Only some rows have a split.
    """
    unknown = table["split"].null_count
    if unknown == table.num_rows:
        return None
    if unknown:
        raise SplitError(
            f"tasks.{task}: {unknown:,} of {table.num_rows:,} rows have no split, but the others have one; "
            "set split for all sources of the dataset, or for none"
        )
    return np.array(table["split"].to_pylist(), object)


def required_splits(table: pa.Table, task: str) -> NDArray[np.object_]:
    """Return the split of each row of a dataset whose sources need one.

    Raises:
        SplitError: A row has no split.
    """
    splits = given_splits(table, task)
    if splits is None:
        raise SplitError(
            f"tasks.{task}: no row has a split; set split (train, valid or test) for each source of the dataset"
        )
    return splits


def share_fold(groups: Groups, given: NDArray[np.object_] | None, splits: ShareSplits) -> tuple[Fold, Counts]:
    """Split rows at random, each group into one split; or as given, without rows that would leak.

    Args:
        groups: Group of each row.
        given: Split of each row, or None. Training rows whose group is also in validation or test, and validation rows
            whose group is also in test, are left out. If no validation rows are given, some training rows are used.
        splits: Shares of the rows, and the seed.

    Returns:
        The fold `all`, and the number of rows left out by their split and the reason.
    """
    count = len(groups)
    if given is None:
        in_test = _draw(groups, np.arange(count), round(splits.test_share * count), splits.seed)
        in_valid, in_train = np.zeros(count, bool), ~in_test
    else:
        in_test = given == "test"
        in_valid = (given == "valid") & ~np.isin(groups, groups[in_test])
        in_train = (given == "train") & ~np.isin(groups, groups[in_test | in_valid])
    lost = ~(in_train | in_valid | in_test)
    left_out = {} if given is None else count_left_out(given, lost, "in another split too")
    if not in_valid.any():
        wanted = round(splits.valid_share * (count if given is None else int(in_train.sum())))
        in_valid = _draw(groups, np.flatnonzero(in_train), wanted, splits.seed + 1)
        in_train &= ~in_valid
    return Fold("all", *(np.flatnonzero(part) for part in (in_train, in_valid, in_test))), left_out


def count_left_out(given: NDArray[np.object_] | None, lost: NDArray[np.bool_], reason: str) -> Counts:
    """Count rows that are left out for a reason."""
    if given is None:
        return {"all": {reason: int(lost.sum())}} if lost.any() else {}
    return {
        part: {reason: int((lost & (given == part)).sum())}
        for part in ("train", "valid", "test")
        if (lost & (given == part)).any()
    }


def count_truncated(fold: Fold, masks: Mapping[str, NDArray[np.bool_]]) -> Counts:
    """Count the truncated rows of each split by the reasons that `masks` have."""
    counts = {
        part: {reason: int(mask[rows].sum()) for reason, mask in masks.items() if mask[rows].any()}
        for part, rows in (("train", fold.train), ("valid", fold.valid), ("test", fold.test))
    }
    return {part: reasons for part, reasons in counts.items() if reasons}


def _draw(groups: Groups, rows: NDArray[np.int64], wanted: int, seed: int) -> NDArray[np.bool_]:
    """Draw whole groups from some rows until there are `wanted` rows; groups that are too large are skipped."""
    sizes = np.bincount(groups[rows], minlength=int(groups.max(initial=-1)) + 1)
    chosen = np.zeros(len(sizes), bool)
    for group in np.random.default_rng(seed).permutation(np.flatnonzero(sizes)):
        if sizes[group] <= wanted:
            chosen[group] = True
            wanted -= sizes[group]
    found = np.zeros(len(groups), bool)
    found[rows] = chosen[groups[rows]]
    return found
