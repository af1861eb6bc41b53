"""Recordings as sequences of frames of features, each with a class: npz files read into one typed table.

Columns of the table: row_id int64 (0, 1, … in the order of the files), split string (the source's, or null), label
int64, frames list<fixed_size_list<float32>[features]>.
"""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from unroll.domains.recordings.config import RecordingDataset
from unroll.errors import FormatError
from unroll.features.text_files import files_of
from unroll.sources.ingested import Ingested

if TYPE_CHECKING:
    from unroll.sources.fetch import Fetched

_ARRAYS = ("X", "y", "lengths")
_EXPECTED = "X (frames × features), y (a class a recording) and lengths (frames a recording)"

Recordings = tuple[np.ndarray, np.ndarray, np.ndarray]
"""X float32 [frame, feature], y int64 [recording], lengths int64 [recording]."""


def schema(features: int) -> pa.Schema:
    """Return the table's columns, for frames of `features` numbers."""
    frame = pa.list_(pa.field("element", pa.float32(), nullable=False), features)
    return pa.schema(
        [
            ("row_id", pa.int64()),
            ("split", pa.string()),
            ("label", pa.int64()),
            ("frames", pa.list_(pa.field("element", frame, nullable=False))),
        ]
    )


def read_dataset(fetched: Sequence["Fetched"], section: RecordingDataset) -> Ingested:
    """Read every npz file of every source into one table.

    Raises:
        FormatError: A file is not an npz file of X, y and lengths, or the files differ in their number of features.
    """
    del section
    parts: list[Recordings] = []
    splits: list[str | None] = []
    records: list[dict[str, Any]] = []
    for source in fetched:
        described: list[dict[str, Any]] = []
        for path in files_of(source.path, (".npz",)):
            part, ignored = read_npz(path)
            frames, features = part[0].shape
            if parts and features != parts[0][0].shape[1]:
                raise FormatError(
                    f"{path} has {features} features a frame, the files before it {parts[0][0].shape[1]}; "
                    "all recordings of a dataset need the same"
                )
            parts.append(part)
            splits += [source.split] * len(part[1])
            about = {"rows": len(part[1]), "frames": frames, "features": features, "ignored_arrays": ignored}
            described.append({"file": path.name, **about})
        records.append({**source.record, "files": described})
    frames, labels, lengths = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Ingested(_table(frames, labels, lengths, splits), records)


def read_npz(path: Path) -> tuple[Recordings, list[str]]:
    """Return X, y and lengths of an npz file, and the names of its other arrays. Pickled objects are never read.

    Raises:
        FormatError: It is not an npz file, or its arrays are not as expected.
    """
    # Of a file that is not an archive, numpy assumes that it is an array or a pickle.
    if not zipfile.is_zipfile(path):
        raise FormatError(f"{path} is not an npz file (numpy.savez); expected: {_EXPECTED}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in _ARRAYS if name not in archive.files]
            if missing:
                raise FormatError(
                    f"{path}: found the arrays {', '.join(archive.files) or '(none)'}, but not {', '.join(missing)}; "
                    f"expected: {_EXPECTED}"
                )
            loaded = {name: archive[name] for name in _ARRAYS}
            ignored = sorted(set(archive.files) - set(_ARRAYS))
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split())[:200]
        raise FormatError(f"{path} has unreadable arrays ({reason}); save numbers, not objects: {_EXPECTED}") from None
    return _checked(path, **loaded), ignored


def _checked(path: Path, X: np.ndarray, y: np.ndarray, lengths: np.ndarray) -> Recordings:  # noqa: N803
    if X.ndim != 2 or X.dtype.kind not in "fiu" or X.shape[1] == 0:
        raise FormatError(f"{path}: X is {X.dtype} {list(X.shape)}, expected numbers [frame, feature]")
    for name, array in (("y", y), ("lengths", lengths)):
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise FormatError(
                f"{path}: {name} is {array.dtype} {list(array.shape)}, expected whole numbers [recording]"
            )
    if len(y) != len(lengths):
        raise FormatError(f"{path}: y has {len(y):,} classes, lengths {len(lengths):,} recordings; give one each")
    if not len(y):
        raise FormatError(f"{path} has no recordings: y and lengths are empty")
    if lengths.min() < 1:
        place = int(np.argmax(lengths < 1))
        raise FormatError(f"{path}: recording {place} (counted from 0) has {lengths[place]} frames; leave it out")
    if lengths.sum() != len(X):
        raise FormatError(f"{path}: lengths add up to {lengths.sum():,} frames, but X has {len(X):,}")
    return X.astype(np.float32, copy=False), y.astype(np.int64, copy=False), lengths.astype(np.int64, copy=False)


def _table(frames: np.ndarray, labels: np.ndarray, lengths: np.ndarray, splits: list[str | None]) -> pa.Table:
    kind = schema(frames.shape[1])
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    frame = kind.field("frames").type.value_type
    rows = pa.FixedSizeListArray.from_arrays(pa.array(frames.reshape(-1)), type=frame)
    columns = {
        "row_id": pa.array(np.arange(len(labels))),
        "split": pa.array(splits, pa.string()),
        "label": pa.array(labels),
        "frames": pa.ListArray.from_arrays(pa.array(ends), rows, type=kind.field("frames").type),
    }
    return pa.table(columns, schema=kind)
