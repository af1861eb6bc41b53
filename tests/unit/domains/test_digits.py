"""Digits: the published pickle and IDX files, samples, metrics."""

import gzip
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from unroll.config.sources import PathSource
from unroll.domains.digits import idx
from unroll.domains.digits.config import DigitDataset
from unroll.domains.digits.dataset import SCHEMA, read_dataset
from unroll.domains.digits.metrics import baselines, per_sample_loss, score
from unroll.domains.digits.samples import make_samples
from unroll.errors import FormatError, SplitError
from unroll.features.samples import Fold, Samples
from unroll.sources.fetch import Fetched

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


def _read(*sources):
    return read_dataset(sources, DigitDataset(domain="digits", sources=(PathSource(kind="path", path="unused"),)))


def _source(path, split=None, verified=True):
    return Fetched(path=path, record={"kind": "path"}, split=split, verified=verified)


def _pixels(table):
    pixels: np.ndarray = table.column("pixels").combine_chunks().flatten().to_numpy().reshape(-1, 784)
    return pixels


def _scaled():
    return [(images.astype(np.float32) / 256, labels.astype(np.int64)) for images, labels in PAIRS]


def _pickle(folder, content, verified=True):
    # The published file was written by an older numpy, which has its functions elsewhere.
    old = pickle.dumps(content, protocol=3).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    (folder / "mnist.pkl.gz").write_bytes(gzip.compress(old))
    return _source(folder / "mnist.pkl.gz", verified=verified)


def test_pickle_gives_back_the_bytes_in_the_official_order(tmp_path):
    ingested = _read(_pickle(tmp_path, tuple(_scaled())))
    table = ingested.table
    assert table.schema == SCHEMA
    np.testing.assert_array_equal(_pixels(table), np.concatenate([images for images, _ in PAIRS]))
    np.testing.assert_array_equal(table.column("label").to_numpy(), np.concatenate([labels for _, labels in PAIRS]))
    assert table.column("split").to_pylist() == ["train"] * 50 + ["test"] * 10
    assert table.column("row_id").to_pylist() == list(range(60))
    assert ingested.sources[0]["rows"] == {"train": 50, "test": 10}


def test_pickle_without_a_checksum_is_not_opened(tmp_path):
    with pytest.raises(FormatError, match=r"mnist\.pkl\.gz is a pickle.*`sha256`"):
        _read(_pickle(tmp_path, tuple(_scaled()), verified=False))


class _Evil:
    def __reduce__(self):
        return Path.touch, (Path("evil"),)


def test_pickle_that_calls_something_is_refused(here):
    with pytest.raises(FormatError, match="only numpy arrays are allowed"):
        _read(_pickle(here, (_Evil(), *_scaled()[1:])))
    assert not (here / "evil").exists()


@pytest.mark.parametrize("value", [0.5 + 1e-4, 1.0, np.nan])
def test_pixels_that_are_not_bytes(tmp_path, value):
    pairs = _scaled()
    pairs[1][0][7, 300] = value
    with pytest.raises(FormatError, match=r"part 2, image 7, pixel 300: .* times 256 is not a byte"):
        _read(_pickle(tmp_path, tuple(pairs)))


def _idx(values):
    if values.ndim == 2:
        values = values.reshape(-1, 28, 28)
    return np.array([0x800 + values.ndim, *values.shape], ">u4").tobytes() + values.tobytes()


def _write_idx(folder, packed=False, dots=False):
    paths = {}
    for name, (split, place) in NAMES.items():
        content = _idx(PAIRS[0 if split == "train" else 2][place])
        paths[name] = folder / ((name.replace("-idx", ".idx") if dots else name) + (".gz" if packed else ""))
        paths[name].write_bytes(gzip.compress(content) if packed else content)
    return paths


@pytest.mark.parametrize(("packed", "dots"), [(False, False), (True, True)])
def test_folder_of_the_official_files(tmp_path, packed, dots):
    _write_idx(tmp_path, packed, dots)
    ingested = _read(_source(tmp_path))
    np.testing.assert_array_equal(_pixels(ingested.table), np.concatenate([PAIRS[0][0], PAIRS[2][0]]))
    np.testing.assert_array_equal(ingested.table["label"].to_numpy(), np.concatenate([PAIRS[0][1], PAIRS[2][1]]))
    assert ingested.table.column("split").to_pylist() == ["train"] * 30 + ["test"] * 10
    assert ingested.sources[0]["rows"] == {"train": 30, "test": 10}
    assert [one["form"] for one in ingested.sources[0]["files"]] == ["IDX"] * 4


def test_idx_files_of_other_names_with_a_split_each(tmp_path):
    paths = _write_idx(tmp_path).items()
    ingested = _read(*(_source(path.rename(tmp_path / f"my-{name}"), NAMES[name][0]) for name, path in paths))
    assert ingested.table.column("split").to_pylist() == ["train"] * 30 + ["test"] * 10
    assert len(ingested.sources) == 4


def test_idx_files_that_do_not_fit_together(tmp_path):
    paths = _write_idx(tmp_path)
    with pytest.raises(FormatError, match="would both be the test images"):
        _read(_source(tmp_path), _source(paths["t10k-images-idx3-ubyte"]))
    paths["t10k-labels-idx1-ubyte"].write_bytes(_idx(PAIRS[2][1][:9]))
    with pytest.raises(FormatError, match=r"t10k-labels-idx1-ubyte.*: 10 images and 9 labels"):
        _read(_source(tmp_path))
    paths["t10k-labels-idx1-ubyte"].unlink()
    with pytest.raises(FormatError, match=r"the test labels are missing: found .*t10k-images"):
        _read(_source(tmp_path))


IMAGES = np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8)
LABELS = np.arange(10, dtype=np.uint8)
BOTH = pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])


def _bytes(values, magic=None, count=None):
    head = [0x800 + values.ndim if magic is None else magic, len(values) if count is None else count, *values.shape[1:]]
    return np.array(head, ">u4").tobytes() + values.tobytes()


def _write(folder, content, packed):
    path = folder / "file"
    path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
    return path


@BOTH
@pytest.mark.parametrize(("rows", "lengths"), [(4, [4, 4, 2]), (5, [5, 5]), (100, [10])])
def test_images_come_in_batches(tmp_path, packed, rows, lengths):
    parts = list(idx.iter_idx_images(_write(tmp_path, _bytes(IMAGES), packed), rows))
    assert [len(part) for part in parts] == lengths
    assert parts[0].dtype == np.uint8
    np.testing.assert_array_equal(np.concatenate(parts), IMAGES)


@BOTH
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_bytes(LABELS), r"the magic number is 0x00000801 \(labels\), expected 0x00000803 \(images\)"),
        (_bytes(IMAGES, count=11), "states 11 images"),
        (_bytes(IMAGES)[:-1], "states 10 images"),
        (_bytes(IMAGES)[:10], "ends within the sizes"),
        (b"", "ends within|is empty"),
    ],
)
def test_files_that_do_not_fit(tmp_path, packed, content, message):
    with pytest.raises(FormatError, match=message):
        list(idx.iter_idx_images(_write(tmp_path, content, packed), 4))


def test_images_keep_the_order_of_the_file(tiny):
    table = tiny.digits(60, 20)
    samples = make_samples(table, tiny.section("digits"), "digits")
    assert samples.tensors["targets"].tolist() == table["label"].to_pylist()
    assert samples.tensors["inputs"][7].ravel().tolist() == table["pixels"][7].as_py()
    (fold,) = samples.folds
    assert np.concatenate([fold.train, fold.valid, fold.test]).tolist() == list(range(80))
    assert [len(fold.train), len(fold.valid), len(fold.test)] == [40, 20, 20]
    chunked = pa.concat_tables([table.slice(0, 13), table.slice(13, 30), table.slice(43)])
    again = make_samples(chunked, tiny.section("digits"), "digits")
    np.testing.assert_array_equal(again.tensors["inputs"], samples.tensors["inputs"])


@pytest.mark.parametrize(("test", "valid_rows"), [(20, 60), (0, 20)])
def test_an_empty_split_is_an_error(tiny, test, valid_rows):
    with pytest.raises(SplitError, match=r"tasks\.digit-rows"):
        make_samples(tiny.digits(60, test), tiny.section("digits", valid_rows=valid_rows), "digit-rows")


def test_score_by_hand():
    targets, labels = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0])
    found = score(labels, {"targets": targets})
    assert found["accuracy"] == pytest.approx(3 / 5)
    # F1: 0 has TP 1, FP 1, FN 1; 1 has TP 2, FP 1; 2 has FN 1 alone; the other seven never occur.
    assert found["macro_f1"] == pytest.approx((2 / 4 + 4 / 5) / 10)
    assert (found["errors"], found["rows"]) == (2, 5)
    assert per_sample_loss(labels, {"targets": targets}).tolist() == [0, 1, 0, 0, 1]
    probabilities = np.full((5, 10), 0.02, np.float32)
    probabilities[np.arange(5), labels] = 0.82
    assert score(probabilities, {"targets": targets}) == found


def test_baselines_by_hand():
    # Class k lights pixel row k. Class 3 is the most frequent in training, class 9 is missing there.
    labels = np.array([*range(9), 3, *range(9)])
    images = np.zeros((19, 28, 28), np.uint8)
    images[np.arange(19), labels] = 255
    fold = Fold("all", np.arange(0, 9), np.array([9]), np.arange(10, 19))
    found = baselines(Samples({"inputs": images, "targets": labels}, (fold,)))
    assert found["majority"].tolist() == [3] * 9
    assert found["nearest_mean"].tolist() == found["logistic_regression"].tolist() == list(range(9))
