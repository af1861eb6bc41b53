"""Recordings, each with a class: sound files, or npz files of frames of features, read into one typed table.

Columns of a table of features: row_id int64 (0, 1, … in the order of the files), split string (the source's, or null),
label int64, speaker string (null where no file names one), frames list<fixed_size_list<float32>[features]>. A table of
sound has labels that are strings, the file's name in its folder, and in place of the frames samples list<float32>; its
schema's metadata has the `sample_rate`.
"""

import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from unroll.domains.recordings.config import RecordingDataset
from unroll.domains.recordings.sound import SoundRows
from unroll.errors import FormatError
from unroll.features.text_files import files_of
from unroll.sources.forms import SOUND, is_sound
from unroll.sources.ingested import Ingested
from unroll.sources.sound import sound_files

if TYPE_CHECKING:
    from unroll.sources.fetch import Fetched

ENDINGS = (*SOUND, ".npz")
_ARRAYS = ("X", "y", "lengths")
_EXPECTED = "X (frames × features), y (a class a recording) and lengths (frames a recording)"
_LISTED = 100
"""Speakers up to whom ingest.json lists each with the number of recordings."""

Recordings = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]
"""X float32 [frame, feature], y int64 [recording], lengths int64 [recording], and speakers [recording] or None."""


def schema(features: int) -> pa.Schema:
    """Return the columns of a table of features, for frames of `features` numbers."""
    frame = pa.list_(pa.field("element", pa.float32(), nullable=False), features)
    return pa.schema(
        [
            ("row_id", pa.int64()),
            ("split", pa.string()),
            ("label", pa.int64()),
            ("speaker", pa.string()),
            ("frames", pa.list_(pa.field("element", frame, nullable=False))),
        ]
    )


def read_dataset(fetched: Sequence["Fetched"], section: RecordingDataset) -> Ingested:
    """Read every sound file, or every npz file, of every source into one table.

    Raises:
        FormatError: There are files of both kinds; a file is not as expected; too many sound files cannot be used; or
            some recordings have a speaker and others none.
    """
    kinds = {any(map(is_sound, sound_files(source.path))) for source in fetched}
    if len(kinds) > 1:
        raise FormatError("some sources are sound files, others are not; make a dataset of each kind")
    found = _read_sound(fetched, section) if kinds.pop() else _read_features(fetched)
    speakers = found.table["speaker"]
    if 0 < speakers.null_count < len(speakers):
        raise FormatError(
            f"{speakers.null_count:,} of {len(speakers):,} recordings have no speaker, the others have one; give all "
            "of them one, or none"
        )
    counts = Counter(speakers.drop_null().to_pylist())
    if not counts:
        note = "no recording has a speaker: a task with hold_out_speakers infers voices by clustering"
        return Ingested(found.table, found.sources, {**found.changes, "speakers": None}, [*found.notes, note])
    note = f"{len(counts):,} speakers, with {min(counts.values()):,} to {max(counts.values()):,} recordings each"
    listed = dict(sorted(counts.items())) if len(counts) <= _LISTED else len(counts)
    return Ingested(found.table, found.sources, {**found.changes, "speakers": listed}, [*found.notes, note])


def _read_sound(fetched: Sequence["Fetched"], section: RecordingDataset) -> Ingested:
    rows = SoundRows()
    records = [{**source.record, **rows.add(source, section)} for source in fetched]
    rows.check(section)
    return Ingested(rows.table(section), records, rows.changes(), rows.notes())


def _read_features(fetched: Sequence["Fetched"]) -> Ingested:
    parts: list[Recordings] = []
    splits: list[str | None] = []
    records: list[dict[str, Any]] = []
    for source in fetched:
        described: list[dict[str, Any]] = []
        for path in files_of(source.path, ENDINGS):
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
    return Ingested(_table(parts, splits), records)


def read_npz(path: Path) -> tuple[Recordings, list[str]]:
    """Return X, y, lengths and speaker of an npz file, and its other arrays' names. Pickled objects are never read.

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
            loaded["speaker"] = archive["speaker"] if "speaker" in archive.files else None
            ignored = sorted(set(archive.files) - loaded.keys())
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split())[:200]
        raise FormatError(f"{path} has unreadable arrays ({reason}); save numbers, not objects: {_EXPECTED}") from None
    return _checked(path, **loaded), ignored


def _checked(
    path: Path,
    X: np.ndarray,  # noqa: N803
    y: np.ndarray,
    lengths: np.ndarray,
    speaker: np.ndarray | None,
) -> Recordings:
    if X.ndim != 2 or X.dtype.kind not in "fiu" or X.shape[1] == 0:
        raise FormatError(f"{path}: X is {X.dtype} {list(X.shape)}, expected numbers [frame, feature]")
    for name, array in (("y", y), ("lengths", lengths)):
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise FormatError(
                f"{path}: {name} is {array.dtype} {list(array.shape)}, expected whole numbers [recording]"
            )
    if len(y) != len(lengths):
        raise FormatError(f"{path}: y has {len(y):,} classes, lengths {len(lengths):,} recordings; give one each")
    if speaker is not None and (speaker.shape != y.shape or speaker.dtype.kind not in "iuU"):
        raise FormatError(
            f"{path}: speaker is {speaker.dtype} {list(speaker.shape)}, expected a name or number for each of "
            f"{len(y):,} recordings"
        )
    if not len(y):
        raise FormatError(f"{path} has no recordings: y and lengths are empty")
    if lengths.min() < 1:
        place = int(np.argmax(lengths < 1))
        raise FormatError(f"{path}: recording {place} (counted from 0) has {lengths[place]} frames; leave it out")
    if lengths.sum() != len(X):
        raise FormatError(f"{path}: lengths add up to {lengths.sum():,} frames, but X has {len(X):,}")
    numbers = y.astype(np.int64, copy=False), lengths.astype(np.int64, copy=False)
    return X.astype(np.float32, copy=False), *numbers, None if speaker is None else speaker.astype(str)


def _table(parts: Sequence[Recordings], splits: list[str | None]) -> pa.Table:
    frames, labels, lengths = (np.concatenate([part[place] for part in parts]) for place in range(3))
    speakers = [[None] * len(part[1]) if part[3] is None else part[3].tolist() for part in parts]
    kind = schema(frames.shape[1])
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    frame = kind.field("frames").type.value_type
    rows = pa.FixedSizeListArray.from_arrays(pa.array(frames.reshape(-1)), type=frame)
    columns = {
        "row_id": pa.array(np.arange(len(labels))),
        "split": pa.array(splits, pa.string()),
        "label": pa.array(labels),
        "speaker": pa.array([one for part in speakers for one in part], pa.string()),
        "frames": pa.ListArray.from_arrays(pa.array(ends), rows, type=kind.field("frames").type),
    }
    return pa.table(columns, schema=kind)
