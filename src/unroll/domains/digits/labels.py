"""Labels of images as numbers from 0, and their names."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.domains.digits.config import DigitDataset
from unroll.errors import FormatError

_MOST = 1 << 16
_MISSING = "the label is missing; remove the image"


def numbered(
    parts: Sequence[tuple[str, pa.Array | None]], section: DigitDataset
) -> tuple[NDArray[np.int64], list[str] | None]:
    """Return the labels of all parts as numbers, and the names of the classes, if they have some.

    Numbers are kept as they are, except that those of `section.labels` count from 0. Names are numbered in the order of
    `section.labels`, or in that of the alphabet.

    Args:
        parts: Name of the file, and its labels, for each part of the data.
        section: Names of the classes.

    Raises:
        FormatError: A label is missing, is not one of `section.labels`, or is neither a whole number nor a name.
    """
    found = [(where, *coded(labels)) for where, labels in parts if labels is not None]
    _numbers(found, lambda value: None if value is None or value != value or not _text(value) else 0, _MISSING)
    values = [value for _, own, _ in found for value in own]
    declared = list(section.labels) if section.labels else None
    named = any(_whole(value) is None for value in values) or (declared and {*map(_text, values)} <= {*declared})
    if named:
        names = declared or sorted({*map(_text, values)})
        places = {name: number for number, name in enumerate(names)}
        return _numbers(found, lambda value: places.get(_text(value)), f"expected one of {', '.join(names)}"), names
    first = _first([_whole(value) or 0 for value in values], len(declared), section.first_label) if declared else 0
    count = len(declared) if declared else _MOST
    expected = f"a number for each of the {count} names in `labels`" if declared else f"0 to {_MOST - 1}"

    def number(value: object) -> int | None:
        whole = _whole(value)
        return whole - first if whole is not None and 0 <= whole - first < count else None

    return _numbers(found, number, f"expected {expected}"), declared


def coded(column: pa.Array) -> tuple[list[object], NDArray[np.int64]]:
    """Return the distinct values of a column, in the order in which they occur, and the place of each row's value."""
    found = column.dictionary_encode("encode")
    return found.dictionary.to_pylist(), found.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def _numbers(
    parts: Sequence[tuple[str, Sequence[object], NDArray[np.int64]]],
    number: Callable[[object], int | None],
    expected: str,
) -> NDArray[np.int64]:
    """Return the number of each row's value; an error for the first row whose value has none."""
    found = [np.empty(0, np.int64)]
    for where, values, places in parts:
        own = [number(value) for value in values]
        if None in own:
            fault = own.index(None)
            label = f"found the label {values[fault]!r}, " * (expected is not _MISSING)
            raise FormatError(f"{where}, row {(places == fault).argmax()}: {label}{expected}")
        found.append(np.array(own, np.int64)[places])
    return np.concatenate(found)


def _text(value: object) -> str:
    return str(value).strip()


def _whole(value: object) -> int | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() else None


def _first(numbers: Sequence[int], classes: int, given: int | None) -> int:
    """Return the number of the first class: 0 or 1, as EMNIST's letters have it."""
    if given is not None:
        return given
    if 0 in numbers:
        return 0
    if classes in numbers:
        return 1
    raise FormatError(
        f"labels are {min(numbers)} to {max(numbers)}, and `labels` has {classes} names: set `first_label` to 0 or "
        "1, the number of the first name"
    )
