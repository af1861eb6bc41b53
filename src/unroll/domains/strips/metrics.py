"""Right columns and right digits of strips, and baselines."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unroll.domains.strips.config import StripCaptionTask, StripColumnTask
from unroll.domains.strips.samples import BETWEEN
from unroll.features.samples import Index, Samples, Tensors
from unroll.metrics.classification import labels_of, logistic_regression, majority
from unroll.metrics.live import Live, label_lists, share_of_equal
from unroll.metrics.metrics import Metrics, Prediction
from unroll.metrics.tokens import by_group, edit_distance, ended, written

if TYPE_CHECKING:
    import pandas as pd

CLASSES = 11
LEAST_RUN = 3
"""Columns of one label that make a digit; shorter runs are noise."""
REACH = 7
"""Columns on each side that the linear baseline sees."""
FITTED = 60_000
"""Columns that it is fitted on, drawn from the training strips."""


def make_metrics(section: StripColumnTask | StripCaptionTask, samples: Samples) -> Metrics:
    """Return the metrics of a task of either kind."""
    if isinstance(section, StripCaptionTask):
        return _caption_metrics()
    return Metrics(
        "frame_accuracy",
        higher_is_better=True,
        score=column_scores,
        per_sample_loss=wrong_columns,
        baselines=column_baselines,
        test="paired_t_test",
    )


def column_scores(prediction: Prediction, rows: Tensors) -> dict[str, Any]:
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


def wrong_columns(prediction: Prediction, rows: Tensors) -> NDArray[np.float64]:
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


def column_baselines(samples: Samples) -> dict[str, Prediction]:
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


def live_metrics(kind: str, rows: "pd.DataFrame") -> Live:
    """Return the metrics of strips whose truth is known."""
    if kind == "captions":
        pairs = zip(rows["prediction"].astype(str), rows["truth"].astype(str), strict=True)
        return {"exact_match": float(np.mean([said.split() == true.split() for said, true in pairs]))}
    true, predicted = label_lists(rows)
    return {"frame_accuracy": share_of_equal(true, predicted)}


CHUNK = 250
"""Strips that are compared with all training strips at once."""


def _caption_metrics() -> Metrics:
    """Return the metrics of a task of kind captions."""
    return Metrics(
        "exact_match",
        higher_is_better=True,
        score=caption_scores,
        per_sample_loss=wrong_caption,
        baselines=caption_baselines,
        test="mcnemar",
    )


def caption_scores(prediction: Prediction, rows: Tensors) -> dict[str, Any]:
    """Right sentences, and right words.

    Args:
        prediction: Token numbers int64 [sample, time], padded after `<eos>`.
        rows: `targets`, the same of the true sentences.

    Returns:
        exact_match: share of sentences right from beginning to end; digit_error_rate: edit distance to the true words
        over their number; by_digits: both by the number of digits.
    """
    true = written(rows["targets"])
    errors = np.array([edit_distance(*pair) for pair in zip(written(prediction), true, strict=True)])
    counts = np.array([len(words) for words in true])

    def figures(inside: Any) -> dict[str, Any]:
        return {
            "exact_match": float((errors[inside] == 0).mean()),
            "digit_error_rate": float(errors[inside].sum() / counts[inside].sum()),
            "rows": len(errors[inside]),
        }

    groups = {str(count): counts == count for count in np.unique(counts)}
    return {**figures(slice(None)), "by_digits": by_group(groups, figures)}


def wrong_caption(prediction: Prediction, rows: Tensors) -> NDArray[np.float64]:
    """1 where any word of a sentence is wrong, else 0."""
    pairs = zip(written(prediction), written(rows["targets"]), strict=True)
    return np.array([said != true for said, true in pairs], np.float64)


def caption_baselines(samples: Samples) -> dict[str, Prediction]:
    """The most frequent sentence, and that of the training strip with the nearest pixels."""
    inputs, targets = samples.tensors["inputs"], samples.tensors["targets"]
    frequent, nearest = [], []
    for fold in samples.folds:
        past = np.concatenate([fold.train, fold.valid])
        sentences = written(targets[past])
        common, _ = Counter(map(tuple, sentences)).most_common(1)[0]
        frequent += [list(common)] * len(fold.test)
        nearest += [sentences[place] for place in _nearest(inputs, past, fold.test)]
    return {"most_frequent": ended(frequent), "nearest_strip": ended(nearest)}


def _nearest(inputs: NDArray[np.uint8], known: Index, asked: Index) -> NDArray[np.int64]:
    """Of each strip asked for, the place among the known ones of that with the least squared difference of pixels."""
    pixels = inputs.reshape(len(inputs), -1)
    there = pixels[known].astype(np.float32)
    # |x − m|² = |x|² − 2·x·m + |m|²; the first term is the same for every known strip.
    squares = (there**2).sum(1)
    places = [
        (squares - 2 * pixels[asked[start : start + CHUNK]].astype(np.float32) @ there.T).argmin(1)
        for start in range(0, len(asked), CHUNK)
    ]
    return np.concatenate(places)
