"""Plots of labeled, read and captioned strips."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll.domains.strips.config import StripCaptionTask, StripReadingTask
from unroll.domains.strips.metrics import (
    CLASSES,
    CONTEXT,
    MIN_RUN,
    read_off,
    read_symbols,
    true_symbols,
    wrong_columns,
)
from unroll.domains.strips.samples import BETWEEN
from unroll.features.samples import linspace_indices
from unroll.metrics.classification import confusion, labels_of
from unroll.plotting.results import Results


def plot(results: Results) -> None:
    """Plot strips with their labels, accuracy by the place in a digit, and the confusion matrix; or what was read."""
    if isinstance(results.section, StripReadingTask):
        sides = (read_symbols(results.prediction), true_symbols(results.rows))
        _plot_texts(results, *([" ".join(str(symbol - 1) for symbol in row) for row in side] for side in sides))
        return
    if isinstance(results.section, StripCaptionTask):
        vocabulary = results.samples.vocabularies["caption"]
        _plot_texts(results, [vocabulary.decode(row) for row in results.prediction], list(results.rows["caption"]))
        return
    from unroll.plotting.figures import by_group_bars, confusion_matrix, entitle, figure, save

    folder, title, prediction, rows = results.folder, results.title, results.prediction, results.rows
    test, base = results.evaluation["test"], results.evaluation["baseline"]["logistic_regression"]
    targets, labels = rows["targets"], labels_of(prediction)
    losses = wrong_columns(prediction, rows)
    # From the best strip to the worst, evenly spaced.
    order = np.argsort(losses, kind="stable")[linspace_indices(len(losses), 8)]
    drawn, axes = figure(4, 2, width=9.6, height=6.2)
    for axis, row in zip(axes.T.flat, order, strict=False):
        _draw_strip(axis, rows["inputs"][row], targets[row], labels[row])
        read = " ".join(map(str, read_off(labels[row]))) or "nothing"
        true = " ".join(str(digit) for digit in rows["digits"][row] if digit >= 0)
        axis.set_title(f"{true}, read as {read}: {1 - losses[row]:.0%} of columns", size=8)
    entitle(
        drawn,
        f"{title}: test strips from the best to the worst, evenly spaced;\n"
        "below each the true and the predicted labels",
        9,
    )
    save(drawn, folder / "strips.png")

    by_group_bars(
        folder / "places.png",
        f"{title}: right columns {test['frame_accuracy']:.2%}, digit error rate {test['digit_error_rate']:.2%} "
        f"(of the true labels {test['least_digit_error_rate']:.2%});\nlogistic regression on ±{CONTEXT} columns "
        f"{base['frame_accuracy']:.2%} and {base['digit_error_rate']:.2%}",
        {"network": test["by_place"], f"logistic regression on ±{CONTEXT} columns": base["by_place"]},
        "frame_accuracy",
        xlabel="place of a column in its digit (columns)",
        ylabel="share of right columns",
        counted="columns",
    )
    confusion_matrix(
        folder / "confusion.png",
        f"{title}: labels of {targets.size:,} columns of test strips, {test['frame_accuracy']:.2%} right (– is between "
        "digits)",
        confusion(targets.ravel(), labels.ravel(), CLASSES),
        [*(str(digit) for digit in range(BETWEEN)), "–"],
    )


def _draw_strip(axis: Any, strip: NDArray[np.uint8], targets: NDArray[np.int64], labels: NDArray[np.int64]) -> None:
    """Draw a strip, below it a band of true labels and one of predicted labels, with a color for each digit."""
    height = strip.shape[1]
    axis.imshow(255 - strip.T, cmap="gray", vmin=0, vmax=255, extent=(0, len(strip), height, 0))
    for top, band in ((height + 1, targets), (height + 7, labels)):
        colored = np.ma.masked_equal(band, BETWEEN)[None, :]
        axis.imshow(colored, cmap="tab10", vmin=0, vmax=9, extent=(0, len(strip), top + 5, top), interpolation="none")
        for start, digit in _runs(band):
            axis.text(start, top + 2.5, digit, ha="center", va="center", size=6, color="white", weight="bold")
    axis.set(xlim=(0, len(strip)), ylim=(height + 12.5, 0))
    axis.set_axis_off()


def _runs(band: NDArray[np.int64]) -> list[tuple[float, int]]:
    """Return middle and digit of each run that is wide enough for text."""
    starts = np.flatnonzero(np.diff(band, prepend=-1))
    ends = np.append(starts[1:], len(band))
    return [
        ((start + end) / 2, int(band[start]))
        for start, end in zip(starts, ends, strict=True)
        if end - start >= MIN_RUN and band[start] != BETWEEN
    ]


def _plot_texts(results: Results, found: Sequence[str], true: Sequence[str]) -> None:
    """Plot the share of right readings or captions by number of digits, and strips with theirs."""
    from unroll.plotting.figures import by_group_bars, entitle, figure, save

    folder, title, rows = results.folder, results.title, results.rows
    test, baselines = results.evaluation["test"], results.evaluation["baseline"]
    by_group_bars(
        folder / "lengths.png",
        f"{title}: {test['exact_match']:.1%} of {test['rows']:,} test strips right, digit error rate "
        f"{test['digit_error_rate']:.1%};\nnearest training strip {baselines['nearest_strip']['exact_match']:.1%} and "
        f"{baselines['nearest_strip']['digit_error_rate']:.1%}",
        {"network": test["by_digits"]}
        | {name.replace("_", " "): figures["by_digits"] for name, figures in baselines.items()},
        "exact_match",
        xlabel="digits of a strip (strips)",
        ylabel="share without an error",
    )
    wrong = np.array([one != other for one, other in zip(found, true, strict=True)])
    # Up to six right and six wrong ones, evenly spaced in the test split.
    picked = np.concatenate([some[linspace_indices(len(some), 6)] for some in map(np.flatnonzero, (~wrong, wrong))])
    drawn, axes = figure(6, 2, width=9.6, height=7.2)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, row in zip(axes.T.flat, picked, strict=False):
        axis.imshow(255 - rows["inputs"][row].T, cmap="gray", vmin=0, vmax=255)
        caption = f"“{found[row]}”"
        if wrong[row]:
            caption += f", not “{true[row]}”"
        axis.set_title(caption, size=8, color="C3" if wrong[row] else "black", parse_math=False)
    entitle(
        drawn,
        f"{title}: right and (red) wrong ones, evenly spaced in the test split; {wrong.mean():.1%} are wrong",
    )
    save(drawn, folder / "examples.png")
