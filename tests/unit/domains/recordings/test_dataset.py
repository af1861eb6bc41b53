from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from unroll.config.sources import PathSource
from unroll.domains.recordings import dataset as recordings
from unroll.domains.recordings.config import RecordingDataset
from unroll.errors import FormatError
from unroll.sources.fetch import Fetched

SECTION = RecordingDataset(domain="recordings", sources=(PathSource(kind="path", path="unused"),))
X = np.arange(12, dtype=np.float64).reshape(6, 2)
GOOD = {"X": X, "y": np.array([3, 1]), "lengths": np.array([2, 4])}


def _file(folder: Path, name: str = "own.npz", **arrays: Any) -> Path:
    path = folder / name
    np.savez(path, **arrays)
    return path


def _read(*paths: Path, split: str | None = None) -> tuple[pa.Table, list[dict[str, Any]]]:
    return recordings.read_dataset([Fetched(path, {}, split, False) for path in paths], SECTION)


def test_frames_are_cut_by_lengths(tmp_path: Path) -> None:
    table, records = _read(_file(tmp_path, **GOOD, sex=np.array([0])), split="test")
    assert table.schema == recordings.schema(2)
    assert table.to_pylist() == [
        {"row_id": 0, "split": "test", "label": 3, "frames": [[0, 1], [2, 3]]},
        {"row_id": 1, "split": "test", "label": 1, "frames": [[4, 5], [6, 7], [8, 9], [10, 11]]},
    ]
    about = {"file": "own.npz", "rows": 2, "frames": 6, "features": 2, "ignored_arrays": ["sex"]}
    assert records == [{"files": [about]}]


def test_several_files_are_one_table(tmp_path: Path) -> None:
    table, _ = _read(_file(tmp_path, "b.npz", **GOOD), _file(tmp_path, "a.npz", **GOOD))
    assert table.column("row_id").to_pylist() == [0, 1, 2, 3]
    assert table.column("frames").to_pylist()[2:] == table.column("frames").to_pylist()[:2]


def test_frames_survive_a_parquet_file(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    table, _ = _read(_file(tmp_path, **GOOD))
    pq.write_table(table, tmp_path / "recordings.parquet")
    assert pq.read_table(tmp_path / "recordings.parquet").schema.remove_metadata() == recordings.schema(2)


def test_object_arrays_are_refused_and_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    ragged = np.array([Trap(), Trap()], dtype=object)
    with pytest.raises(FormatError, match=r"own\.npz holds no plain arrays \(Object arrays cannot be loaded"):
        _read(_file(tmp_path, **GOOD | {"X": ragged}))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"arr_0": X}, r"own\.npz has the arrays arr_0, without X, y, lengths; expected: X \(frames × features\)"),
        ({"X": X, "y": GOOD["y"]}, "has the arrays X, y, without lengths"),
        (GOOD | {"X": X.reshape(-1)}, r"X is float64 \[12\], expected numbers \[frame, feature\]"),
        (GOOD | {"X": X.astype(str)}, r"X is <U32 \[6, 2\], expected numbers"),
        (GOOD | {"y": np.array([0.5, 1])}, r"y is float64 \[2\], expected whole numbers \[recording\]"),
        (GOOD | {"y": np.array([0, 1, 2])}, "y has 3 classes and lengths 2 recordings; give one each"),
        (GOOD | {"lengths": np.array([2, 3])}, "lengths add up to 5 frames, X has 6"),
        (GOOD | {"lengths": np.array([6, 0])}, r"recording 1 \(counted from 0\) has 0 frames"),
        (GOOD | {"lengths": np.array([8, -2])}, "recording 1 .* has -2 frames"),
        ({"X": X[:0], "y": np.array([], int), "lengths": np.array([], int)}, "has no recordings"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, arrays: dict[str, Any], told: str) -> None:
    with pytest.raises(FormatError, match=told):
        _read(_file(tmp_path, **arrays))


def test_files_of_other_features(tmp_path: Path) -> None:
    first, second = _file(tmp_path, "a.npz", **GOOD), _file(tmp_path, "b.npz", **GOOD | {"X": np.zeros((6, 3))})
    with pytest.raises(FormatError, match=r"b\.npz has 3 features a frame, the files before it 2"):
        _read(first, second)


def test_file_that_is_no_npz(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    np.save(path.with_suffix(".npy"), X)
    path.write_bytes(path.with_suffix(".npy").read_bytes())
    with pytest.raises(FormatError, match=r"own\.npz is no npz file \(numpy\.savez\)"):
        _read(path)


def test_npz_that_is_damaged(tmp_path: Path) -> None:
    path = _file(tmp_path, **GOOD)
    content = bytearray(path.read_bytes())
    place = content.index(X.tobytes())
    content[place] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"own\.npz holds no plain arrays \(Bad CRC-32"):
        _read(path)
