"""Which digit each pixel column of a strip belongs to, if any."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll import config
from unroll.domains.task import Prediction, Task, TensorSpec
from unroll.features.samples import Samples, Tensors, linspace_indices
from unroll.metrics.classification import confusion, labels_of, logistic_regression, majority
from unroll.metrics.tokens import edit_distance, step_loss
from unroll.models.heads import LinearHead
from unroll.models.preprocessing import ByteImages

BETWEEN = 10
"""Label of a column that belongs to no digit."""
CLASSES = 11
LEAST_RUN = 3
"""Columns of one label that make a digit; shorter runs are noise."""
REACH = 7
"""Columns on each side that the linear baseline sees."""
FITTED = 60_000
"""Columns that it is fitted on, drawn from the training strips."""


def strip_columns_task(name: str, section: config.StripColumnsTask) -> Task:
    """Many to many in step: the pixel columns of a strip from left to right → a label for each."""
    return Task(
        name=name,
        kind=section.kind,
        topology="many_to_many",
        reader="arrays",
        inputs=strip_input(section),
        outputs=(
            TensorSpec("labels", "int64", ("batch", "time"), f"digit of each column; {BETWEEN} between digits"),
            TensorSpec("scores", "float32", ("batch", "time"), "probability of that label, 0 to 1"),
        ),
        features=28,
        make_preprocessing=ByteImages,
        make_head=lambda size: LinearHead(size, CLASSES),
        loss=step_loss,
        metrics=metrics,
        per_sample_loss=per_sample_loss,
        headline="frame_accuracy",
        higher_is_better=True,
        baselines=baselines,
        plot=plot,
        details={
            "labels": [*(str(digit) for digit in range(BETWEEN)), "between"],
            "array": {"column": "pixels", "variable_length": False},
        },
        output="labels",
        every_step=True,
        input_steps=section.columns,
        steps=section.columns,
    )


def strip_input(section: config.StripColumnsTask | config.StripCaptionTask) -> TensorSpec:
    """A strip, its columns as time steps."""
    return TensorSpec(
        "inputs", "uint8", ("batch", section.columns, 28), "grey value, 0 (paper) to 255 (ink), column by column"
    )


def metrics(prediction: Prediction, rows: Tensors) -> dict[str, Any]:
    """Right columns, and right digits when the columns are read off.

    Args:
        prediction: Labels int64 [sample, column], or their probabilities float32 [sample, column, label].
        rows: `targets` int64 [sample, column], `digits` int64 [sample, digit] padded with a negative number.

    Returns:
        frame_accuracy; digit_error_rate: edit distance between the digits read off and the true ones, over the number
        of true ones; exact_match: share of strips without such an error; least_digit_error_rate: what reading off the
        true labels gives, because equal digits that touch look like one; by_place: frame accuracy by the column's
        place in its digit.
    """
    targets, labels = rows["targets"], labels_of(prediction)
    right = labels == targets
    places = place_in_digit(targets)
    true = true_digits(rows)
    errors = digit_errors(labels, true)
    digits = sum(map(len, true))
    return {
        "frame_accuracy": float(right.mean()),
        "digit_error_rate": float(errors.sum() / digits),
        "exact_match": float((errors == 0).mean()),
        "least_digit_error_rate": float(digit_errors(targets, true).sum() / digits),
        "rows": len(targets),
        "by_place": {
            name: {"frame_accuracy": float(right[inside].mean()), "columns": int(inside.sum())}
            for name, inside in places.items()
            if inside.any()
        },
    }


def per_sample_loss(prediction: Prediction, rows: Tensors) -> NDArray[np.float64]:
    """Share of wrong columns in each strip."""
    wrong: NDArray[np.float64] = (labels_of(prediction) != rows["targets"]).mean(1)
    return wrong


def true_digits(rows: Tensors) -> list[list[int]]:
    """The digits of each strip, without padding."""
    return [row[row >= 0].tolist() for row in rows["digits"]]


def digit_errors(labels: NDArray[np.int64], true: list[list[int]]) -> NDArray[np.int64]:
    """Edit distance of the digits read off each row of labels to the true ones, int64 [sample]."""
    return np.array([edit_distance(read_off(row), digits) for row, digits in zip(labels, true, strict=True)])


def read_off(labels: NDArray[np.int64]) -> list[int]:
    """Labels of columns → digits: short runs are dropped, then neighbours that are equal are one.

    Example:
        With runs of three: 7 7 7 10 10 10 3 3 3 1 3 3 3 → 7, 3: the single 1 is noise, the 3 goes on after it.
    """
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    lengths = np.diff(starts, append=len(labels))
    runs = labels[starts][lengths >= LEAST_RUN]
    digits: list[int] = runs[(np.diff(runs, prepend=-1) != 0) & (runs != BETWEEN)].tolist()
    return digits


def place_in_digit(targets: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Columns by their place in the digit that they belong to: its first columns, its last, those between, none.

    What a one-way network cannot know is in the first.
    """
    starts = np.diff(targets, axis=1, prepend=-1) != 0
    columns = np.broadcast_to(np.arange(targets.shape[1]), targets.shape)
    since = columns - np.maximum.accumulate(np.where(starts, columns, 0), axis=1)
    inside = targets != BETWEEN
    groups = {
        f"{first + 1}-{last}": inside & (since >= first) & (since < last)
        for first, last in ((0, 3), (3, 6), (6, 10), (10, 15))
    }
    return {**groups, "over 15": inside & (since >= 15), "between": ~inside}


def baselines(samples: Samples) -> dict[str, Prediction]:
    """The most frequent label; logistic regression on the pixels of a column and of seven on each side of it."""
    frequent, linear = [], []
    inputs, targets = samples.tensors["inputs"], samples.tensors["targets"]
    columns = targets.shape[1]
    for fold in samples.folds:
        past = np.concatenate([fold.train, fold.valid])
        every = len(past) * columns
        drawn = np.random.default_rng(0).choice(every, min(FITTED, every), replace=False)
        strip, column = drawn // columns, drawn % columns
        known = surroundings(inputs[past], strip, column)
        predict = logistic_regression(known, targets[past[strip], column], CLASSES, max_iter=60)
        frequent.append(np.full((len(fold.test), columns), majority(targets[past].ravel())))
        # Strip by strip: the surroundings of all columns at once would fill half a gigabyte.
        for row in fold.test:
            new = surroundings(inputs[row : row + 1], np.zeros(columns, np.int64), np.arange(columns))
            linear.append(labels_of(predict(new)))
    return {"majority": np.concatenate(frequent), "logistic_regression": np.stack(linear)}


def surroundings(strips: NDArray[np.uint8], strip: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float32]:
    """Pixels of columns and of their neighbours on both sides; beyond a strip's ends there is paper.

    Args:
        strips: uint8 [strip, column, row].
        strip: Which strips, int64 [place].
        column: Which of their columns, int64 [place].

    Returns:
        float32 [place, (2 × REACH + 1) × row], 0 to 1.
    """
    padded = np.pad(strips, ((0, 0), (REACH, REACH), (0, 0)))
    windows = padded[strip[:, None], column[:, None] + np.arange(2 * REACH + 1)]
    pixels: NDArray[np.float32] = windows.reshape(len(strip), -1) / np.float32(255)
    return pixels


def plot(folder: Path, title: str, prediction: Prediction, rows: Tensors, evaluation: Mapping[str, Any]) -> None:
    """Strips with true and predicted labels, accuracy by the place in a digit, confusion of labels."""
    from unroll.plotting.figures import by_group_bars, confusion_matrix, entitle, figure, save

    test, base = evaluation["test"], evaluation["baseline"]["logistic_regression"]
    targets, labels = rows["targets"], labels_of(prediction)
    losses = per_sample_loss(prediction, rows)
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
