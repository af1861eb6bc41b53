"""Metrics and baselines of digit classification, computed by hand."""

import numpy as np
import pytest

from unroll.domains.digits.metrics import baselines, per_sample_loss, score
from unroll.features.samples import Fold, Samples


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
