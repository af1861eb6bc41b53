"""Metrics and baselines that tasks with classes share, computed by hand."""

import numpy as np
import pytest

from unroll.metrics import classification


def test_labels_of_probabilities_and_of_labels():
    assert classification.labels_of(np.array([[0.2, 0.8], [0.9, 0.1]])).tolist() == [1, 0]
    assert classification.labels_of(np.array([1, 0])).tolist() == [1, 0]
    assert classification.labels_of(np.array([[[0.1, 0.9], [0.6, 0.4]]], np.float32)).tolist() == [[1, 0]]


def test_confusion_by_hand():
    counts = classification.confusion(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert classification.accuracy(counts) == 0.5
    # F1: 0 has TP 1, FP 1, FN 1; 1 has TP 1, FP 1; 2 has FN 1 alone.
    assert classification.macro_f1(counts) == pytest.approx((2 / 4 + 2 / 3 + 0) / 3)
    assert classification.majority(np.array([2, 1, 1, 2, 0])) == 1


def test_logistic_regression_of_several_classes_and_of_one():
    predict = classification.logistic_regression(np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 2, 2]), 4)
    found = predict(np.array([[-3.0], [3.0]]))
    assert found.argmax(1).tolist() == [0, 2]
    # Classes that training lacks have no probability.
    assert (found[:, [1, 3]] == 0).all()
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)
    single = classification.logistic_regression(np.zeros((3, 1)), np.full(3, 1), 2)
    assert single(np.zeros((2, 1))).tolist() == [[0, 1], [0, 1]]
