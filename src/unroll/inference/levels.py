"""Repetition levels of a Parquet column of lists: how many values the longest row has, before any is read.

Source: Apache Parquet, "Nested encoding" and "Run Length Encoding / Bit-Packing Hybrid": a value of level 0 begins a
row; levels stand at the beginning of each page, in runs of one level or of eight packed ones.
"""

from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.errors import FormatError
from unroll.inference.pages import Page

_ZEROS = [[place for place in range(8) if not byte >> place & 1] for byte in range(256)]
"""Of a byte, the lowest bit first."""
_ONE_PACKED = 0b11
"""Header of a run of eight packed levels."""
_MOST = 1 << 22
"""Rows of a page."""


def longest_row(file: BinaryIO, found: Sequence[Page], depth: int, codec: str, what: str) -> int:
    """Values of the longest row of a column chunk.

    Args:
        file: Of which this moves the position.
        found: The chunk's pages.
        depth: The column's highest repetition level.
        codec: What the pages are packed with, as Arrow calls it, or `none`.
        what: The chunk in messages, with its file.

    Raises:
        FormatError: A page is damaged, or packed in a way that is not known.
    """
    longest, begun, before = 0, 0, 0
    try:
        for page in found:
            if not page.values:
                continue
            starts = _starts(_levels(file, page, codec), page.values, depth.bit_length())
            if len(starts):
                inner = int(np.diff(starts).max(initial=0))
                longest = max(longest, before + int(starts[0]) - begun, inner)
                begun = before + int(starts[-1])
            before += page.values
    except (pa.ArrowException, OSError, KeyError, IndexError, OverflowError, ValueError) as error:
        raise FormatError(
            f"{what} has more values than are read unseen, and how they are shared among rows cannot be told "
            f"({type(error).__name__}: {error}); write smaller row groups, packed with zstd"
        ) from None
    return max(longest, before - begun)


def _levels(file: BinaryIO, page: Page, codec: str) -> bytes:
    """The packed levels of a page."""
    file.seek(page.start)
    if page.levels is not None:
        return file.read(page.levels)
    content = file.read(page.packed)
    if codec != "none":
        content = pa.Codec(codec).decompress(content, page.unpacked, asbytes=True)
    return content[4 : 4 + int.from_bytes(content[:4], "little")]


def _starts(content: bytes, values: int, bits: int) -> NDArray[np.int64]:
    """Places of the values that begin a row.

    Worked example: `03 02` is one packed run of eight levels, of one bit each, the lowest first: 0 1 0 0 0 0 0 0; all
    but the second begin a row. `0c 01` is a run of six levels 1: none does.
    """
    found: list[int] = []
    at = done = 0
    width = (bits + 7) // 8
    firsts: list[tuple[int, int]] = []
    while done < values:
        if content[at] == _ONE_PACKED and len(firsts) < 2:
            firsts.append((at, done))
            if len(firsts) == 2:
                at, done = _repeated(content, firsts, found, values)
                continue
        header = shift = 0
        while True:
            byte = content[at]
            at += 1
            header |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        count = header >> 1
        if not count:
            raise ValueError("a run of no levels")
        begins = not header & 1 and not any(content[at : at + width])
        if (header & 1 and 8 * count > _MOST) or len(found) + count * begins > _MOST:
            raise ValueError(f"a page of more than {_MOST:,} rows")
        if header & 1 and count == bits == 1:
            # The most frequent by far: where a row of more than eight values begins.
            found += [done + place for place in _ZEROS[content[at]]]
            at += 1
            done += 8
        elif header & 1:
            packed = np.frombuffer(content, np.uint8, count * bits, at)
            levels = np.unpackbits(packed, bitorder="little").reshape(-1, bits).max(axis=1)
            found += (done + np.flatnonzero(levels == 0)).tolist()
            at += count * bits
            done += 8 * count
        else:
            if begins:
                found += range(done, min(done + count, values))
            at += width
            done += count
    starts = np.array(found, np.int64)
    return starts[starts < values]


def _repeated(content: bytes, firsts: Sequence[tuple[int, int]], found: list[int], values: int) -> tuple[int, int]:
    """Takes at once what repeats itself, as rows of one size do, a thousand times a page.

    Args:
        content: Packed levels.
        firsts: (byte, value) at which a part begins, and at which it has ended.
        found: Places that begin a row, those of the part among them; gets those of its repetitions.
        values: Of the page.

    Returns:
        (byte, value) after the last repetition.
    """
    (at, done), (end, after) = firsts
    size, step = end - at, after - done
    told = np.frombuffer(content, np.uint8, offset=at)
    same = told[size:] == told[:-size]
    length = len(same) if same.all() else int(same.argmin())
    times = min(length // size, (values - after) // step, _MOST // max(1, len(found)))
    part = np.array([one for one in found if one >= done], np.int64)
    found += (part + step * np.arange(1, times + 1)[:, None]).ravel().tolist()
    return end + times * size, after + times * step
