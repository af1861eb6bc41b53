"""Headers of a Parquet file's pages: what each unpacks to, read before anything is unpacked.

The footer tells sizes, too, but nothing holds a file to them; a page, however, cannot become more than its own header
says without an error.

Source: Apache Parquet, parquet.thrift, `PageHeader`; Apache Thrift, "Thrift Compact protocol encoding".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from unroll.errors import FormatError

DELTA_BYTE_ARRAY = 7
"""Encoding in which a value may repeat all of the one before it in no space at all."""

_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
_WINDOWS = (1 << 9, 1 << 14, 1 << 20)
"""Bytes that are taken for a header; the next where it does not end within: it may hold a page's least and greatest."""
_DEPTH = 4
"""Structures within each other; Parquet's headers have three."""


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes:
        start: Offset of its content in the file, after the header.
        packed: Its bytes in the file, without the header.
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


def pages(file: BinaryIO, start: int, size: int, values: int, what: str) -> Iterator[Page]:
    """Headers of one column chunk's pages.

    Args:
        file: Of which this may move the position.
        start: Offset of the chunk's first page.
        size: Bytes of the chunk.
        values: That the footer promises. Where the pages have as many, the chunk ends: a reader stops there, too.
        what: The chunk in messages, with its file.

    Raises:
        FormatError: A header is damaged.
    """
    end, seen = start + size, 0
    while start < end and seen < values:
        header, length = _header(file, start, what)
        kind, unpacked, packed = (header.get(field, -1) for field in (1, 2, 3))
        inner = header.get({_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}.get(kind, 0), {})
        if packed < 0 or unpacked < 0 or not isinstance(inner, dict):
            raise FormatError(f"{what}: the page at byte {start:,} is damaged; write the file again")
        count = max(0, inner.get(1, 0)) if kind in (_DATA, _DATA_V2) else 0
        is_second = kind == _DATA_V2
        levels = inner.get(6, 0) if is_second else None
        yield Page(start + length, packed, unpacked, count, inner.get(4 if is_second else 2, 0), levels)
        start += length + packed
        seen += count


def _header(file: BinaryIO, start: int, what: str) -> tuple[dict[int, Any], int]:
    """Fields of a page's header by number, and its bytes."""
    for window in _WINDOWS:
        file.seek(start)
        content = file.read(window)
        try:
            return _struct(content, 0, _DEPTH)
        except IndexError:
            continue
        except ValueError:
            break
    raise FormatError(f"{what}: no page begins at byte {start:,}; the file is damaged, write it again")


def _struct(content: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """Fields that hold whole numbers or structures, and where the structure ends.

    Raises:
        IndexError: It does not end within the content.
        ValueError: It is none.
    """
    if not depth:
        raise ValueError("too deep")
    fields: dict[int, Any] = {}
    number = 0
    while kind := content[at] & 0xF:
        step = content[at] >> 4
        at += 1
        if step:
            number += step
        else:
            number, at = _zigzag(content, at)
        fields[number], at = _value(content, at, kind, depth)
    return fields, at + 1


def _value(content: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (1, 2):  # true and false, in the field's own byte
        return kind == 1, at
    if kind == 3:
        return content[at], at + 1
    if kind in (4, 5, 6):
        return _zigzag(content, at)
    if kind == 8:  # bytes, of which none are needed
        length, at = _varint(content, at)
        content[at + length - 1 if length else at - 1]
        return None, at + length
    if kind == 12:
        return _struct(content, at, depth - 1)
    raise ValueError(f"a field of type {kind}")


def _zigzag(content: bytes, at: int) -> tuple[int, int]:
    """0, −1, 1, −2 … of 0, 1, 2, 3 …"""
    number, at = _varint(content, at)
    return (number >> 1) ^ -(number & 1), at


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first."""
    number = 0
    for shift in range(0, 70, 7):
        number |= (content[at] & 0x7F) << shift
        at += 1
        if content[at - 1] < 0x80:
            return number, at
    raise ValueError("a number of more than ten bytes")
