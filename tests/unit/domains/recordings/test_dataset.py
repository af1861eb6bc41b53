"""npz files of recordings as a table."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from unroll.config.sources import PathSource
from unroll.domains.recordings.config import RecordingDataset
from unroll.domains.recordings.dataset import read_dataset, schema
from unroll.errors import FormatError
from unroll.sources.fetch import Fetched
from unroll.sources.ingested import Ingested

X = np.arange(12, dtype=np.float64).reshape(6, 2)
GOOD = {"X": X, "y": np.array([3, 1]), "lengths": np.array([2, 4])}


def _file(folder: Path, name: str = "own.npz", **arrays: Any) -> Path:
    path = folder / name
    np.savez(path, **arrays)
    return path


def _read(*paths: Path) -> Ingested:
    section = RecordingDataset(domain="recordings", sources=(PathSource(kind="path", path="unused"),))
    return read_dataset([Fetched(path, {}, "test", False) for path in paths], section)


def test_frames_are_cut_by_lengths_and_survive_parquet(tmp_path: Path) -> None:
    ingested = _read(_file(tmp_path, **GOOD, sex=np.array([0])))
    assert ingested.table.to_pylist() == [
        {"row_id": 0, "split": "test", "label": 3, "frames": [[0, 1], [2, 3]]},
        {"row_id": 1, "split": "test", "label": 1, "frames": [[4, 5], [6, 7], [8, 9], [10, 11]]},
    ]
    about = {"file": "own.npz", "rows": 2, "frames": 6, "features": 2, "ignored_arrays": ["sex"]}
    assert ingested.sources == [{"files": [about]}]
    pq.write_table(ingested.table, tmp_path / "recordings.parquet")
    read = pq.read_table(tmp_path / "recordings.parquet")
    assert ingested.table.schema == read.schema.remove_metadata() == schema(2)


def test_several_files_are_one_table(tmp_path: Path) -> None:
    first, second = _file(tmp_path, "b.npz", **GOOD), _file(tmp_path, "a.npz", **GOOD)
    table = _read(first, second).table
    assert table.column("row_id").to_pylist() == [0, 1, 2, 3]
    assert table.column("frames").to_pylist()[2:] == table.column("frames").to_pylist()[:2]
    with pytest.raises(FormatError, match=r"c\.npz has 3 features a frame, the files before it 2"):
        _read(first, _file(tmp_path, "c.npz", **GOOD | {"X": np.zeros((6, 3))}))


def test_object_arrays_are_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    with pytest.raises(FormatError, match=r"own\.npz has unreadable arrays \(Object arrays cannot be loaded"):
        _read(_file(tmp_path, **GOOD | {"X": np.array([Trap(), Trap()], dtype=object)}))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"arr_0": X}, "found the arrays arr_0, missing X, y, lengths"),
        (GOOD | {"X": X.reshape(-1)}, r"X is float64 \[12\], expected numbers \[frame, feature\]"),
        (GOOD | {"y": np.array([0, 1, 2])}, "y has 3 classes, lengths 2 recordings"),
        (GOOD | {"lengths": np.array([2, 3])}, "lengths add up to 5 frames, X has 6"),
        (GOOD | {"lengths": np.array([8, -2])}, "recording 1 .* has -2 frames"),
        ({"X": X[:0], "y": np.array([], int), "lengths": np.array([], int)}, "has no recordings"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=rf"own\.npz.*{message}"):
        _read(_file(tmp_path, **arrays))


def test_files_that_are_damaged_or_not_npz(tmp_path: Path) -> None:
    path = _file(tmp_path, **GOOD)
    content = bytearray(path.read_bytes())
    content[content.index(X.tobytes())] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"unreadable arrays \(Bad CRC-32"):
        _read(path)
    with path.open("wb") as file:
        np.save(file, X)
    with pytest.raises(FormatError, match="is not an npz file"):
        _read(path)
