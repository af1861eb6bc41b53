"""Plots of labelled strips."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll.domains.strips.config import StripCaptionTask
from unroll.domains.strips.metrics import CLASSES, LEAST_RUN, REACH, read_off, wrong_caption, wrong_columns
from unroll.domains.strips.samples import BETWEEN
from unroll.features.samples import linspace_indices
from unroll.metrics.classification import confusion, labels_of
from unroll.plotting.results import Results


def plot(results: Results) -> None:
    """Strips with true and predicted labels, accuracy by the place in a digit, confusion of labels."""
    if isinstance(results.section, StripCaptionTask):
        _plot_captions(results)
        return
    folder, title, prediction, rows = results.folder, results.title, results.prediction, results.rows
    evaluation = results.evaluation
    from unroll.plotting.figures import by_group_bars, confusion_matrix, entitle, figure, save

    test, base = evaluation["test"], evaluation["baseline"]["logistic_regression"]
    targets, labels = rows["targets"], labels_of(prediction)
    losses = wrong_columns(prediction, rows)
    # Evenly spaced by quality, from the best strip to the worst.
    order = np.argsort(losses, kind="stable")[linspace_indices(len(losses), 8)]
    drawn, axes = figure(4, 2, width=9.6, height=6.2)
    for axis, row in zip(axes.T.flat, order, strict=False):
        _draw_strip(axis, rows["inputs"][row], targets[row], labels[row])
        said = " ".join(map(str, read_off(labels[row]))) or "nothing"
        true = " ".join(str(digit) for digit in rows["digits"][row] if digit >= 0)
        axis.set_title(f"{true}, read as {said}: {1 - losses[row]:.0%} of columns", size=8)
    entitle(
        drawn,
        f"{title}: test strips from the best to the worst, evenly spaced;\n"
        "under each the true labels, then the network's",
        9,
    )
    save(drawn, folder / "strips.png")

    by_group_bars(
        folder / "places.png",
        f"{title}: right columns {test['frame_accuracy']:.2%}, digit error rate {test['digit_error_rate']:.2%} "
        f"(of the true labels {test['least_digit_error_rate']:.2%});\nlogistic regression on ±{REACH} columns "
        f"{base['frame_accuracy']:.2%} and {base['digit_error_rate']:.2%}",
        {"network": test["by_place"], f"logistic regression on ±{REACH} columns": base["by_place"]},
        "frame_accuracy",
        xlabel="place of a column in its digit (columns)",
        ylabel="share of right columns",
        counted="columns",
    )
    confusion_matrix(
        folder / "confusion.png",
        f"{title}: labels of {targets.size:,} columns of test strips, {test['frame_accuracy']:.2%} right; – is between "
        "digits",
        confusion(targets.ravel(), labels.ravel(), CLASSES),
        [*(str(digit) for digit in range(BETWEEN)), "–"],
    )


def _draw_strip(axis: Any, strip: NDArray[np.uint8], targets: NDArray[np.int64], labels: NDArray[np.int64]) -> None:
    """The strip itself, under it a band of true labels and one of predicted ones, a colour for each digit."""
    height = strip.shape[1]
    axis.imshow(255 - strip.T, cmap="gray", vmin=0, vmax=255, extent=(0, len(strip), height, 0))
    for top, band in ((height + 1, targets), (height + 7, labels)):
        coloured = np.ma.masked_equal(band, BETWEEN)[None, :]
        axis.imshow(coloured, cmap="tab10", vmin=0, vmax=9, extent=(0, len(strip), top + 5, top), interpolation="none")
        for start, digit in _runs(band):
            axis.text(start, top + 2.5, digit, ha="center", va="center", size=6, color="white", weight="bold")
    axis.set(xlim=(0, len(strip)), ylim=(height + 12.5, 0))
    axis.set_axis_off()


def _runs(band: NDArray[np.int64]) -> list[tuple[float, int]]:
    """Middle and digit of each run that is wide enough to be written into."""
    starts = np.flatnonzero(np.diff(band, prepend=-1))
    ends = np.append(starts[1:], len(band))
    return [
        ((start + end) / 2, int(band[start]))
        for start, end in zip(starts, ends, strict=True)
        if end - start >= LEAST_RUN and band[start] != BETWEEN
    ]


def _plot_captions(results: Results) -> None:
    """Quality by number of digits; strips with what was said of them."""
    folder, title, prediction, rows = results.folder, results.title, results.prediction, results.rows
    evaluation = results.evaluation
    vocabulary = results.samples.vocabularies["caption"]
    from unroll.plotting.figures import by_group_bars, entitle, figure, save

    test, others = evaluation["test"], evaluation["baseline"]
    by_group_bars(
        folder / "lengths.png",
        f"{title}: {test['exact_match']:.1%} of {test['rows']:,} test sentences right, digit error rate "
        f"{test['digit_error_rate']:.1%};\nnearest training strip {others['nearest_strip']['exact_match']:.1%} and "
        f"{others['nearest_strip']['digit_error_rate']:.1%}",
        {
            "network": test["by_digits"],
            "nearest training strip": others["nearest_strip"]["by_digits"],
            "most frequent sentence": others["most_frequent"]["by_digits"],
        },
        "exact_match",
        xlabel="digits of a strip (strips)",
        ylabel="share of right sentences",
    )
    wrong = wrong_caption(prediction, rows) > 0
    # Half of them right, half wrong, where there are as many, each spread over the test split.
    picked = np.concatenate(
        [places[linspace_indices(len(places), 6)] for places in map(np.flatnonzero, (~wrong, wrong))]
    )
    drawn, axes = figure(6, 2, width=9.6, height=7.2)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, row in zip(axes.T.flat, picked, strict=False):
        axis.imshow(255 - rows["inputs"][row].T, cmap="gray", vmin=0, vmax=255)
        said = vocabulary.decode(prediction[row]) or "nothing"
        told = f"“{said}”" if not wrong[row] else f"“{said}”, but it is “{rows['caption'][row]}”"
        axis.set_title(told, size=8, color="C3" if wrong[row] else "black", parse_math=False)
    entitle(
        drawn,
        f"{title}: right sentences and (red) wrong ones, evenly spaced in the test split; {wrong.mean():.1%} are wrong",
    )
    save(drawn, folder / "examples.png")
