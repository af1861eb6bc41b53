"""The published pickle of digits, read by an unpickler that allows numpy arrays and nothing else."""

import pickle
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unroll.domains.digits import idx
from unroll.errors import FormatError
from unroll.sources.packed import open_plain

if TYPE_CHECKING:
    from unroll.sources.fetch import Fetched

PIXELS = 784

_ROWS = 8192
_ALLOWED = {("numpy", "ndarray"), ("numpy", "dtype"), ("numpy._core.multiarray", "_reconstruct")}

# What the unpickler, gzip and numpy raise for a file that is damaged or has other content.
_UNPICKLING = (
    pickle.UnpicklingError,
    zlib.error,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    OSError,
    TypeError,
    ValueError,
)

Parts = dict[str, tuple[np.ndarray, np.ndarray]]
"""By split: pixels uint8 [image, 784] and labels uint8 [image]."""


class _ArraysOnly(pickle.Unpickler):
    """Allows numpy arrays and nothing else: a pickle can call any function of any module."""

    def find_class(self, module: str, name: str) -> Any:
        # numpy 2 moved numpy.core to numpy._core; the published file is older.
        module = module.replace("numpy.core.", "numpy._core.", 1)
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, only numpy arrays are allowed")
        return super().find_class(module, name)


def read_pickle(source: "Fetched") -> tuple[Parts, dict[str, Any]]:
    """Read the published pickle: three pairs (50,000, 10,000 and 10,000) of float32 images and int64 labels.

    The images are bytes divided by 256; the bytes are restored exactly. The first two pairs together are the official
    training images, in their official order.

    Raises:
        FormatError: The file was not checked against a SHA-256, is damaged, or has anything but such arrays.
    """
    path = source.path
    if not head(path).startswith(b"\x80"):
        raise FormatError(f"{path} is neither a pickle nor an IDX file, gzipped or not")
    if not source.verified:
        raise FormatError(f"{path} is a pickle, which is read only after a checksum: give its source a `sha256`")
    with open_plain(path) as file:
        try:
            # Python 2 wrote the file: its byte strings are read as latin-1.
            content = _ArraysOnly(file, encoding="latin-1").load()
        except _UNPICKLING as error:
            raise FormatError(f"{path} is not a pickle of numpy arrays: {' '.join(str(error).split())[:200]}") from None
        # Reading to the end makes gzip check the sum over the whole file.
        if idx.read_plain(file, 1, path):
            raise FormatError(f"{path} continues after the end of its pickle; fetch it again")
    pairs = [_pair(pair, number, path) for number, pair in enumerate(_sequence(content, 3, path, "the pickle"), 1)]
    images, labels = (np.concatenate(arrays) for arrays in zip(*pairs[:2], strict=True))
    record = {
        "format": "pickle of numpy arrays",
        "pixels": "float32 times 256, exactly the bytes 0-255",
        "rows": {"train": len(labels), "test": len(pairs[2][1])},
    }
    return {"train": (images, labels), "test": pairs[2]}, record


def head(path: Path) -> bytes:
    """Return the first bytes of a file, unpacked if it is gzipped."""
    with open_plain(path) as file:
        return idx.read_plain(file, 4, path)


def _sequence(value: Any, length: int, path: Path, what: str) -> Sequence[Any]:
    if not isinstance(value, tuple | list) or len(value) != length:
        size = f" of {len(value)}" if isinstance(value, tuple | list) else ""
        raise FormatError(f"{path}: {what} is a {type(value).__name__}{size}, expected a tuple of {length}")
    return value


def _pair(value: Any, number: int, path: Path) -> tuple[np.ndarray, np.ndarray]:
    images, labels = _sequence(value, 2, path, f"part {number}")
    where = f"{path}, part {number}"
    if not isinstance(images, np.ndarray) or images.dtype != np.float32 or images.shape[1:] != (PIXELS,):
        raise FormatError(f"{where}: images are {_described(images)}, expected float32 [n, {PIXELS}]")
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu" or labels.shape != (len(images),):
        raise FormatError(f"{where}: labels are {_described(labels)}, expected integers [{len(images)}]")
    pixels = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), _ROWS):
        scaled = images[start : start + _ROWS] * np.float32(256)
        rounded = np.rint(scaled)
        wrong = (rounded != scaled) | (rounded < 0) | (rounded > 255)
        if wrong.any():
            row, column = (int(place) for place in np.argwhere(wrong)[0])
            raise FormatError(
                f"{where}, image {start + row}, pixel {column}: {images[start + row, column]!s} times 256 is not a "
                "byte 0-255; the pixels are expected as bytes divided by 256"
            )
        pixels[start : start + _ROWS] = rounded
    outside = np.flatnonzero((labels < 0) | (labels > 255))
    if len(outside):
        raise FormatError(f"{where}, label {outside[0]}: found {labels[outside[0]]}, expected a digit 0-9")
    return pixels, labels.astype(np.uint8)


def _described(value: Any) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
