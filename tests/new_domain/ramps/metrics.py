"""Accuracy of directions, and a baseline."""

import numpy as np

from unroll.metrics.classification import accuracy, confusion, labels_of, majority
from unroll.metrics.live import class_metrics
from unroll.metrics.metrics import Metrics


def make_metrics(section, samples):
    """Return the metrics of the task."""
    return Metrics("accuracy", True, score, wrong, baselines, test="mcnemar")


def score(prediction, rows):
    """Return the accuracy of probabilities [sample, class], or of class numbers [sample]."""
    counts = confusion(rows["targets"], labels_of(prediction), 2)
    return {"accuracy": accuracy(counts), "rows": len(rows["targets"])}


def wrong(prediction, rows):
    """Return 1 for each wrong class, else 0."""
    return (labels_of(prediction) != rows["targets"]).astype(np.float64)


def baselines(samples):
    """Return the most frequent class."""
    (fold,) = samples.folds
    return {"majority": np.full(len(fold.test), majority(samples.tensors["targets"][fold.train]))}


def live_metrics(kind, rows):
    """Return accuracy and macro-F1 of predictions whose truth is known."""
    return class_metrics(rows)
