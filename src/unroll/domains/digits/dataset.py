"""Labeled images of digits: the published pickle or the four official IDX files, read into one typed table.

Columns of the table: row_id int64 (0, 1, … in the order of the files, training images first), split string ("train"
or "test"), label uint8, pixels fixed_size_list<uint8>[784] (row by row, 0 = background).
"""

import pickle
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from unroll.domains.digits import idx
from unroll.domains.digits.config import DigitDataset
from unroll.errors import FormatError
from unroll.sources.ingested import Ingested
from unroll.sources.packed import open_plain

if TYPE_CHECKING:
    from unroll.sources.fetch import Fetched

PIXELS = idx.SIDE * idx.SIDE
SCHEMA = pa.schema(
    [
        ("row_id", pa.int64()),
        ("split", pa.string()),
        ("label", pa.uint8()),
        # Elements that cannot be null are read a quarter faster.
        ("pixels", pa.list_(pa.field("element", pa.uint8(), nullable=False), PIXELS)),
    ]
)
SPLITS = ("train", "test")

_ROWS = 8192
_OFFICIAL = {
    "train-images-idx3-ubyte": ("train", "images"),
    "train-labels-idx1-ubyte": ("train", "labels"),
    "t10k-images-idx3-ubyte": ("test", "images"),
    "t10k-labels-idx1-ubyte": ("test", "labels"),
}

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


def read_dataset(fetched: Sequence["Fetched"], section: DigitDataset) -> Ingested:
    """Read all sources of a dataset.

    They are either one pickle, or the four IDX files: in a folder under their official names, or as one source each,
    whose split is the source's `split` or given by the official name.

    Raises:
        FormatError: The files are of another format, or do not fit together.
    """
    del section
    if len(fetched) == 1 and fetched[0].path.is_file() and not _head(fetched[0].path).startswith(b"\0\0"):
        parts, record = read_pickle(fetched[0])
        return Ingested(_table(parts), [{**fetched[0].record, **record}])
    parts, records = _read_idx_files(fetched)
    return Ingested(_table(parts), records)


def read_pickle(source: "Fetched") -> tuple[Parts, dict[str, Any]]:
    """Read the published pickle: three pairs (50,000, 10,000 and 10,000) of float32 images and int64 labels.

    The images are bytes divided by 256; the bytes are restored exactly. The first two pairs together are the official
    training images, in their official order.

    Raises:
        FormatError: The file was not checked against a SHA-256, is damaged, or has anything but such arrays.
    """
    path = source.path
    if not _head(path).startswith(b"\x80"):
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


def _head(path: Path) -> bytes:
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


def _read_idx_files(fetched: Sequence["Fetched"]) -> tuple[Parts, list[dict[str, Any]]]:
    found: dict[tuple[str, str], Path] = {}
    records: list[dict[str, Any]] = []
    for source in fetched:
        names: dict[str, str] = {}
        for path in sorted(source.path.iterdir()) if source.path.is_dir() else [source.path]:
            role = _role(path, source.split, in_folder=source.path.is_dir())
            if role is None:
                continue
            if role in found:
                raise FormatError(f"{found[role]} and {path} would both be the {role[0]} {role[1]}; keep one of them")
            found[role] = path
            names[" ".join(role)] = path.name
        records.append({**source.record, "format": "IDX", "files": names})
    missing = [f"the {' '.join(role)} ({name})" for name, role in _OFFICIAL.items() if role not in found]
    if missing:
        there = ", ".join(path.name for path in found.values()) or "none"
        raise FormatError(f"IDX files are missing: {', '.join(missing)}; found: {there}")
    parts: Parts = {}
    for split in SPLITS:
        labels = idx.read_idx_labels(found[split, "labels"])
        images = [part.reshape(-1, PIXELS) for part in idx.iter_idx_images(found[split, "images"], _ROWS)]
        count = sum(len(part) for part in images)
        if count != len(labels):
            raise FormatError(
                f"{found[split, 'images']} has {count:,} images, {found[split, 'labels']} {len(labels):,} labels: "
                "they do not belong together"
            )
        parts[split] = (np.concatenate(images), labels)
    records[0]["rows"] = {split: len(parts[split][1]) for split in SPLITS}
    return parts, records


def _role(path: Path, split: str | None, *, in_folder: bool) -> tuple[str, str] | None:
    """Return split and kind of a file, by its official name or, for a source of its own, by split and magic number.

    In a folder, None for files with other names and for those of another split.
    """
    # Some copies have a `.` instead of the second `-`.
    official = _OFFICIAL.get(path.name.removesuffix(".gz").replace(".idx", "-idx"))
    if in_folder:
        return official if official and split in (None, official[0]) else None
    split = split or (official[0] if official else None)
    if split is None:
        raise FormatError(f"{path}: is it for training or for test? Give its source `split: train` or `split: test`")
    magic = idx.magic_of(path)
    if magic not in idx.KINDS:
        raise FormatError(
            f"{path}: the magic number is 0x{magic:08x}, expected 0x{idx.IMAGES:08x} (images) or 0x{idx.LABELS:08x} "
            "(labels)"
        )
    return split, idx.KINDS[magic]


def _table(parts: Parts) -> pa.Table:
    counts = {split: len(parts[split][1]) for split in SPLITS}
    pixels = [pa.FixedSizeListArray.from_arrays(pa.array(parts[split][0].reshape(-1)), PIXELS) for split in SPLITS]
    columns = {
        "row_id": np.arange(sum(counts.values())),
        "split": [split for split in SPLITS for _ in range(counts[split])],
        "label": np.concatenate([parts[split][1] for split in SPLITS]),
        "pixels": pa.chunked_array(pixels),
    }
    return pa.table(columns, schema=SCHEMA)
