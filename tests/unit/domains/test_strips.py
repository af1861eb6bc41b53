"""Strips of digits: what is where and from which images, metrics and baselines."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from unroll.domains.strips.metrics import (
    CLASSES,
    caption_baselines,
    caption_scores,
    column_baselines,
    column_scores,
    place_in_digit,
    read_off,
    read_symbols,
    reading_baselines,
    wrong_caption,
    wrong_columns,
    wrong_reading,
)
from unroll.domains.strips.samples import BETWEEN, WORDS, compose, make_samples
from unroll.domains.strips.samples import BETWEEN as B
from unroll.errors import DataError, SplitError
from unroll.features.samples import Fold, Samples
from unroll.features.special_tokens import EOS, IGNORE_INDEX, PAD


def ink(columns, value):
    return np.full((columns, 2), value, np.uint8)


@pytest.mark.parametrize(
    ("pieces", "digits", "gaps", "start", "labels"),
    [
        ([ink(3, 100), ink(4, 50)], [7, 2], [-1], 1, [10, 7, 7, 7, 2, 2, 2, 10]),
        ([ink(2, 9), ink(1, 8), ink(2, 7)], [1, 0, 3], [2, 0], 0, [1, 1, 10, 10, 0, 3, 3]),
        # An overlap of even width is shared; a column as near to both belongs to the left one.
        ([ink(6, 9), ink(6, 8)], [4, 5], [-4], 0, [4, 4, 4, 4, 5, 5, 5, 5]),
        ([ink(3, 9), ink(3, 8)], [4, 5], [-1], 0, [4, 4, 4, 5, 5]),
        # Paper within a digit is the digit's.
        ([np.array([[9, 9], [0, 0], [9, 9]], np.uint8)], [0], [], 1, [10, 0, 0, 0]),
    ],
)
def test_labels_by_hand(pieces, digits, gaps, start, labels):
    strip = compose(pieces, digits, gaps, start, len(labels) + 1)
    assert strip.labels.tolist() == [*labels, 10]
    assert strip.digits.tolist() == digits


def test_the_darker_ink_wins_where_digits_overlap():
    strip = compose([ink(3, 100), ink(4, 50)], [7, 2], [-1], 1, 9)
    assert strip.pixels[:, 0].tolist() == [0, 100, 100, 100, 50, 50, 50, 0, 0]


def images(train=60, test=20):
    """Boxes, each with a gray value of its own, so that a strip shows which ones it has; the label is value % 10."""
    rng = np.random.default_rng(0)
    count = train + test
    pixels = np.zeros((count, 28, 28), np.uint8)
    for image, one in enumerate(pixels):
        width = int(rng.integers(3, 21))
        first = int(rng.integers(0, 29 - width))
        one[4:24, first : first + width] = image + 1
    return pa.table(
        {
            "row_id": pa.array(np.arange(100, 100 + count), pa.int64()),
            "split": pa.array(["train"] * train + ["test"] * test, pa.string()),
            "label": pa.array((np.arange(1, count + 1) % 10).astype(np.uint8)),
            "pixels": pa.FixedSizeListArray.from_arrays(pa.array(pixels.reshape(-1)), 784),
        }
    )


@pytest.fixture
def make(tiny):
    def make(kind="strip_columns", table=None, **changes):
        changes = {"digits": [2, 5], "columns": 140, "train": 30, "valid": 8, "test": 10, **changes}
        return make_samples(images() if table is None else table, tiny.section(kind, **changes), "t")

    return make


def shown(samples, rows):
    """Numbers of the images (from 1) whose ink is in some strips."""
    return set(np.unique(samples.tensors["inputs"][rows])) - {0}


def test_strips_of_a_split_have_images_of_that_split_alone(make):
    samples = make(train=300, valid=60, test=100)
    (fold,) = samples.folds
    # 6 of 60 training images are kept for validation.
    assert shown(samples, fold.train) == set(range(1, 55))
    assert shown(samples, fold.valid) == set(range(55, 61))
    assert shown(samples, fold.test) == set(range(61, 81))
    assert np.concatenate([fold.train, fold.valid, fold.test]).tolist() == list(range(460))
    few = make(train=300, valid=1, digits=[1, 3])
    assert shown(few, few.folds[0].train) == set(range(1, 58))


def test_columns_are_labeled_with_their_digits(make):
    tensors = make(train=200).tensors
    for pixels, labels, digits in zip(tensors["inputs"], tensors["targets"], tensors["digits"], strict=True):
        # Exactly the columns with ink have a label.
        np.testing.assert_array_equal(pixels.any(1), labels != BETWEEN)
        runs = [label for label, _ in itertools.groupby(labels) if label != BETWEEN]
        present = [digit for digit in digits if digit != IGNORE_INDEX]
        # Equal neighbors may touch; otherwise the runs are the digits, in order.
        assert [label for label, _ in itertools.groupby(runs)] == [digit for digit, _ in itertools.groupby(present)]
        assert (digits[len(present) :] == IGNORE_INDEX).all()


def test_the_seed_decides_and_test_strips_do_not_depend_on_the_training_ones(make):
    one, other = make(), make(seed=1)
    assert (one.tensors["inputs"] != other.tensors["inputs"]).any()
    np.testing.assert_array_equal(one.test_rows()["inputs"], make(train=50).test_rows()["inputs"])


def test_captions_name_the_digits_of_the_same_strips(make):
    samples = make("strip_captions")
    tensors, vocabulary = samples.tensors, samples.vocabularies["caption"]
    assert set(vocabulary.tokens[6:]) == set(WORDS)
    for row, caption in enumerate(tensors["caption"]):
        digits = [digit for digit in tensors["digits"][row] if digit != IGNORE_INDEX]
        assert caption == " ".join(WORDS[digit] for digit in digits)
        assert vocabulary.decode(tensors["targets"][row]) == caption
        length = tensors["target_lengths"][row]
        assert length == len(digits) + 1
        assert tensors["targets"][row, length - 1] == EOS
        assert (tensors["targets"][row, length:] == IGNORE_INDEX).all()
    np.testing.assert_array_equal(make().tensors["inputs"], tensors["inputs"])


def test_a_blank_image_is_an_error_with_its_row(make):
    table = images()
    pixels = table["pixels"].combine_chunks().flatten().to_numpy().reshape(-1, 784).copy()
    pixels[70] = 0
    blank = pa.FixedSizeListArray.from_arrays(pa.array(pixels.reshape(-1)), 784)
    with pytest.raises(DataError, match=r"tasks\.t: the image of row 170"):
        make(table=table.set_column(table.column_names.index("pixels"), "pixels", blank))


@pytest.mark.parametrize(("train", "test"), [(9, 5), (60, 0)])
def test_too_few_images(make, train, test):
    with pytest.raises(SplitError, match=rf"tasks\.t: .*{train} training and {test} test"):
        make(table=images(train, test))


def band(*runs):
    """(label, columns) … → labels of columns."""
    return np.concatenate([np.full(columns, label) for label, columns in runs])


@pytest.mark.parametrize(
    ("labels", "digits"),
    [
        (band((B, 5), (7, 6), (B, 4), (3, 5)), [7, 3]),
        (band((7, 6), (3, 5)), [7, 3]),
        # A run shorter than three columns is noise, and what is on both sides of it is one digit.
        (band((7, 6), (1, 2), (7, 6)), [7]),
        (band((7, 6), (B, 3), (7, 6)), [7, 7]),
        (band((7, 6), (1, 3), (7, 6)), [7, 1, 7]),
        (band((4, 2), (B, 9)), []),
        (band((0, 3)), [0]),
    ],
)
def test_digits_are_read_off_columns(labels, digits):
    assert read_off(labels) == digits


def test_score_of_columns_by_hand():
    targets = np.stack([band((B, 4), (7, 6), (B, 4), (3, 6)), band((B, 2), (5, 6), (5, 6), (B, 6))])
    rows = {"targets": targets, "digits": np.array([[7, 3, IGNORE_INDEX], [5, 5, IGNORE_INDEX]])}
    labels = targets.copy()
    labels[0, 4:7] = 9
    found = column_scores(labels, rows)
    assert found["frame_accuracy"] == pytest.approx(1 - 3 / 40)
    # 9 7 3 for 7 3 is one error; 5 for 5 5 is another one, which the true labels make as well.
    assert found["digit_error_rate"] == pytest.approx(2 / 4)
    assert found["least_digit_error_rate"] == pytest.approx(1 / 4)
    assert found["exact_match"] == 0
    assert wrong_columns(labels, rows).tolist() == [3 / 20, 0]
    assert column_scores(np.eye(CLASSES, dtype=np.float32)[labels], rows) == found


def test_place_of_a_column_in_its_digit():
    targets = band((B, 2), (7, 5), (3, 18), (B, 1))[None]
    found = place_in_digit(targets)
    assert np.flatnonzero(found["1-3"][0]).tolist() == [2, 3, 4, 7, 8, 9]
    assert np.flatnonzero(found["4-6"][0]).tolist() == [5, 6, 10, 11, 12]
    assert np.flatnonzero(found["over 15"][0]).tolist() == [22, 23, 24]
    assert np.flatnonzero(found["between"][0]).tolist() == [0, 1, 25]
    assert sum(mask.sum() for mask in found.values()) == targets.size


def bars(count=30):
    """Strips of two bars each, whose height is their digit."""
    digits = np.random.default_rng(0).integers(0, 10, (count, 2))
    inputs, targets = np.zeros((count, 60, 28), np.uint8), np.full((count, 60), B)
    for row, pair in enumerate(digits):
        for start, digit in zip((5, 30), pair, strict=True):
            inputs[row, start : start + 12, 2 * digit : 2 * digit + 8] = 255
            targets[row, start : start + 12] = digit
    fold = Fold("all", np.arange(0, count - 10), np.arange(count - 10, count - 8), np.arange(count - 8, count))
    return inputs, targets, digits, fold


def test_baselines_of_columns():
    inputs, targets, digits, fold = bars()
    samples = Samples({"inputs": inputs, "targets": targets, "digits": digits}, (fold,))
    rows, found = samples.test_rows(), column_baselines(samples)
    assert (found["majority"] == B).all()
    accuracies = [column_scores(found[name], rows)["frame_accuracy"] for name in ("logistic_regression", "majority")]
    assert accuracies[0] > 0.9 > accuracies[1]


def test_score_of_captions_by_hand():
    true = np.array([[7, 8, EOS], [9, 9, EOS], [6, EOS, IGNORE_INDEX]])
    prediction = np.array([[7, 8, EOS, PAD], [9, EOS, PAD, PAD], [6, 6, 6, 6]])
    found = caption_scores(prediction, {"targets": true})
    assert found["exact_match"] == pytest.approx(1 / 3)
    # One word is missing, and three are too many, of five.
    assert found["digit_error_rate"] == pytest.approx(4 / 5)
    assert found["by_digits"]["1"] == {"exact_match": 0.0, "digit_error_rate": 3.0, "rows": 1}
    assert found["by_digits"]["2"] == {"exact_match": 0.5, "digit_error_rate": 0.25, "rows": 2}
    assert wrong_caption(prediction, {"targets": true}).tolist() == [0, 1, 1]


def test_symbols_are_read_once_and_blanks_left_out():
    path = np.array([[0, 3, 3, 0, 3, 7, 7, 0], [0, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 2]])
    rows = {"targets": np.array([[3, 3, 7], [9, IGNORE_INDEX, IGNORE_INDEX], [1, 2, IGNORE_INDEX]])}
    assert read_symbols(np.eye(11, dtype=np.float32)[path]) == read_symbols(path) == [[3, 3, 7], [], [1, 2]]
    assert wrong_reading(path, rows).tolist() == [0, 1, 0]
    inputs, fold = np.arange(3, dtype=np.uint8).reshape(3, 1, 1), Fold("all", *np.split(np.arange(3), 3))
    found = reading_baselines(Samples({"inputs": inputs, **rows}, (fold,)))
    assert read_symbols(found["nearest_strip"]) == [[9]]


def test_baselines_of_captions_by_hand():
    inputs, _, digits, fold = bars(40)
    targets = np.column_stack([digits + 6, np.full(40, EOS)])
    targets[fold.train[10:]] = targets[fold.train[10]]
    # Each test strip is a training strip with a speck of dirt.
    inputs[fold.test] = inputs[fold.train[:8]]
    inputs[fold.test, 0, 0] = 40
    found = caption_baselines(Samples({"inputs": inputs, "targets": targets}, (fold,)))
    assert found["nearest_strip"].tolist() == targets[fold.train[:8]].tolist()
    assert (found["most_frequent"] == targets[fold.train[10]]).all()
