"""Metrics and baselines of digit strips, computed by hand."""

import numpy as np
import pytest

from unroll.domains.strips.metrics import (
    CLASSES,
    caption_baselines,
    caption_scores,
    column_baselines,
    column_scores,
    place_in_digit,
    read_off,
    surroundings,
    wrong_caption,
    wrong_columns,
)
from unroll.domains.strips.samples import BETWEEN as B
from unroll.features.samples import Fold, Samples
from unroll.features.special_tokens import EOS, IGNORE_INDEX, PAD


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


def test_pixels_around_a_column_by_hand():
    strip = np.arange(20 * 28, dtype=np.uint8).reshape(1, 20, 28)
    found = surroundings(strip, np.array([0, 0]), np.array([0, 10]))
    assert found.shape == (2, 15 * 28)
    # There are seven columns of paper before the first one.
    assert (found[0, : 7 * 28] == 0).all()
    np.testing.assert_allclose(found[0, 7 * 28 : 8 * 28], strip[0, 0] / 255)
    np.testing.assert_allclose(found[1], strip[0, 3:18].ravel() / 255)


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
