"""Labels of images as numbers from 0, and their names."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.domains.digits.config import DigitDataset
from unroll.errors import FormatError

_MOST = 1 << 16


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
    cells = [(where, row, value) for where, labels in parts for row, value in enumerate(_values(labels))]
    for where, row, value in cells:
        if value is None or value == "":
            raise FormatError(f"{where}, row {row}: the label is missing; remove the image")
    whole = [_whole(value) for _, _, value in cells]
    declared = list(section.labels) if section.labels else None
    if any(number is None for number in whole) or (declared and {str(value) for _, _, value in cells} <= {*declared}):
        found = [str(value).strip() for _, _, value in cells]
        names = declared or sorted(set(found))
        places = {name: number for number, name in enumerate(names)}
        for (where, row, value), name in zip(cells, found, strict=True):
            if name not in places:
                raise FormatError(f"{where}, row {row}: found the label {value!r}, expected one of {', '.join(names)}")
        return np.array([places[name] for name in found], np.int64), names
    numbers = np.array(whole, np.int64)
    if declared:
        numbers = numbers - _first(numbers, len(declared), section.first_label)
    for place in np.flatnonzero((numbers < 0) | (numbers >= (len(declared) if declared else _MOST)))[:1]:
        where, row, value = cells[int(place)]
        expected = f"a number for each of the {len(declared)} names in `labels`" if declared else f"0 to {_MOST - 1}"
        raise FormatError(f"{where}, row {row}: found the label {value}, expected {expected}")
    return numbers, declared


def _values(labels: pa.Array | None) -> list[object]:
    return [] if labels is None else [one.strip() if isinstance(one, str) else one for one in labels.to_pylist()]


def _whole(value: object) -> int | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() else None


def _first(numbers: NDArray[np.int64], classes: int, given: int | None) -> int:
    """Return the number of the first class: 0 or 1, as EMNIST's letters have it."""
    if given is not None:
        return given
    if (numbers == 0).any():
        return 0
    if (numbers == classes).any():
        return 1
    raise FormatError(
        f"labels are {numbers.min()} to {numbers.max()}, and `labels` has {classes} names: set `first_label` to 0 or "
        "1, the number of the first name"
    )
