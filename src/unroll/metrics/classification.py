"""Metrics of classifiers, and a linear baseline."""

import functools
import re
import unicodedata
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll.metrics.metrics import Prediction

Counts = NDArray[np.int64]

_JOINERS = "\u200c\u200d"


@functools.cache
def word_pattern() -> str:
    """Return the token pattern of TF-IDF baselines: words and punctuation marks, so that each text has a token.

    Combining marks, such as vowel signs of Devanagari, belong to words, as in the networks' tokenizer; Python's `\\w`
    has letters and digits alone.
    """
    last = 0x1E94B  # the last combining mark before those of variants (U+E0100)
    marks = "".join(chr(code) for code in range(0x300, last) if unicodedata.category(chr(code))[0] == "M")
    inside = rf"[\w{_JOINERS}{re.escape(marks)}]"
    return rf"\w{inside}*|[^\w\s]"


def labels_of(prediction: Prediction) -> Prediction:
    """Return the most probable class numbers [...] of probabilities [..., class]; return class numbers as they are.

    Example:
        [[0.2, 0.8], [0.9, 0.1]] → [1, 0], and [1, 0] → [1, 0].
    """
    return prediction.argmax(-1) if np.issubdtype(prediction.dtype, np.floating) else prediction


def confusion(targets: NDArray[Any], labels: NDArray[Any], classes: int) -> Counts:
    """Return the confusion matrix, int64 [true class, predicted class]."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (targets, labels), 1)
    return counts


def accuracy(counts: Counts) -> float:
    """Return the accuracy from a confusion matrix."""
    return float(np.trace(counts) / counts.sum())


def macro_f1(counts: Counts) -> float:
    """Return the mean F1 of all classes from a confusion matrix; a class that never occurs has an F1 of 0."""
    true_positives = np.diag(counts)
    # 2·TP / (2·TP + FP + FN)
    return float((2 * true_positives / np.maximum(counts.sum(0) + counts.sum(1), 1)).mean())


def majority(labels: NDArray[Any]) -> int:
    """Return the most frequent class; of several, the first."""
    return int(np.bincount(labels).argmax())


def logistic_regression(
    features: Any, labels: NDArray[Any], classes: int, **options: Any
) -> Callable[[Any], NDArray[np.float32]]:
    """Fit a multinomial logistic regression.

    Args:
        features: float [row, feature], dense or sparse.
        labels: int64 [row].
        classes: Number of classes; those that `labels` lacks get probability 0.
        options: Options of scikit-learn's LogisticRegression.

    Returns:
        A function from features [row, feature] to probabilities float32 [row, class].
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    present = np.unique(labels)
    model = LogisticRegression(**options)
    # scikit-learn refuses to fit a single class.
    if len(present) > 1:
        with warnings.catch_warnings():
            # The callers limit the iterations: the last ones take minutes and bring tenths of a percent.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features, labels)

    def predict(new: Any) -> NDArray[np.float32]:
        found = np.zeros((new.shape[0], classes), np.float32)
        found[:, present] = model.predict_proba(new) if len(present) > 1 else 1
        return found

    return predict
