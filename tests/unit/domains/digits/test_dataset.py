"""The published pickle and the official IDX files as a table."""

import gzip
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from unroll.config.sources import PathSource
from unroll.domains.digits.config import DigitDataset
from unroll.domains.digits.dataset import SCHEMA, read_dataset
from unroll.errors import FormatError
from unroll.sources.fetch import Fetched
from unroll.sources.ingested import Ingested

_RANDOM = np.random.default_rng(0)
PAIRS = [
    (_RANDOM.integers(0, 256, (rows, 784), dtype=np.uint8), (np.arange(rows) % 10).astype(np.uint8))
    for rows in (30, 20, 10)
]
NAMES = {
    "train-images-idx3-ubyte": ("train", 0),
    "train-labels-idx1-ubyte": ("train", 1),
    "t10k-images-idx3-ubyte": ("test", 0),
    "t10k-labels-idx1-ubyte": ("test", 1),
}


def _read(*sources: Fetched) -> Ingested:
    return read_dataset(sources, DigitDataset(domain="digits", sources=(PathSource(kind="path", path="unused"),)))


def _source(path: Path, split: str | None = None, verified: bool = True) -> Fetched:
    return Fetched(path=path, record={"kind": "path"}, split=split, verified=verified)


def _pixels(table: pa.Table) -> np.ndarray:
    pixels: np.ndarray = table.column("pixels").combine_chunks().flatten().to_numpy().reshape(-1, 784)
    return pixels


def _scaled() -> list[tuple[np.ndarray, np.ndarray]]:
    return [(images.astype(np.float32) / 256, labels.astype(np.int64)) for images, labels in PAIRS]


def _pickle(folder: Path, content: Any, verified: bool = True) -> Fetched:
    # The published file was written by an older numpy, which has its functions elsewhere.
    old = pickle.dumps(content, protocol=3).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    (folder / "mnist.pkl.gz").write_bytes(gzip.compress(old))
    return _source(folder / "mnist.pkl.gz", verified=verified)


def test_pickle_gives_back_the_bytes_in_the_official_order(tmp_path: Path) -> None:
    ingested = _read(_pickle(tmp_path, tuple(_scaled())))
    table = ingested.table
    assert table.schema == SCHEMA
    np.testing.assert_array_equal(_pixels(table), np.concatenate([images for images, _ in PAIRS]))
    np.testing.assert_array_equal(table.column("label").to_numpy(), np.concatenate([labels for _, labels in PAIRS]))
    assert table.column("split").to_pylist() == ["train"] * 50 + ["test"] * 10
    assert table.column("row_id").to_pylist() == list(range(60))
    assert ingested.sources[0]["rows"] == {"train": 50, "test": 10}


def test_pickle_without_a_checksum_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"mnist\.pkl\.gz is a pickle.*`sha256`"):
        _read(_pickle(tmp_path, tuple(_scaled()), verified=False))


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("evil"),)


def test_pickle_that_calls_something_is_refused(here: Path) -> None:
    with pytest.raises(FormatError, match="only numpy arrays are allowed"):
        _read(_pickle(here, (_Evil(), *_scaled()[1:])))
    assert not (here / "evil").exists()


@pytest.mark.parametrize("value", [0.5 + 1e-4, 1.0, np.nan])
def test_pixels_that_are_not_bytes(tmp_path: Path, value: float) -> None:
    pairs = _scaled()
    pairs[1][0][7, 300] = value
    with pytest.raises(FormatError, match=r"part 2, image 7, pixel 300: .* times 256 is not a byte"):
        _read(_pickle(tmp_path, tuple(pairs)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pairs: tuple(pairs[:2]), "the pickle is a tuple of 2, expected a tuple of 3"),
        (lambda pairs: (*pairs[:2], (pairs[2][0], pairs[2][1][:9])), r"part 3: labels are int64 \[9\]"),
        (lambda pairs: (*pairs[:2], (pairs[2][0][:, :9], pairs[2][1])), r"part 3: images are float32 \[10, 9\]"),
        (lambda pairs: ((pairs[0][0], pairs[0][1] + 256), *pairs[1:]), "part 1, label 0: found 256"),
    ],
)
def test_pickles_of_other_content(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        _read(_pickle(tmp_path, change(_scaled())))


def _idx(values: np.ndarray) -> bytes:
    if values.ndim == 2:
        values = values.reshape(-1, 28, 28)
    return np.array([0x800 + values.ndim, *values.shape], ">u4").tobytes() + values.tobytes()


def _write_idx(folder: Path, packed: bool = False, dots: bool = False) -> dict[str, Path]:
    paths = {}
    for name, (split, place) in NAMES.items():
        content = _idx(PAIRS[0 if split == "train" else 2][place])
        paths[name] = folder / ((name.replace("-idx", ".idx") if dots else name) + (".gz" if packed else ""))
        paths[name].write_bytes(gzip.compress(content) if packed else content)
    return paths


@pytest.mark.parametrize(("packed", "dots"), [(False, False), (True, True)])
def test_folder_of_the_official_files(tmp_path: Path, packed: bool, dots: bool) -> None:
    _write_idx(tmp_path, packed, dots)
    ingested = _read(_source(tmp_path))
    np.testing.assert_array_equal(_pixels(ingested.table), np.concatenate([PAIRS[0][0], PAIRS[2][0]]))
    np.testing.assert_array_equal(ingested.table["label"].to_numpy(), np.concatenate([PAIRS[0][1], PAIRS[2][1]]))
    assert ingested.table.column("split").to_pylist() == ["train"] * 30 + ["test"] * 10
    assert ingested.sources[0]["rows"] == {"train": 30, "test": 10}
    assert ingested.sources[0]["files"]["test labels"].startswith("t10k-labels")


def test_idx_files_of_other_names_with_a_split_each(tmp_path: Path) -> None:
    paths = _write_idx(tmp_path).items()
    ingested = _read(*(_source(path.rename(tmp_path / f"my-{name}"), NAMES[name][0]) for name, path in paths))
    assert ingested.table.column("split").to_pylist() == ["train"] * 30 + ["test"] * 10
    assert len(ingested.sources) == 4


def test_separate_folders_for_training_and_test(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        # Both folders have all four files: only those of the source's split are used.
        _write_idx(tmp_path / split)
    table = _read(_source(tmp_path / "train", "train"), _source(tmp_path / "test", "test")).table
    assert table.num_rows == 40


def test_idx_files_that_do_not_fit_together(tmp_path: Path) -> None:
    paths = _write_idx(tmp_path)
    with pytest.raises(FormatError, match="would both be the test images"):
        _read(_source(tmp_path), _source(paths["t10k-images-idx3-ubyte"]))
    paths["t10k-labels-idx1-ubyte"].write_bytes(_idx(PAIRS[2][1][:9]))
    with pytest.raises(FormatError, match=r"has 10 images, .*t10k-labels-idx1-ubyte 9 labels"):
        _read(_source(tmp_path))
    paths["t10k-labels-idx1-ubyte"].unlink()
    with pytest.raises(FormatError, match=r"missing: the test labels \(t10k-labels-idx1-ubyte\)"):
        _read(_source(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mine", _idx(PAIRS[2][0]), "`split: train` or `split: test`"),
        ("train-images-idx3-ubyte", b"\0\0\x0d\x03", "the magic number is 0x00000d03, expected 0x00000803"),
        ("digits.zip", b"PK\x03\x04", "is neither a pickle nor an IDX file"),
    ],
)
def test_other_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=message):
        _read(_source(tmp_path / name))
