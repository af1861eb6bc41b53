"""Figures of digit classifiers against numbers by hand, and the baselines."""

import numpy as np
import pytest

from unroll.domains.digits import task as digits
from unroll.domains.digits.samples import make_samples as digit_samples
from unroll.evaluation.evaluation import evaluate
from unroll.features.samples import Fold, Samples


def probabilities(labels):
    found = np.full((len(labels), 10), 0.02, np.float32)
    found[np.arange(len(labels)), labels] = 0.82
    return found


def test_figures_by_hand():
    targets, labels = [0, 0, 1, 1, 2], [0, 1, 1, 1, 0]
    found = digits.metrics(probabilities(labels), {"targets": np.array(targets)})
    assert found["accuracy"] == pytest.approx(3 / 5)
    # F1: 0 has TP 1, FP 1, FN 1; 1 has TP 2, FP 1; 2 has FN 1 alone; the others never occur.
    assert found["macro_f1"] == pytest.approx((2 / 4 + 4 / 5) / 10)
    assert (found["errors"], found["rows"]) == (2, 5)


def test_class_numbers_count_as_predictions():
    rows = {"targets": np.array([3, 4, 5])}
    labels = np.array([3, 4, 6])
    assert digits.metrics(labels, rows) == digits.metrics(probabilities(labels), rows)
    assert digits.per_sample_loss(labels, rows).tolist() == [0, 0, 1]
    assert digits.per_sample_loss(probabilities(labels), rows).tolist() == [0, 0, 1]


@pytest.mark.parametrize("right", range(0, 11, 2))
def test_accuracy_is_sklearns(right):
    from sklearn.metrics import accuracy_score, f1_score

    targets = np.arange(10)
    labels = np.where(np.arange(10) < right, targets, (targets + 3) % 10)
    found = digits.metrics(labels, {"targets": targets})
    assert found["accuracy"] == pytest.approx(accuracy_score(targets, labels))
    assert found["macro_f1"] == pytest.approx(f1_score(targets, labels, average="macro"))


def test_baselines_by_hand():
    # Class k lights pixel row k; class 3 is the most frequent in training.
    labels = np.array([*range(10), 3, *range(10)])
    images = np.zeros((21, 28, 28), np.uint8)
    images[np.arange(21), labels] = 255
    fold = Fold("all", np.arange(0, 10), np.array([10]), np.arange(11, 21))
    found = digits.baselines(Samples({"inputs": images, "targets": labels}, (fold,)))
    assert found["majority"].tolist() == [3] * 10
    assert found["nearest_mean"].tolist() == list(range(10))
    assert found["logistic_regression"].tolist() == list(range(10))


def test_a_class_that_training_lacks_is_never_the_nearest():
    labels = np.array([*range(9), *range(9)])
    images = np.zeros((18, 28, 28), np.uint8)
    images[np.arange(18), labels] = 255
    fold = Fold("all", np.arange(0, 8), np.array([8]), np.arange(9, 18))
    found = digits.baselines(Samples({"inputs": images, "targets": labels}, (fold,)))
    assert found["nearest_mean"].tolist() == list(range(9))


def test_keys_that_other_tools_read(tiny):
    samples = digit_samples(tiny.digits(), tiny.section("digits"), "digits")
    task, rows = tiny.task("digits"), samples.test_rows()
    found = evaluate(task.metrics, probabilities(rows["targets"]), task.metrics.baselines(samples), rows)
    assert found["test"]["accuracy"] == 1.0
    assert found["baseline"]["majority"]["accuracy"] == pytest.approx(0.1)
    assert set(found["baseline"]) == set(found["against"]) == {"majority", "nearest_mean", "logistic_regression"}
    assert found["against"]["majority"]["skill"] == 1.0
    assert task.metrics.headline == "accuracy"
    assert task.metrics.is_better(0.9, 0.8)
    assert not task.metrics.is_better(0.8, 0.8)
