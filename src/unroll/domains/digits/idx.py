"""IDX files, the format of the official digits: magic number, sizes, bytes; gzipped or not.

Source: LeCun, Cortes and Burges, The MNIST database, "File formats": big-endian int32 magic 0x00000801 (labels) or
0x00000803 (images), then the size of each axis as int32, then one unsigned byte a value.
"""

import gzip
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from unroll.errors import FormatError
from unroll.sources.packed import is_packed, open_plain

IMAGES = 0x00000803
LABELS = 0x00000801
SIDE = 28
"""Pixels of an image's side."""

_NAMES = {IMAGES: "images", LABELS: "labels"}
# What gzip raises for a file that was cut short or altered.
_BROKEN = (EOFError, gzip.BadGzipFile, zlib.error)


def is_idx(head: bytes) -> bool:
    """Whether a file with these first (unpacked) bytes is meant to be IDX."""
    return head[:2] == b"\x00\x00"


def read_plain(file: BinaryIO, size: int, path: Path) -> bytes:
    """Reads up to `size` bytes.

    Raises:
        FormatError: The gzip stream is cut short or altered.
    """
    try:
        return file.read(size)
    except _BROKEN as error:
        raise FormatError(
            f"{path} is a truncated or damaged gzip file ({' '.join(str(error).split())}): fetch it again"
        ) from None


def iter_idx_images(path: Path, rows: int) -> Iterator[np.ndarray]:
    """Reads an IDX file of 28 × 28 images a few at a time; memory does not grow with the file.

    Args:
        path: Gzipped or not.
        rows: Images at a time, at least 1.

    Yields:
        uint8 [n, 28, 28], n = rows but for the last one.

    Raises:
        FormatError: The magic number or the sizes do not fit, or there are fewer or more bytes than promised; for a
            gzipped file this may show only after its last whole images were yielded.
    """
    for part in _iter_idx(path, IMAGES, rows):
        yield part.reshape(-1, SIDE, SIDE)


def read_idx_labels(path: Path) -> np.ndarray:
    """Reads an IDX file of labels: uint8 [n].

    Raises:
        FormatError: As `iter_idx_images`.
    """
    return np.concatenate(list(_iter_idx(path, LABELS, 1 << 16)))


def magic_of(path: Path) -> int:
    """The first four bytes as a number.

    Raises:
        FormatError: Shorter than that, or a damaged gzip file.
    """
    with open_plain(path) as file:
        return int.from_bytes(_exactly(file, 4, path, "the magic number"), "big")


def _iter_idx(path: Path, magic: int, rows: int) -> Iterator[np.ndarray]:
    with open_plain(path) as file:
        found = int.from_bytes(_exactly(file, 4, path, "the magic number"), "big")
        if found != magic:
            known = f", which is the one of {_NAMES[found]}" if found in _NAMES else ""
            raise FormatError(
                f"{path}: the magic number is 0x{found:08x}{known}; IDX {_NAMES[magic]} have 0x{magic:08x}"
            )
        axes = magic & 0xFF
        sizes = np.frombuffer(_exactly(file, 4 * axes, path, "the sizes"), ">u4").tolist()
        count, item = sizes[0], math.prod(sizes[1:])
        if magic == IMAGES and sizes[1:] != [SIDE, SIDE]:
            raise FormatError(f"{path}: images of {sizes[1]} × {sizes[2]} pixels, expected {SIDE} × {SIDE}")
        if count == 0:
            raise FormatError(f"{path} promises no {_NAMES[magic]}: it is an empty IDX file")
        if not is_packed(path):
            size, promised = path.stat().st_size, 4 + 4 * axes + count * item
            if size != promised:
                raise FormatError(
                    f"{path} promises {count:,} {_NAMES[magic]}, which are {promised:,} bytes; it has {size:,}: "
                    + ("it is truncated, fetch it again" if size < promised else "its count does not fit")
                )
        done = 0
        while done < count:
            wanted = min(rows, count - done)
            content = read_plain(file, wanted * item, path)
            if len(content) < wanted * item:
                held = done + len(content) // item
                raise FormatError(
                    f"{path} promises {count:,} {_NAMES[magic]} and holds {held:,}: its count does not fit"
                )
            done += wanted
            yield np.frombuffer(content, np.uint8)
        if read_plain(file, 1, path):
            raise FormatError(f"{path} promises {count:,} {_NAMES[magic]} and holds more: its count does not fit")


def _exactly(file: BinaryIO, size: int, path: Path, what: str) -> bytes:
    content = read_plain(file, size, path)
    if len(content) < size:
        raise FormatError(f"{path} ends within {what}: it is truncated, or no IDX file")
    return content
