import gzip
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from unroll.domains.digits import dataset as digits
from unroll.errors import FormatError
from unroll.sources.fetch import Fetched

_RANDOM = np.random.default_rng(0)


def _images(rows: int) -> np.ndarray:
    return _RANDOM.integers(0, 256, (rows, 784), dtype=np.uint8)


def _labels(rows: int) -> np.ndarray:
    return (np.arange(rows) % 10).astype(np.uint8)


PAIRS = [(_images(rows), _labels(rows)) for rows in (30, 20, 10)]


def _fetched(path: Path, split: str | None = None, verified: bool = True) -> Fetched:
    return Fetched(path=path, record={"kind": "path"}, split=split, verified=verified)


def _pickle(path: Path, content: Any) -> Fetched:
    # The published file was written by an older numpy, which has its functions elsewhere.
    old = pickle.dumps(content, protocol=3).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    path.write_bytes(gzip.compress(old))
    return _fetched(path)


def _scaled() -> list[tuple[np.ndarray, np.ndarray]]:
    return [(images.astype(np.float32) / 256, labels.astype(np.int64)) for images, labels in PAIRS]


def _pixels(table: pa.Table) -> np.ndarray:
    return table.column("pixels").combine_chunks().flatten().to_numpy().reshape(-1, 784)


def test_pickle_gives_back_the_very_bytes_in_the_official_order(tmp_path: Path) -> None:
    table, (record,) = digits.read_dataset([_pickle(tmp_path / "mnist.pkl.gz", tuple(_scaled()))])
    assert table.schema == digits.SCHEMA
    np.testing.assert_array_equal(_pixels(table), np.concatenate([images for images, _ in PAIRS]))
    np.testing.assert_array_equal(table.column("label").to_numpy(), np.concatenate([labels for _, labels in PAIRS]))
    assert table.column("split").to_pylist() == ["train"] * 50 + ["test"] * 10
    assert table.column("row_id").to_pylist() == list(range(60))
    assert record["rows"] == {"train": 50, "test": 10}


def test_pickle_that_nobody_vouches_for_is_not_opened(tmp_path: Path) -> None:
    source = _pickle(tmp_path / "mnist.pkl.gz", tuple(_scaled()))
    with pytest.raises(FormatError, match=r"is a pickle, and those are read after a checksum only"):
        digits.read_dataset([_fetched(source.path, verified=False)])


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("evil"),)


def test_pickle_that_calls_something_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FormatError, match=r"is no pickle of numpy arrays: it names .*only numpy arrays are let in"):
        digits.read_dataset([_pickle(tmp_path / "mnist.pkl.gz", (_Evil(), *_scaled()[1:]))])
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("value", [0.5 + 1e-4, -1 / 256, 1.0, np.nan])
def test_pixels_that_are_no_bytes(tmp_path: Path, value: float) -> None:
    pairs = _scaled()
    pairs[1][0][7, 300] = value
    with pytest.raises(FormatError, match=r"part 2, image 7, pixel 300: .* times 256 is no byte"):
        digits.read_dataset([_pickle(tmp_path / "mnist.pkl.gz", tuple(pairs))])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pairs: tuple(pairs[:2]), r"the pickle holds a tuple of 2, expected a tuple of 3"),
        (lambda pairs: {"train": 1}, r"the pickle holds a dict, expected"),
        (
            lambda pairs: (*pairs[:2], (pairs[2][0], pairs[2][1][:9])),
            r"part 3: labels are int64 \[9\], expected .*\[10\]",
        ),
        (
            lambda pairs: (*pairs[:2], (pairs[2][0][:, :9], pairs[2][1])),
            r"part 3: images are float32 \[10, 9\], expected",
        ),
        (lambda pairs: ((1, 2), *pairs[1:]), r"part 1: images are int, expected"),
        (lambda pairs: ((pairs[0][0], pairs[0][1] + 256), *pairs[1:]), r"part 1, label 0: found 256, expected a digit"),
    ],
)
def test_pickles_of_other_content(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        digits.read_dataset([_pickle(tmp_path / "mnist.pkl.gz", change(_scaled()))])


@pytest.mark.parametrize("kept", [20, 5000, -4])
def test_truncated_pickle(tmp_path: Path, kept: int) -> None:
    source = _pickle(tmp_path / "mnist.pkl.gz", tuple(_scaled()))
    source.path.write_bytes(source.path.read_bytes()[:kept])
    with pytest.raises(FormatError, match=r"mnist\.pkl\.gz is"):
        digits.read_dataset([source])


def test_altered_gzip_of_a_pickle(tmp_path: Path) -> None:
    source = _pickle(tmp_path / "mnist.pkl.gz", tuple(_scaled()))
    content = bytearray(source.path.read_bytes())
    content[5000] ^= 0xFF
    source.path.write_bytes(content)
    with pytest.raises(FormatError, match=r"mnist\.pkl\.gz is"):
        digits.read_dataset([source])


def test_file_of_neither_kind(tmp_path: Path) -> None:
    path = tmp_path / "digits.zip"
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(FormatError, match="is neither a pickle nor an IDX file"):
        digits.read_dataset([_fetched(path)])


NAMES = {
    "train-images-idx3-ubyte": ("train", 0),
    "train-labels-idx1-ubyte": ("train", 1),
    "t10k-images-idx3-ubyte": ("test", 0),
    "t10k-labels-idx1-ubyte": ("test", 1),
}


def _idx(values: np.ndarray) -> bytes:
    if values.ndim == 2:
        values = values.reshape(-1, 28, 28)
    return np.array([0x800 + values.ndim, *values.shape], ">u4").tobytes() + values.tobytes()


def _write_idx(folder: Path, packed: bool = False, dots: bool = False) -> dict[str, Path]:
    paths = {}
    for name, (split, place) in NAMES.items():
        content = _idx(PAIRS[0 if split == "train" else 2][place])
        written = (name.replace("-idx", ".idx") if dots else name) + (".gz" if packed else "")
        paths[name] = folder / written
        paths[name].write_bytes(gzip.compress(content) if packed else content)
    return paths


@pytest.mark.parametrize(("packed", "dots"), [(False, False), (True, False), (False, True)])
def test_folder_of_the_official_files(tmp_path: Path, packed: bool, dots: bool) -> None:
    _write_idx(tmp_path, packed, dots)
    table, (record,) = digits.read_dataset([_fetched(tmp_path)])
    np.testing.assert_array_equal(_pixels(table), np.concatenate([PAIRS[0][0], PAIRS[2][0]]))
    np.testing.assert_array_equal(table.column("label").to_numpy(), np.concatenate([PAIRS[0][1], PAIRS[2][1]]))
    assert table.column("split").to_pylist() == ["train"] * 30 + ["test"] * 10
    assert record["rows"] == {"train": 30, "test": 10}
    assert record["files"]["test labels"].startswith("t10k-labels")


def test_idx_files_of_other_names_with_a_split_each(tmp_path: Path) -> None:
    sources = []
    for number, (name, path) in enumerate(_write_idx(tmp_path).items()):
        sources.append(_fetched(path.rename(tmp_path / f"file{number}"), split=NAMES[name][0]))
    ingested = digits.read_dataset(sources)
    table, records = ingested.table, ingested.sources
    assert table.column("split").to_pylist() == ["train"] * 30 + ["test"] * 10
    assert len(records) == 4


def test_separate_folders_for_training_and_test(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        # Both folders hold all four files: only those of the source's split are taken.
        _write_idx(tmp_path / split)
    ingested = digits.read_dataset([_fetched(tmp_path / "train", "train"), _fetched(tmp_path / "test", "test")])
    table, _ = ingested.table, ingested.sources
    assert table.num_rows == 40


def test_idx_files_that_are_missing_are_named(tmp_path: Path) -> None:
    _write_idx(tmp_path)["t10k-labels-idx1-ubyte"].unlink()
    with pytest.raises(
        FormatError, match=r"IDX files are missing: the test labels \(t10k-labels-idx1-ubyte\); found: "
    ):
        digits.read_dataset([_fetched(tmp_path)])


def test_images_and_labels_of_different_counts(tmp_path: Path) -> None:
    paths = _write_idx(tmp_path)
    paths["t10k-labels-idx1-ubyte"].write_bytes(_idx(_labels(9)))
    with pytest.raises(FormatError, match=r"has 10 images and .*t10k-labels-idx1-ubyte 9 labels"):
        digits.read_dataset([_fetched(tmp_path)])


def test_two_files_for_one_role(tmp_path: Path) -> None:
    _write_idx(tmp_path)
    with pytest.raises(FormatError, match="would both be the test images"):
        digits.read_dataset([_fetched(tmp_path), _fetched(tmp_path / "t10k-images-idx3-ubyte")])


def test_idx_file_without_a_split(tmp_path: Path) -> None:
    path = _write_idx(tmp_path)["t10k-images-idx3-ubyte"].rename(tmp_path / "mine")
    with pytest.raises(FormatError, match="is it for training or for test"):
        digits.read_dataset([_fetched(path)])


def test_idx_file_of_another_magic(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(b"\0\0\x0d\x03")
    with pytest.raises(FormatError, match=r"the magic number is 0x00000d03; IDX images have 0x00000803"):
        digits.read_dataset([_fetched(path)])
