"""Strips of digits: what stands where, and from which images."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from unroll.domains.strips.samples import BETWEEN, WORDS, compose
from unroll.domains.strips.samples import make_samples as strip_caption_samples
from unroll.domains.strips.samples import make_samples as strip_column_samples
from unroll.errors import DataError, SplitError
from unroll.features.special_tokens import EOS, IGNORE_INDEX


def ink(columns, value):
    return np.full((columns, 2), value, np.uint8)


def test_labels_by_hand():
    strip = compose([ink(3, 100), ink(4, 50)], [7, 2], [-1], 1, 9)
    assert strip.labels.tolist() == [10, 7, 7, 7, 2, 2, 2, 10, 10]
    # The darker ink wins where they overlap.
    assert strip.pixels[:, 0].tolist() == [0, 100, 100, 100, 50, 50, 50, 0, 0]
    assert strip.digits.tolist() == [7, 2]


def test_a_gap_by_hand():
    strip = compose([ink(2, 9), ink(1, 8), ink(2, 7)], [1, 0, 3], [2, 0], 0, 8)
    assert strip.labels.tolist() == [1, 1, 10, 10, 0, 3, 3, 10]


def test_an_overlap_of_even_width_is_shared():
    strip = compose([ink(6, 9), ink(6, 8)], [4, 5], [-4], 0, 8)
    assert strip.labels.tolist() == [4, 4, 4, 4, 5, 5, 5, 5]


def test_a_column_as_near_to_both_is_the_left_ones():
    assert compose([ink(3, 9), ink(3, 8)], [4, 5], [-1], 0, 5).labels.tolist() == [4, 4, 4, 5, 5]


def test_pixels_between_the_ink_of_a_digit_are_its_own():
    hollow = np.array([[9, 9], [0, 0], [9, 9]], np.uint8)
    assert compose([hollow], [0], [], 1, 5).labels.tolist() == [10, 0, 0, 0, 10]


def images(train=60, test=20, seed=0):
    """Each image has a grey value of its own, so that a strip shows which ones it has; its label is value % 10."""
    rng = np.random.default_rng(seed)
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


def shown(samples, rows):
    """Numbers of the images (from 1) whose ink stands in some strips."""
    return set(np.unique(samples.tensors["inputs"][rows])) - {0}


def test_strips_of_a_split_have_images_of_that_split_alone(section):
    samples = strip_column_samples(images(), section("strip_columns", train=300, valid=60, test=100), "t")
    (fold,) = samples.folds
    train, valid, test = (shown(samples, rows) for rows in (fold.train, fold.valid, fold.test))
    # 6 of 60 training images are kept for validation.
    assert train == set(range(1, 55))
    assert valid == set(range(55, 61))
    assert test == set(range(61, 81))


def test_few_validation_strips_need_few_images(section):
    samples = strip_column_samples(images(), section("strip_columns", valid=1, digits=[1, 3], train=300), "t")
    assert shown(samples, samples.folds[0].train) == set(range(1, 58))


def test_shapes_and_splits(section):
    samples = strip_column_samples(images(), section("strip_columns"), "t")
    tensors = samples.tensors
    assert {name: (str(one.dtype), *one.shape) for name, one in tensors.items()} == {
        "inputs": ("uint8", 48, 140, 28),
        "targets": ("int64", 48, 140),
        "digits": ("int64", 48, 5),
    }
    (fold,) = samples.folds
    assert np.concatenate([fold.train, fold.valid, fold.test]).tolist() == list(range(48))
    assert [len(fold.train), len(fold.valid), len(fold.test)] == [30, 8, 10]


@pytest.mark.parametrize("seed", range(3))
def test_columns_are_labelled_with_their_digits(section, seed):
    samples = strip_column_samples(images(), section("strip_columns", train=200, seed=seed), "t")
    for pixels, labels, digits in zip(
        *(samples.tensors[name] for name in ("inputs", "targets", "digits")), strict=True
    ):
        # Every column with ink has a label, and no other.
        np.testing.assert_array_equal(pixels.any(1), labels != BETWEEN)
        # The images are boxes, so each label is of a box that is there.
        for column in np.flatnonzero(labels != BETWEEN):
            assert labels[column] in {value % 10 for value in pixels[column] if value} | set(digits)
        runs = [label for label, _ in itertools.groupby(labels) if label != BETWEEN]
        there = [digit for digit in digits if digit != IGNORE_INDEX]
        merged = [digit for digit, _ in itertools.groupby(there)]
        # Neighbours of the same digit may touch; otherwise the runs are the digits, in order.
        assert [label for label, _ in itertools.groupby(runs)] == merged
        assert (digits[len(there) :] == IGNORE_INDEX).all()


def test_numbers_of_digits_gaps_and_overlaps_all_occur(section):
    samples = strip_column_samples(images(), section("strip_columns", train=400), "t")
    counts = np.bincount((samples.tensors["digits"] != IGNORE_INDEX).sum(1), minlength=6)
    assert not counts[:2].any()
    assert (counts[2:] > 20).all()
    gaps = set()
    for labels in samples.tensors["targets"]:
        inside = np.flatnonzero(labels != BETWEEN)
        gaps |= set(np.diff(inside) - 1)
    assert set(range(11)) <= gaps
    assert max(gaps) <= 10


def test_strips_fill_their_width(section):
    samples = strip_column_samples(images(), section("strip_columns", train=400, columns=60, digits=[1, 2]), "t")
    inked = samples.tensors["inputs"].any((0, 2))
    assert inked[0]
    assert inked[-1]


def test_test_strips_do_not_depend_on_how_many_are_trained_on(section):
    few, more = (
        strip_column_samples(images(), section("strip_columns", train=count), "t").test_rows() for count in (20, 50)
    )
    np.testing.assert_array_equal(few["inputs"], more["inputs"])


def test_the_seed_decides(section):
    one, same, other = (
        strip_column_samples(images(), section("strip_columns", seed=seed), "t").tensors["inputs"] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_captions_name_the_digits(section):
    samples = strip_caption_samples(images(), section("strip_captions"), "t")
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


def test_both_tasks_have_the_same_strips(section):
    columns = strip_column_samples(images(), section("strip_columns"), "t").tensors
    captions = strip_caption_samples(images(), section("strip_captions"), "t").tensors
    np.testing.assert_array_equal(columns["inputs"], captions["inputs"])
    np.testing.assert_array_equal(columns["digits"], captions["digits"])


def test_a_blank_image_is_named(section):
    table = images()
    pixels = table["pixels"].combine_chunks().flatten().to_numpy().reshape(-1, 784).copy()
    pixels[70] = 0
    changed = pa.FixedSizeListArray.from_arrays(pa.array(pixels.reshape(-1)), 784)
    table = table.set_column(table.column_names.index("pixels"), "pixels", changed)
    with pytest.raises(DataError, match=r"tasks\.t: the image of row 170 is blank \(blank ones: 1\)"):
        strip_column_samples(table, section("strip_columns"), "t")


@pytest.mark.parametrize(("train", "test"), [(9, 5), (0, 5), (60, 0)])
def test_too_few_images(section, train, test):
    with pytest.raises(SplitError, match=rf"tasks\.t: dataset some has {train} training and {test} test images"):
        strip_column_samples(images(train, test), section("strip_columns"), "t")


def test_equal_tables_give_equal_bytes(section, tmp_path):
    for folder in ("one", "two"):
        strip_caption_samples(images(), section("strip_captions"), "t").save(tmp_path / folder)
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
