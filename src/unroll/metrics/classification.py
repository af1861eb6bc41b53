"""What tasks with classes share: labels, confusion counts, F1, and a linear baseline."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll.metrics.metrics import Prediction

Counts = NDArray[np.int64]
WORDS = r"\w+|[^\w\s]"
"""Tokens that TF-IDF baselines count: words and punctuation marks, so that every text has at least one."""


def labels_of(prediction: Prediction) -> Prediction:
    """Probabilities [..., class] → class numbers [...]; class numbers stay as they are.

    Example:
        [[0.2, 0.8], [0.9, 0.1]] → [1, 0], and [1, 0] → [1, 0].
    """
    return prediction.argmax(-1) if np.issubdtype(prediction.dtype, np.floating) else prediction


def confusion(targets: NDArray[Any], labels: NDArray[Any], classes: int) -> Counts:
    """How often each class was taken for each: int64 [true class, predicted class]."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (targets, labels), 1)
    return counts


def accuracy(counts: Counts) -> float:
    """Share of a confusion matrix that lies on its diagonal."""
    return float(np.trace(counts) / counts.sum())


def macro_f1(counts: Counts) -> float:
    """Mean F1 of the classes of a confusion matrix; a class that neither occurs nor is predicted counts as 0."""
    hits = np.diag(counts)
    # 2·TP / (2·TP + FP + FN)
    return float((2 * hits / np.maximum(counts.sum(0) + counts.sum(1), 1)).mean())


def majority(labels: NDArray[Any]) -> int:
    """The most frequent class; the first of them where several are."""
    return int(np.bincount(labels).argmax())


def logistic_regression(
    features: Any, labels: NDArray[Any], classes: int, **options: Any
) -> Callable[[Any], NDArray[np.float32]]:
    """Multinomial logistic regression, fitted.

    Args:
        features: float [row, feature], dense or sparse.
        labels: int64 [row].
        classes: Number of classes; those that `labels` lacks get probability 0.
        options: Of scikit-learn's LogisticRegression.

    Returns:
        New features [row, feature] → probabilities float32 [row, class].
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    there = np.unique(labels)
    model = LogisticRegression(**options)
    # Of one class there is nothing to fit, and scikit-learn refuses to.
    if len(there) > 1:
        with warnings.catch_warnings():
            # The callers choose the iterations: the last of them cost minutes and bring tenths of a percent.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features, labels)

    def predict(new: Any) -> NDArray[np.float32]:
        found = np.zeros((new.shape[0], classes), np.float32)
        found[:, there] = model.predict_proba(new) if len(there) > 1 else 1
        return found

    return predict
