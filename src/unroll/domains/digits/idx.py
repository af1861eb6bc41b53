"""IDX files, the format of the official digits: a magic number, sizes, bytes; gzipped or not.

Source: LeCun, Cortes and Burges, The MNIST database, "File formats": big-endian int32 magic 0x00000801 (labels) or
0x00000803 (images), then the size of each axis as int32, then an unsigned byte for each value.
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
_MOST_PIXELS = 1 << 24

KINDS = {IMAGES: "images", LABELS: "labels"}
# What gzip raises for a file that is truncated or damaged.
_BROKEN = (EOFError, gzip.BadGzipFile, zlib.error)


def read_plain(file: BinaryIO, size: int, path: Path) -> bytes:
    """Read up to `size` bytes.

    Raises:
        FormatError: The gzip stream is truncated or damaged.
    """
    try:
        return file.read(size)
    except _BROKEN as error:
        raise FormatError(
            f"{path} is a truncated or damaged gzip file ({' '.join(str(error).split())}): fetch it again"
        ) from None


def iter_idx_images(path: Path, rows: int) -> Iterator[np.ndarray]:
    """Read an IDX file of images in batches; memory does not grow with the file.

    Args:
        path: Gzipped or not.
        rows: Images of a batch, at least 1.

    Yields:
        uint8 [image, height, width], with `rows` images, the last batch with fewer.

    Raises:
        FormatError: The magic number or the sizes are wrong, or there are fewer or more bytes than stated; in a
            gzipped file this may be found only after the last batch was yielded.
    """
    yield from _iter_idx(path, IMAGES, rows)


def read_idx_labels(path: Path) -> np.ndarray:
    """Read an IDX file of labels, uint8 [label].

    Raises:
        FormatError: As `iter_idx_images`.
    """
    return np.concatenate(list(_iter_idx(path, LABELS, 1 << 16)))


def magic_of(path: Path) -> int:
    """Return the first four bytes as a number.

    Raises:
        FormatError: The file is shorter, or a damaged gzip file.
    """
    with open_plain(path) as file:
        return int.from_bytes(_exactly(file, 4, path, "the magic number"), "big")


def _iter_idx(path: Path, magic: int, rows: int) -> Iterator[np.ndarray]:
    with open_plain(path) as file:
        found = int.from_bytes(_exactly(file, 4, path, "the magic number"), "big")
        if found != magic:
            known = f" ({KINDS[found]})" if found in KINDS else ""
            raise FormatError(
                f"{path}: the magic number is 0x{found:08x}{known}, expected 0x{magic:08x} ({KINDS[magic]})"
            )
        axes = magic & 0xFF
        sizes = np.frombuffer(_exactly(file, 4 * axes, path, "the sizes"), ">u4").tolist()
        count, item = sizes[0], math.prod(sizes[1:])
        if count == 0 or item == 0:
            raise FormatError(f"{path} states 0 {KINDS[magic] if item else 'pixels'}: it is an empty IDX file")
        if item > _MOST_PIXELS:
            raise FormatError(f"{path} states images of {item:,} pixels; it is damaged, or not an IDX file")
        if not is_packed(path):
            size, stated = path.stat().st_size, 4 + 4 * axes + count * item
            if size != stated:
                raise FormatError(
                    f"{path} states {count:,} {KINDS[magic]}, which are {stated:,} bytes; it has {size:,}"
                    + ("; it is truncated, fetch it again" if size < stated else "")
                )
        done = 0
        while done < count:
            wanted = min(rows, count - done)
            content = read_plain(file, wanted * item, path)
            if len(content) < wanted * item:
                held = done + len(content) // item
                raise FormatError(f"{path} states {count:,} {KINDS[magic]} but has {held:,}; fetch it again")
            done += wanted
            yield np.frombuffer(content, np.uint8).reshape(-1, *sizes[1:])
        if read_plain(file, 1, path):
            raise FormatError(f"{path} states {count:,} {KINDS[magic]} but has more; fetch it again")


def _exactly(file: BinaryIO, size: int, path: Path, what: str) -> bytes:
    content = read_plain(file, size, path)
    if len(content) < size:
        raise FormatError(f"{path} ends within {what}: it is truncated, or not an IDX file")
    return content
