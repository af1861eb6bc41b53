"""Where the pages of a Parquet file lie and what each unpacks to, read before anything is unpacked.

The footer tells sizes, too, but nothing holds a file to them; a page, however, cannot become more than its own header
says without an error. The footer is read here and not by pyarrow, whose accessors end the process where its statistics
do not fit together (25.0.1: `Definition level histogram size mismatch`).

Source: Apache Parquet, parquet.thrift: `FileMetaData`, `PageHeader`.
"""

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from unroll.errors import FormatError
from unroll.inference.thrift import Cursor

DELTA_BYTE_ARRAY = 7
"""Encoding in which a value may repeat all of the one before it in no space at all."""
FOOTER = 1 << 21
"""Bytes of a footer that is read. A column of a row group takes about 100, and Arrow makes some 600 of 3."""

_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
_WINDOWS = (1 << 9, 1 << 14, 1 << 20)
"""Bytes that are taken for a page's header; the next where it does not end within: it may hold the least and greatest
value."""
_CODECS = ("none", "snappy", "gzip", "lzo", "brotli", "lz4", "zstd", "lz4_raw")
"""By Parquet's numbers, as Arrow calls them."""


@dataclass(frozen=True)
class Chunk:
    """A column of a row group, as the footer has it.

    Attributes:
        start: Offset of its first page.
        size: Its bytes.
        values: Their number.
        codec: What its pages are packed with.
    """

    start: int
    size: int
    values: int
    codec: str


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes:
        start: Offset of its content, after the header.
        packed: Its bytes in the file.
        unpacked: Its bytes in memory.
        values: That it promises; 0 of a dictionary.
        encoding: Parquet's number of it.
        levels: Bytes of a list column's repetition levels, which stand before all else and unpacked; None where they
            are packed with the rest.
    """

    start: int
    packed: int
    unpacked: int
    values: int
    encoding: int
    levels: int | None


def require_small_footer(path: Path) -> None:
    """Raises FormatError where the footer is missing, or larger than is read."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 8))
        end = file.read(8)
    length = int.from_bytes(end[:4], "little")
    if end[4:] != b"PAR1" or length + 12 > size:
        raise FormatError(f"{path} cannot be read after row 0: it does not end as a Parquet file does; it is cut short")
    if length > FOOTER:
        raise FormatError(
            f"{path} has a footer of {length:,} bytes, of which {FOOTER:,} are read; write fewer row groups or columns"
        )


def chunks(path: Path, leaves: Collection[int]) -> list[dict[int, Chunk]]:
    """Some columns of each row group, by their places among all columns that are no groups.

    Raises:
        FormatError: The footer is damaged.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(size - 8)
        length = int.from_bytes(file.read(4), "little")
        file.seek(size - 8 - length)
        cursor = Cursor(file.read(length))
    found: list[dict[int, Chunk]] = []
    try:
        for number, kind in cursor.fields():
            if number != 4:
                cursor.skip(kind)
                continue
            found += [_row_group(cursor, leaves) for _ in cursor.items()]
    except (IndexError, ValueError) as error:
        raise FormatError(f"{path} has a damaged footer: {error}; write it again") from None
    if any(set(group) != set(leaves) for group in found):
        raise FormatError(f"{path} has a row group that lacks a column; write it again")
    return found


def _row_group(cursor: Cursor, leaves: Collection[int]) -> dict[int, Chunk]:
    found = {}
    for number, kind in cursor.fields():
        if number != 1:
            cursor.skip(kind)
            continue
        for leaf, item in enumerate(cursor.items()):
            if leaf not in leaves:
                cursor.skip(item)
                continue
            for field, inner in cursor.fields():
                if field == 3:
                    found[leaf] = _chunk(cursor)
                else:
                    cursor.skip(inner)
    return found


def _chunk(cursor: Cursor) -> Chunk:
    """Of `ColumnMetaData`: 4 codec, 5 values, 7 bytes, 9 and 11 offsets of the first page and of the dictionary."""
    told = dict.fromkeys((4, 5, 7, 9, 11), 0)
    for number, kind in cursor.fields():
        if number in told:
            told[number] = cursor.whole(kind)
        else:
            cursor.skip(kind)
    start = told[11] if 0 < told[11] < told[9] else told[9]
    if min(told.values()) < 0 or told[4] >= len(_CODECS):
        raise ValueError("a column of less than nothing")
    return Chunk(start, told[7], told[5], _CODECS[told[4]])


def pages(file: BinaryIO, chunk: Chunk, what: str) -> Iterator[Page]:
    """Headers of a chunk's pages, up to the one that has the last of its values: a reader stops there, too.

    Args:
        file: Of which this moves the position.
        chunk: The column of a row group.
        what: It in messages, with its file.

    Raises:
        FormatError: A header is damaged.
    """
    start, end, seen = chunk.start, chunk.start + chunk.size, 0
    while start < end and seen < chunk.values:
        page = _page(file, start, what)
        yield page
        start = page.start + page.packed
        seen += page.values


def _page(file: BinaryIO, start: int, what: str) -> Page:
    for window in _WINDOWS:
        file.seek(start)
        cursor = Cursor(file.read(window))
        try:
            return _header(cursor, start)
        except IndexError:
            continue
        except ValueError:
            break
    raise FormatError(f"{what}: no page begins at byte {start:,}; the file is damaged, write it again")


def _header(cursor: Cursor, start: int) -> Page:
    """Of `PageHeader`: 1 kind, 2 and 3 sizes, then one structure for each kind."""
    told = {1: -1, 2: -1, 3: -1}
    inner: dict[int, dict[int, int]] = {}
    wanted = {5: (1, 2), 7: (1, 2), 8: (1, 4, 6)}
    for number, kind in cursor.fields():
        if number in told:
            told[number] = cursor.whole(kind)
        elif number in wanted:
            inner[number] = {}
            for field, one in cursor.fields():
                if field in wanted[number]:
                    inner[number][field] = cursor.whole(one)
                else:
                    cursor.skip(one)
        else:
            cursor.skip(kind)
    kind, unpacked, packed = told[1], told[2], told[3]
    about = inner.get({_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}.get(kind, 0), {})
    if unpacked < 0 or packed < 0 or min(about.values(), default=0) < 0:
        raise ValueError("a page of less than nothing")
    return Page(
        start=start + cursor.at,
        packed=packed,
        unpacked=unpacked,
        values=about.get(1, 0) if kind in (_DATA, _DATA_V2) else 0,
        encoding=about.get(4 if kind == _DATA_V2 else 2, 0),
        levels=about.get(6, 0) if kind == _DATA_V2 else None,
    )
