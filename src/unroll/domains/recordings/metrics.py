"""Accuracy of recordings on voices that were not in training, and baselines."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unroll.domains.recordings.config import RecordingTask
from unroll.features.samples import Samples, Tensors
from unroll.metrics.classification import accuracy, confusion, labels_of, logistic_regression, macro_f1, majority
from unroll.metrics.live import Live, live_classes
from unroll.metrics.metrics import Metrics, Prediction

if TYPE_CHECKING:
    import pandas as pd


def make_metrics(section: RecordingTask, samples: Samples) -> Metrics:
    """Return the metrics of a task."""
    classes = class_count(samples)
    return Metrics(
        "accuracy",
        higher_is_better=True,
        score=lambda prediction, rows: score(prediction, rows, classes),
        per_sample_loss=per_sample_loss,
        baselines=lambda samples: baselines(samples, classes),
        test="mcnemar",
    )


def class_count(samples: Samples) -> int:
    """Return the number of classes: labels are numbers from 0."""
    return int(samples.tensors["targets"].max()) + 1


def score(prediction: Prediction, rows: Tensors, classes: int) -> dict[str, Any]:
    """Accuracy on voices that training has not heard, and on a random split.

    Args:
        prediction: Probabilities float32 [sample, class], or class numbers [sample].
        rows: `targets`, `voice` and `held_out` int64 [sample]; held_out is 1 where training has not heard the voice.
        classes: Number of classes.

    Returns:
        accuracy: mean over the held-out voices of the share of right classes, each voice counting as much; by_voice:
        those shares; macro_f1: over the same recordings; accuracy_random_split: of the others. Where no voice was held
        out (while a network is trained on all of them), accuracy and macro_f1 are the others'.
    """
    targets, labels = rows["targets"], labels_of(prediction)
    held_out = rows["held_out"] == 1
    unheard = held_out if held_out.any() else ~held_out
    right = labels == targets
    found: dict[str, Any] = {
        "accuracy": float(right[unheard].mean()),
        "macro_f1": macro_f1(confusion(targets[unheard], labels[unheard], classes)),
        "rows": int(unheard.sum()),
    }
    if held_out.any():
        voices = np.unique(rows["voice"][held_out])
        shares = {f"voice-{voice}": float(right[held_out & (rows["voice"] == voice)].mean()) for voice in voices}
        found |= {"accuracy": float(np.mean(list(shares.values()))), "by_voice": shares}
    if not held_out.all():
        counts = confusion(targets[~held_out], labels[~held_out], classes)
        found |= {"accuracy_random_split": accuracy(counts), "rows_random_split": int(counts.sum())}
    return found


def per_sample_loss(prediction: Prediction, rows: Tensors) -> NDArray[np.float64]:
    """1 where the class of a recording is wrong whose voice was held out, else 0.

    Rows of the random split are nobody's errors here: what is compared are unheard voices.
    """
    wrong = (labels_of(prediction) != rows["targets"]) & (rows["held_out"] == 1)
    losses: NDArray[np.float64] = wrong.astype(np.float64)
    return losses


def baselines(samples: Samples, classes: int) -> dict[str, Prediction]:
    """The most frequent class; logistic regression on mean and deviation of each feature over a recording's frames."""
    frequent, linear = [], []
    targets = samples.tensors["targets"]
    statistics = frame_statistics(samples.tensors["inputs"], samples.tensors["lengths"])
    for fold in samples.folds:
        past = np.concatenate([fold.train, fold.valid])
        mean, deviation = statistics[past].mean(0), np.maximum(statistics[past].std(0), 1e-9)
        known, new = ((statistics[part] - mean) / deviation for part in (past, fold.test))
        frequent.append(np.full(len(fold.test), majority(targets[past])))
        linear.append(logistic_regression(known, targets[past], classes, max_iter=500)(new))
    return {"majority": np.concatenate(frequent), "frame_statistics": np.concatenate(linear)}


def frame_statistics(inputs: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean and deviation of each feature over the valid frames.

    Args:
        inputs: float32 [sample, time, feature].
        lengths: int64 [sample].

    Returns:
        float64 [sample, 2 × feature].
    """
    valid = (np.arange(inputs.shape[1]) < lengths[:, None])[:, :, None]
    count = np.maximum(lengths, 1)[:, None]
    mean = np.where(valid, inputs, 0).sum(1, dtype=np.float64) / count
    square = np.where(valid, inputs - mean[:, None, :], 0) ** 2
    return np.concatenate([mean, np.sqrt(square.sum(1) / count)], axis=1)


def live_metrics(kind: str, rows: "pd.DataFrame") -> Live:
    """Return accuracy and macro-F1 of predictions whose truth is known."""
    del kind
    return live_classes(rows)
