"""Images from CSV and TSV: a row for each image, a column for each pixel."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from unroll.domains.digits.config import ImageSettings
from unroll.domains.digits.images import IDS, LABELS, Images, Size, as_bytes, side_of
from unroll.errors import FormatError
from unroll.sources.layouts import first_rows, layout_of
from unroll.sources.lines import encoding_of
from unroll.sources.packed import open_plain
from unroll.sources.tables import Layout

_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
_PLACE = re.compile(r"(\D*?)(\d+)(?:\D(\d+))?")
_BORDER = (0.0, 255.0)


@dataclass(frozen=True)
class _Columns:
    """Places of the columns; `pixels` in the order of the image."""

    pixels: list[int]
    ids: int | None = None
    label: int | None = None
    split: int | None = None


def read_csv_images(path: Path, settings: ImageSettings, size: Size | None, classes: int) -> Iterator[Images]:
    """Read images; see `images.read_images`."""
    layout, columns = _found(path, settings, size, classes)
    size = side_of(len(columns.pixels), size, path)
    others = [place for place in (columns.ids, columns.label, columns.split) if place is not None]
    for batch in _batches(path, layout, columns.pixels, others):
        values = np.empty((batch.num_rows, len(columns.pixels)), np.float32)
        for place in range(len(columns.pixels)):
            column = batch.column(place)
            values[:, place] = column.fill_null(np.nan).to_numpy() if column.null_count else column.to_numpy()
        parts = (
            None if place is None else batch.column(f"c{place}")
            for place in (columns.ids, columns.label, columns.split)
        )
        yield Images(size, *as_bytes(values), *parts)


def read_csv_ids(path: Path, settings: ImageSettings, size: Size, classes: int) -> Iterator[list[str]]:
    """Read the ids of a file that has some, without its pixels."""
    layout, columns = _found(path, settings, size, classes)
    for batch in _batches(path, layout, [], [place for place in (columns.ids,) if place is not None]):
        yield batch.column(0).to_pylist()


def _found(path: Path, settings: ImageSettings, size: Size | None, classes: int) -> tuple[Layout, _Columns]:
    layout = layout_of(path, settings, (*IDS, *LABELS), lambda rows: _has_header(rows, path))
    return layout, _columns(layout, first_rows(path, layout), size, classes, path)


def _batches(path: Path, layout: Layout, numbers: Sequence[int], texts: Sequence[int]) -> Iterator[pa.RecordBatch]:
    # Columns are renamed, because a header may repeat a name.
    own = [f"c{place}" for place in range(len(layout.names))]
    types = {own[place]: pa.float32() for place in numbers} | {own[place]: pa.string() for place in texts}
    options = {
        "read_options": pa_csv.ReadOptions(
            column_names=own,
            skip_rows=layout.skipped,
            skip_rows_after_names=int(layout.header),
            use_threads=False,
            encoding=encoding_of(path, layout.encoding),
        ),
        "parse_options": pa_csv.ParseOptions(
            delimiter=layout.separator,
            quote_char='"' if layout.quotes else False,
            newlines_in_values=True,
        ),
        "convert_options": pa_csv.ConvertOptions(
            column_types=types,
            include_columns=[*types],
            strings_can_be_null=False,
        ),
    }
    with open_plain(path) as stream, pa_csv.open_csv(stream, **options) as reader:
        yield from reader


def _has_header(rows: Sequence[Sequence[str]], path: Path) -> bool:
    """Return whether the first row has names: a cell that is no number, or the numbers of the columns."""
    first = [cell.strip() for cell in rows[0]]
    if any(cell and not _NUMBER.fullmatch(cell) for cell in first):
        return True
    numbers = [cell for cell in first[1:] if cell.isdecimal()]
    if len(numbers) < max(1, len(first) - 1):
        return False  # Holes and fractions are those of pixels.
    counted = [int(cell) for cell in numbers]
    if any(one + 1 != other for one, other in itertools.pairwise(counted)) or len(counted) < 2:
        return False
    if counted[-1] > 255:
        return True
    raise FormatError(
        f"{path}: its first row, {', '.join(first[:4])}, …, may be the numbers of the columns, or an image; set "
        "`header` to true or false"
    )


def _columns(layout: Layout, rows: Sequence[Sequence[str]], size: Size | None, classes: int, path: Path) -> _Columns:
    names = [name.lower() for name in layout.names]
    ids, label, split = (
        [place for place, name in enumerate(names) if name in known] for known in (IDS, LABELS, ("split",))
    )
    others = [place for place in range(len(names)) if place not in (*ids, *label, *split)]
    others = [place for place in others if not _is_index(place, names, layout, rows)]
    expected = size[0] * size[1] if size else None
    surplus = expected is not None and len(others) == expected + 1
    surplus = surplus or (expected is None and not _is_square(len(others)) and _is_square(len(others) - 1))
    if surplus and not label:
        label = [_label_place(others, rows, classes, path)]
        others.remove(label[0])
    if len(ids) > 1 or len(label) > 1 or (expected is not None and len(others) != expected):
        raise FormatError(
            f"{path} has {len(names)} columns, {len(others)} of them pixels; expected "
            f"{expected or 'one for each pixel'} pixel columns (row by row of the image), and optionally one of "
            f'{", ".join(IDS)} and one of {", ".join(LABELS)}; `column_names: [label, "*"]` says which is which'
        )
    pixels = _in_order(others, layout)
    return _Columns(pixels, *(found[0] if found else None for found in (ids, label, split)))


def _is_square(number: int) -> bool:
    return number > 0 and round(number**0.5) ** 2 == number


def _is_index(place: int, names: Sequence[str], layout: Layout, rows: Sequence[Sequence[str]]) -> bool:
    """Return whether a column is the index that pandas writes: the first one, unnamed, which counts the rows."""
    if place or not layout.header or names[0] not in ("", "unnamed: 0"):
        return False
    return [row[0].strip() for row in rows] == [str(number) for number in range(len(rows))]


def _label_place(others: Sequence[int], rows: Sequence[Sequence[str]], classes: int, path: Path) -> int:
    """Return which of the first and the last column has labels, where one column has no name and is no pixel."""
    candidates = []
    for place in (others[0], others[-1]):
        values = {float(row[place]) if _NUMBER.fullmatch(row[place]) else np.nan for row in rows}
        if all(value.is_integer() and 0 <= value <= classes for value in values):
            candidates.append((place, len(values) == 1 and next(iter(values)) in _BORDER))
    # A pixel in the corner is background, the same in all images.
    if len(candidates) == 2 and candidates[0][1] != candidates[1][1]:
        candidates = [one for one in candidates if not one[1]]
    if len(candidates) != 1:
        raise FormatError(
            f"{path} has one column more than pixels, without a name; if it is the label, set `column_names` to "
            '[label, "*"] or ["*", label]'
        )
    return candidates[0][0]


def _in_order(places: list[int], layout: Layout) -> list[int]:
    """Return pixel columns by the numbers in their names, as in pixel0, pixel1, pixel10, …, if all have one."""
    found = [_PLACE.fullmatch(layout.names[place]) for place in places]
    if not layout.header or not all(found) or len({one[1] for one in found if one}) != 1:
        return places
    numbers = [(int(one[2]), int(one[3] or 0)) for one in found if one]
    if len(set(numbers)) != len(numbers):
        return places
    return [place for _, place in sorted(zip(numbers, places, strict=True))]
