"""Accuracy of text classification, and baselines."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unroll.domains.texts.config import TextClassTask
from unroll.features.samples import Samples, Tensors
from unroll.metrics.classification import (
    accuracy,
    confusion,
    labels_of,
    logistic_regression,
    macro_f1,
    majority,
    word_pattern,
)
from unroll.metrics.live import Live, class_metrics
from unroll.metrics.metrics import Metrics, Prediction
from unroll.metrics.tokens import by_group, length_groups

if TYPE_CHECKING:
    import pandas as pd

STRENGTH = 10.0
"""C of the logistic regressions: the best of 1, 3 and 10 by cross-validation on the training split of the reviews."""
LENGTHS = (5, 10, 15, 20, 30, 50)
"""Last lengths, in tokens, of the groups of texts by length."""


def make_metrics(section: TextClassTask, samples: Samples) -> Metrics:
    """Return the metrics of a task."""
    classes, middle = len(section.classes), middle_of(section)
    return Metrics(
        "accuracy",
        higher_is_better=True,
        score=lambda prediction, rows: score(prediction, rows, classes, middle),
        per_sample_loss=lambda prediction, rows: per_sample_loss(prediction, rows, classes),
        baselines=lambda samples: baselines(samples, classes, middle),
        test="mcnemar",
    )


def middle_of(section: TextClassTask) -> float | None:
    """Return the rating between the lower and the upper classes; None if the texts have labels."""
    return None if section.thresholds is None else float(np.median(section.thresholds))


def score(prediction: Prediction, rows: Tensors, classes: int, middle: float | None) -> dict[str, Any]:
    """Return accuracy and macro-F1, and accuracy by length.

    Args:
        prediction: Class numbers [sample], or probabilities float32 [sample, class]. A further column is the
            probability that the rating is above the middle, from baselines that predict the side apart from the class.
        rows: `label` int64 [sample], `lengths`, and for ratings `rating` float32 [sample].
        classes: Number of classes.
        middle: Rating between the lower and the upper classes; None if the texts have labels.

    Returns:
        accuracy and macro_f1: over the classes of all rows. For ratings also polarity_accuracy: the share on the right
        side of the middle, of the polarity_rows whose rating is not on it.
    """
    counts = confusion(rows["label"], class_numbers(prediction, classes), classes)
    right = class_numbers(prediction, classes) == rows["label"]
    return {
        "accuracy": accuracy(counts),
        "macro_f1": macro_f1(counts),
        **({} if middle is None else _polarity(prediction, rows, classes, middle)),
        "rows": len(right),
        "by_length": by_group(
            length_groups(rows["lengths"], LENGTHS),
            lambda mask: {"accuracy": float(right[mask].mean()), "rows": int(mask.sum())},
        ),
    }


def per_sample_loss(prediction: Prediction, rows: Tensors, classes: int) -> NDArray[np.float64]:
    """Return 1 where the class is wrong, else 0, float64 [sample]."""
    wrong: NDArray[np.bool_] = class_numbers(prediction, classes) != rows["label"]
    return wrong.astype(np.float64)


def class_numbers(prediction: Prediction, classes: int) -> Prediction:
    return labels_of(prediction[:, :classes] if prediction.ndim == 2 else prediction)


def _polarity(prediction: Prediction, rows: Tensors, classes: int, middle: float) -> dict[str, Any]:
    counted = rows["rating"] != middle
    if not counted.any():
        return {"polarity_rows": 0}
    right = _above(prediction, classes) == (rows["rating"] > middle)
    return {"polarity_accuracy": float(right[counted].mean()), "polarity_rows": int(counted.sum())}


def _above(prediction: Prediction, classes: int) -> NDArray[np.bool_]:
    """Return whether each text is predicted to be above the middle; where both sides are equally likely, it is not.

    Example:
        Negative, neutral, positive: (0.3, 0.3, 0.4) is above, 0.4 against 0.3; the neutral class is not counted.
    """
    half = classes // 2
    if prediction.ndim == 1:
        above: NDArray[np.bool_] = prediction >= classes - half
    elif prediction.shape[1] > classes:
        above = prediction[:, classes] > 0.5
    else:
        above = prediction[:, classes - half :].sum(1) > prediction[:, :half].sum(1)
    return above


def baselines(samples: Samples, classes: int, middle: float | None) -> dict[str, Prediction]:
    """Return the most frequent class, and a logistic regression on TF-IDF of words and pairs of words.

    For ratings, both predict the side of the middle as well, in a further column: float32 [row, class + 1].
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    frequent, linear = [], []
    text, label = samples.tensors["text"], samples.tensors["label"]
    for fold in samples.folds:
        past = np.concatenate([fold.train, fold.valid])
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=word_pattern())
        known = vectorizer.fit_transform(text[past])
        new = vectorizer.transform(text[fold.test])
        common = np.zeros((len(fold.test), classes), np.float32)
        common[:, majority(label[past])] = 1
        fitted = logistic_regression(known, label[past], classes, C=STRENGTH, max_iter=200)(new)
        if middle is not None:
            rating = samples.tensors["rating"][past]
            rated = rating != middle
            above = (rating[rated] > middle).astype(np.int64)
            common = np.column_stack([common, np.full(len(common), majority(above), np.float32)])
            sides = logistic_regression(known[rated], above, 2, C=STRENGTH, max_iter=200)(new)
            fitted = np.column_stack([fitted, sides[:, 1]])
        frequent.append(common)
        linear.append(fitted)
    return {"majority": np.concatenate(frequent), "tfidf_logistic_regression": np.concatenate(linear)}


def live_metrics(kind: str, rows: "pd.DataFrame") -> Live:
    """Return accuracy and macro-F1 of predictions whose truth is known."""
    del kind
    return class_metrics(rows)
