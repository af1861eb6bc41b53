"""Plots of directions."""

from unroll.domains.ramps.samples import DIRECTIONS

from unroll.metrics.classification import confusion, labels_of
from unroll.plotting.figures import confusion_matrix


def plot(results):
    """Draw the confusion matrix."""
    counts = confusion(results.rows["targets"], labels_of(results.prediction), 2)
    confusion_matrix(results.folder / "confusion.png", results.title, counts, DIRECTIONS)
