"""Images to train on, in the forms that other tools publish them: any number of classes, any size."""

import gzip

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import raw_files

from unroll.domains.digits.config import DigitTask
from unroll.domains.digits.expectations import make_suites
from unroll.domains.digits.metrics import class_names
from unroll.domains.digits.samples import make_samples
from unroll.errors import FormatError
from unroll.validation.suites import run_suites

RANDOM = np.random.default_rng(0)
TRAIN, TEST = (RANDOM.integers(0, 256, (count, 4, 6), dtype=np.uint8) for count in (40, 20))
LABELS = {"train": np.arange(40) % 5, "test": np.arange(20) % 5}
NAMES = ("a", "b", "c", "d", "e")


def idx(values):
    return np.array([0x800 + values.ndim, *values.shape], ">u4").tobytes() + values.astype(np.uint8).tobytes()


def images_of(table):
    return np.array(table["pixels"].to_pylist(), np.uint8)


def emnist(folder, first=1):
    for split, images in (("train", TRAIN), ("test", TEST)):
        for kind, values in (("images-idx3", images.transpose(0, 2, 1)), ("labels-idx1", LABELS[split] + first)):
            (folder / f"emnist-x-{split}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx(values)))
    (folder / "README.txt").write_text("about")
    return folder


def keras(folder):
    np.savez(folder / "own.npz", x_train=TRAIN, y_train=LABELS["train"], x_test=TEST, y_test=LABELS["test"])
    return folder / "own.npz"


def medmnist(folder):
    arrays = {"train_images": TRAIN[:30], "train_labels": LABELS["train"][:30, None], "val_images": TRAIN[30:]}
    arrays |= {"val_labels": LABELS["train"][30:, None], "test_images": TEST, "test_labels": LABELS["test"][:, None]}
    np.savez_compressed(folder / "own.npz", **arrays)
    return folder / "own.npz"


def kmnist(folder):
    for split, images in (("train", TRAIN), ("test", TEST)):
        np.savez_compressed(folder / f"kmnist-{split}-imgs.npz", images)
        np.savez_compressed(folder / f"kmnist-{split}-labels.npz", LABELS[split])
    return folder


def parquet(folder):
    pixels = [*TRAIN.reshape(40, -1).tolist(), *TEST.reshape(20, -1).tolist()]
    labels, split = np.concatenate([LABELS["train"], LABELS["test"]]), ["train"] * 40 + ["test"] * 20
    pq.write_table(pa.table({"image": pixels, "label": labels, "split": split}), folder / "own.parquet")
    return folder / "own.parquet"


def csv_files(folder):
    for split, images in (("train", TRAIN), ("test", TEST)):
        frame = pd.DataFrame(images.reshape(len(images), -1), columns=[f"pixel{number}" for number in range(24)])
        frame.insert(0, "label", LABELS[split])
        frame.to_csv(folder / f"{split}.csv", index=False)
    return folder


@pytest.mark.parametrize(
    ("write", "options"),
    [
        (emnist, {"transpose": True, "labels": NAMES}),
        (keras, {"labels": NAMES}),
        (medmnist, {"labels": NAMES}),
        (kmnist, {"labels": NAMES}),
        (parquet, {"labels": NAMES, "image_size": [4, 6]}),
        (csv_files, {"labels": NAMES, "image_size": [4, 6]}),
    ],
)
def test_every_form_gives_the_same_table(tmp_path, tiny, write, options):
    table = raw_files.read("digits", write(tmp_path), **options).table
    assert np.array_equal(images_of(table), np.concatenate([TRAIN, TEST]).reshape(60, -1))
    assert table["label"].to_pylist() == [*LABELS["train"], *LABELS["test"]]
    assert table["split"].to_pylist() == ["train"] * 40 + ["test"] * 20
    task = DigitTask(domain="digits", kind="classification", dataset="d", valid_rows=10)
    # The names travel with the table.
    pq.write_table(table, tmp_path / "raw")
    samples = make_samples(pq.read_table(tmp_path / "raw"), task, "d")
    assert samples.tensors["inputs"].shape == (60, 4, 6)
    assert class_names(samples) == list(NAMES)
    assert samples.tensors["targets"].tolist() == table["label"].to_pylist()


def test_letters_without_names_are_classes(tmp_path):
    square = RANDOM.integers(0, 256, (130, 5, 5), dtype=np.uint8)
    labels = np.arange(130) % 26 + 1
    np.savez(tmp_path / "own.npz", x=square, y=labels)
    table = raw_files.read("digits", tmp_path / "own.npz").table
    assert table["split"].null_count == 130
    samples = make_samples(table, DigitTask(domain="digits", kind="classification", dataset="d"), "d")
    assert class_names(samples) == [str(number) for number in range(1, 27)]
    assert samples.tensors["targets"].tolist() == (labels - 1).tolist()
    assert sum(len(part) for part in (samples.folds[0].train, samples.folds[0].valid, samples.folds[0].test)) == 130


@pytest.mark.parametrize(("columns", "labels"), [(["label", "*"], [0, 1]), (["*", "class"], [0, 1])])
def test_a_table_without_header(tmp_path, columns, labels):
    pixels = np.full((2, 4), 7)
    place = 0 if columns[0] == "label" else 4
    pd.DataFrame(np.insert(pixels, place, labels, axis=1)).to_csv(tmp_path / "a.csv", header=False, index=False)
    table = raw_files.read("digits", tmp_path / "a.csv", column_names=columns).table
    assert (table["label"].to_pylist(), images_of(table).tolist()) == (labels, pixels.tolist())


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ({"label": [0, 1], "a": [1, 2], "b": [3, 300]}, {"image_size": [1, 2]}, "row 1: pixel 1 is 300"),
        ({"label": [0, 1], "a": [1, 2], "b": [3, None]}, {"image_size": [1, 2]}, "row 1: pixel 1 is missing"),
        ({"label": [0, None], "a": [1, 2]}, {}, "row 1: the label is missing"),
        ({"label": [1, 2], "a": [1, 2]}, {"labels": ["x", "y", "z"]}, "`first_label`"),
        ({"label": ["x", "q"], "a": [1, 2]}, {"labels": ["x", "y"]}, "'q', expected one of x, y"),
        ({"a": [1, 2], "b": [1, 2]}, {}, "`column_names`"),
        ({"label": [0, 1], "a": [1, 2], "b": [1, 2], "c": [1, 2]}, {}, "`image_size`"),
    ],
)
def test_what_is_wrong_or_open_is_named(tmp_path, rows, options, message):
    pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(FormatError, match=message):
        raw_files.read("digits", tmp_path / "a.csv", **options)


def test_shares_are_those_of_the_classes_that_are_there(tmp_path):
    table = raw_files.read("digits", keras(tmp_path), labels=NAMES).table
    section = raw_files.section("digits", labels=NAMES)
    assert all(one.passed for one in run_suites(make_suites(table, "d", section), tmp_path))
