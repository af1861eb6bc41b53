"""Accuracy of recordings on voices that are not in training, and baselines."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unroll.domains.recordings.config import RecordingTask
from unroll.domains.recordings.samples import frame_statistics
from unroll.features.samples import Samples, Tensors
from unroll.metrics.classification import accuracy, confusion, labels_of, logistic_regression, macro_f1, majority
from unroll.metrics.live import Live, class_metrics
from unroll.metrics.metrics import Metrics, Prediction

if TYPE_CHECKING:
    import pandas as pd

_LISTED = 20
"""Largest number of voices whose accuracies are listed."""


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


def class_names(samples: Samples) -> list[str]:
    """Return the names of the classes: the labels in the data, by number."""
    return [str(label) for label in samples.notes.get("labels", range(class_count(samples)))]


def class_count(samples: Samples) -> int:
    """Return the number of classes: labels have names, or are numbers from 0."""
    if "labels" in samples.notes:
        return len(samples.notes["labels"])
    return int(samples.tensors["targets"].max()) + 1


def score(prediction: Prediction, rows: Tensors, classes: int) -> dict[str, Any]:
    """Return the accuracy on voices that are not in training, and on a random split.

    Args:
        prediction: Probabilities float32 [sample, class], or class numbers [sample].
        rows: `targets`, `voice` and `held_out` int64 [sample]; held_out is 1 if the voice is not in training.
        classes: Number of classes.

    Returns:
        accuracy: the mean of the accuracies on each held-out voice, which are under by_voice if they are few;
        macro_f1: over the same recordings; accuracy_random_split: over the other recordings, which also give accuracy
        and macro_f1 where no voice is held out.
    """
    targets, labels = rows["targets"], labels_of(prediction)
    held_out, counted = rows["held_out"] == 1, headline_rows(rows)
    right = labels == targets
    found: dict[str, Any] = {
        "accuracy": float(right[counted].mean()),
        "macro_f1": macro_f1(confusion(targets[counted], labels[counted], classes)),
        "rows": int(counted.sum()),
    }
    if held_out.any():
        voices = np.unique(rows["voice"][held_out])
        by_voice = {f"voice-{voice}": float(right[held_out & (rows["voice"] == voice)].mean()) for voice in voices}
        found["accuracy"] = float(np.mean(list(by_voice.values())))
        if len(by_voice) <= _LISTED:
            found["by_voice"] = by_voice
    if not held_out.all():
        counts = confusion(targets[~held_out], labels[~held_out], classes)
        found |= {"accuracy_random_split": accuracy(counts), "rows_random_split": int(counts.sum())}
    return found


def headline_rows(rows: Tensors) -> NDArray[np.bool_]:
    """Return which recordings give the headline: those of held-out voices, or all where none is held out."""
    held_out: NDArray[np.bool_] = rows["held_out"] == 1
    return held_out if held_out.any() else ~held_out


def per_sample_loss(prediction: Prediction, rows: Tensors) -> NDArray[np.float64]:
    """Return 1 for each wrong class of a recording whose voice is held out, else 0, float64 [sample].

    Errors in a random split beside them are not counted: models are compared on held-out voices.
    """
    wrong = (labels_of(prediction) != rows["targets"]) & headline_rows(rows)
    losses: NDArray[np.float64] = wrong.astype(np.float64)
    return losses


def baselines(samples: Samples, classes: int) -> dict[str, Prediction]:
    """Return the most frequent class, and a logistic regression on mean and deviation of each feature over time."""
    frequent, linear = [], []
    targets = samples.tensors["targets"]
    statistics = frame_statistics(samples.tensors["inputs"], samples.tensors["lengths"], "sound" in samples.notes)
    for fold in samples.folds:
        past = np.concatenate([fold.train, fold.valid])
        mean, deviation = statistics[past].mean(0), np.maximum(statistics[past].std(0), 1e-9)
        known, new = ((statistics[part] - mean) / deviation for part in (past, fold.test))
        frequent.append(np.full(len(fold.test), majority(targets[past])))
        linear.append(logistic_regression(known, targets[past], classes, max_iter=500)(new))
    return {"majority": np.concatenate(frequent), "frame_statistics": np.concatenate(linear)}


def live_metrics(kind: str, rows: "pd.DataFrame") -> Live:
    """Return accuracy and macro-F1 of predictions whose truth is known."""
    del kind
    return class_metrics(rows)
