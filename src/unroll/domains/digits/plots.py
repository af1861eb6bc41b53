"""Plots of the classification of images."""

import numpy as np

from unroll.domains.digits.metrics import class_names
from unroll.metrics.classification import confusion, labels_of
from unroll.plotting.results import Results


def plot(results: Results) -> None:
    """Plot the confusion matrix and the most confident mistakes."""
    from unroll.plotting.figures import confusion_matrix, figure, save

    folder, title, prediction, rows = results.folder, results.title, results.prediction, results.rows
    targets, labels = rows["targets"], labels_of(prediction)
    names = class_names(results.samples)
    accuracy = results.evaluation["test"]["accuracy"]
    baseline = results.evaluation["baseline"]["logistic_regression"]["accuracy"]
    confusion_matrix(
        folder / "confusion.png",
        f"{title}: {accuracy:.2%} of {len(targets):,} test images; logistic regression {baseline:.2%}",
        confusion(targets, labels, len(names)),
        names,
    )

    wrong = np.flatnonzero(labels != targets)
    confidence = prediction[wrong, labels[wrong]]
    order = np.argsort(-confidence, kind="stable")[:20]
    drawn, grid = figure(4, 5, width=7.5, height=6.8)
    for axis in grid.flat:
        axis.set_axis_off()
    for axis, row, probability in zip(grid.flat, wrong[order], confidence[order], strict=False):
        axis.imshow(255 - rows["inputs"][row], cmap="gray", vmin=0, vmax=255)
        axis.set_title(f"{names[targets[row]]} read as {names[labels[row]]} ({probability:.0%})", size=8)
    drawn.suptitle(f"{title}: the most confident mistakes", size=10)
    save(drawn, folder / "mistakes.png")
