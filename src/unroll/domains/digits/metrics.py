"""Accuracy of the classes of images, and baselines."""

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unroll.domains.digits.config import DigitTask
from unroll.features.samples import Samples, Tensors
from unroll.metrics.classification import accuracy, confusion, labels_of, logistic_regression, macro_f1, majority
from unroll.metrics.live import Live, class_metrics
from unroll.metrics.metrics import Metrics, Prediction

if TYPE_CHECKING:
    import pandas as pd


def class_names(samples: Samples) -> list[str]:
    """Return the names of the classes, in the order of their numbers."""
    names: list[str] = samples.notes.get("labels") or [str(digit) for digit in range(10)]
    return names


def make_metrics(section: DigitTask, samples: Samples) -> Metrics:
    """Return the metrics of a task."""
    return Metrics(
        "accuracy",
        higher_is_better=True,
        score=partial(score, classes=len(class_names(samples))),
        per_sample_loss=per_sample_loss,
        baselines=baselines,
        test="mcnemar",
    )


def score(prediction: Prediction, rows: Tensors, classes: int = 10) -> dict[str, Any]:
    """Return accuracy, macro-F1 and the number of errors.

    Args:
        prediction: Probabilities float32 [sample, class], or class numbers [sample].
        rows: `targets`, int64 [sample].
        classes: Number of classes.
    """
    targets, labels = rows["targets"], labels_of(prediction)
    counts = confusion(targets, labels, classes)
    return {
        "accuracy": accuracy(counts),
        "macro_f1": macro_f1(counts),
        "errors": int(np.count_nonzero(labels != targets)),
        "rows": len(targets),
    }


def per_sample_loss(prediction: Prediction, rows: Tensors) -> NDArray[np.float64]:
    """Return 1 for each wrong class, else 0, float64 [sample]."""
    wrong: NDArray[np.bool_] = labels_of(prediction) != rows["targets"]
    return wrong.astype(np.float64)


def baselines(samples: Samples) -> dict[str, Prediction]:
    """Return the most frequent class, the class with the nearest mean image, and a logistic regression on pixels."""
    frequent, nearest, linear = [], [], []
    inputs, targets = samples.tensors["inputs"], samples.tensors["targets"]
    for fold in samples.folds:
        train = np.concatenate([fold.train, fold.valid])
        pixels = inputs.reshape(len(inputs), -1)
        train_pixels = (pixels[train] / np.float32(255)).astype(np.float32)
        test_pixels = (pixels[fold.test] / np.float32(255)).astype(np.float32)
        frequent.append(np.full(len(fold.test), majority(targets[train])))
        present = np.unique(targets[train])
        means = np.stack([train_pixels[targets[train] == digit].mean(0) for digit in present])
        # |x − m|² = |x|² − 2·x·m + |m|²; the first term is the same for every class.
        nearest.append(present[(test_pixels @ means.T * 2 - (means**2).sum(1)).argmax(1)])
        # 60 iterations give 92.4 %, the optimum 92.6 % after minutes.
        predict = logistic_regression(train_pixels, targets[train], len(class_names(samples)), max_iter=60)
        linear.append(labels_of(predict(test_pixels)))
    return {
        "majority": np.concatenate(frequent),
        "nearest_mean": np.concatenate(nearest),
        "logistic_regression": np.concatenate(linear),
    }


def live_metrics(kind: str, rows: "pd.DataFrame") -> Live:
    """Return accuracy and macro-F1 of predictions whose truth is known."""
    del kind
    return class_metrics(rows)
