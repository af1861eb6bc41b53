"""Accuracy of column labels and captions of strips, and baselines."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unroll.domains.strips.config import StripCaptionTask, StripColumnTask, StripReadingTask
from unroll.domains.strips.samples import BETWEEN
from unroll.features.samples import Index, Samples, Tensors
from unroll.features.symbols import collapse
from unroll.metrics.classification import labels_of, logistic_regression, majority
from unroll.metrics.live import Live, label_accuracy, label_lists
from unroll.metrics.metrics import Metrics, Prediction
from unroll.metrics.tokens import by_group, edit_distance, with_eos, without_padding

if TYPE_CHECKING:
    import pandas as pd

CLASSES = 11
MIN_RUN = 3
"""Least number of columns with one label that count as a digit; shorter runs are noise."""
CONTEXT = 7
"""Columns on each side that the linear baseline reads."""
FITTED = 60_000
"""Columns of training strips that the linear baseline is fitted on."""
CHUNK = 250
"""Strips that are compared with all training strips in one matrix product."""


def make_metrics(section: StripColumnTask | StripCaptionTask | StripReadingTask, samples: Samples) -> Metrics:
    """Return the metrics of a task of any kind."""
    if isinstance(section, StripCaptionTask):
        return _caption_metrics()
    if isinstance(section, StripReadingTask):
        return _reading_metrics()
    return Metrics(
        "frame_accuracy",
        higher_is_better=True,
        score=column_scores,
        per_sample_loss=wrong_columns,
        baselines=column_baselines,
        test="paired_t_test",
    )


def column_scores(prediction: Prediction, rows: Tensors) -> dict[str, Any]:
    """Return the accuracy of column labels, and the error rate of the digits read off from them.

    Args:
        prediction: Labels int64 [sample, column], or their probabilities float32 [sample, column, label].
        rows: `targets` int64 [sample, column], `digits` int64 [sample, digit] padded with a negative number.

    Returns:
        frame_accuracy; digit_error_rate: edit distance between the digits read off and the true ones, over the number
        of true ones; exact_match: share of strips without such an error; least_digit_error_rate: error rate of the true
        labels, where equal digits that touch are read as one; by_place: frame accuracy by the column's place in its
        digit.
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
            name: {"frame_accuracy": float(right[mask].mean()), "columns": int(mask.sum())}
            for name, mask in places.items()
            if mask.any()
        },
    }


def wrong_columns(prediction: Prediction, rows: Tensors) -> NDArray[np.float64]:
    """Return the share of wrong columns in each strip, float64 [sample]."""
    wrong: NDArray[np.float64] = (labels_of(prediction) != rows["targets"]).mean(1)
    return wrong


def true_digits(rows: Tensors) -> list[list[int]]:
    """Return the digits of each strip, without padding."""
    return [row[row >= 0].tolist() for row in rows["digits"]]


def digit_errors(labels: NDArray[np.int64], true: list[list[int]]) -> NDArray[np.int64]:
    """Return the edit distance of the digits read off from labels to the true digits, int64 [sample]."""
    return np.array([edit_distance(read_off(row), digits) for row, digits in zip(labels, true, strict=True)])


def read_off(labels: NDArray[np.int64]) -> list[int]:
    """Return the digits of column labels: short runs are dropped, then equal neighbors are merged.

    Example:
        7 7 7 10 10 10 3 3 3 1 3 3 3 → 7, 3: the run of a single 1 is noise.
    """
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    lengths = np.diff(starts, append=len(labels))
    runs = labels[starts][lengths >= MIN_RUN]
    digits: list[int] = runs[(np.diff(runs, prepend=-1) != 0) & (runs != BETWEEN)].tolist()
    return digits


def place_in_digit(targets: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Group columns by their place in their digit: `1-3`, `4-6`, …, and `between` for columns between digits.

    A one-way network knows little of a digit in its first columns.
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
    """Return the most frequent label, and a logistic regression on the pixels of a column and of seven on each side."""
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
        # Strip by strip: the pixels around all columns take half a gigabyte.
        for row in fold.test:
            new = surroundings(inputs[row : row + 1], np.zeros(columns, np.int64), np.arange(columns))
            linear.append(labels_of(predict(new)))
    return {"majority": np.concatenate(frequent), "logistic_regression": np.stack(linear)}


def surroundings(strips: NDArray[np.uint8], strip: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the pixels of columns and of their neighbors on both sides; pixels beyond the ends of a strip are blank.

    Args:
        strips: uint8 [strip, column, row].
        strip: Index of the strip of each column, int64 [sample].
        column: Index of each column, int64 [sample].

    Returns:
        float32 [sample, (2 × CONTEXT + 1) × row], 0 to 1.
    """
    padded = np.pad(strips, ((0, 0), (CONTEXT, CONTEXT), (0, 0)))
    windows = padded[strip[:, None], column[:, None] + np.arange(2 * CONTEXT + 1)]
    pixels: NDArray[np.float32] = windows.reshape(len(strip), -1) / np.float32(255)
    return pixels


def live_metrics(kind: str, rows: "pd.DataFrame") -> Live:
    """Return the metrics of strips whose truth is known."""
    if kind in ("captions", "reading"):
        pairs = zip(rows["prediction"].astype(str), rows["truth"].astype(str), strict=True)
        return {"exact_match": float(np.mean([caption.split() == true.split() for caption, true in pairs]))}
    true, predicted = label_lists(rows)
    return {"frame_accuracy": label_accuracy(true, predicted)}


def _reading_metrics() -> Metrics:
    return Metrics(
        "exact_match",
        higher_is_better=True,
        score=lambda prediction, rows: _sequence_scores(read_symbols(prediction), true_symbols(rows)),
        per_sample_loss=wrong_reading,
        baselines=reading_baselines,
        test="mcnemar",
    )


def wrong_reading(prediction: Prediction, rows: Tensors) -> NDArray[np.float64]:
    """Return 1 for each strip with a wrong digit, else 0, float64 [sample]."""
    return _wrong(read_symbols(prediction), true_symbols(rows))


def true_symbols(rows: Tensors) -> list[list[int]]:
    """Return the symbols of each strip, 1 more than its digits, without padding."""
    return [row[row > 0].tolist() for row in rows["targets"]]


def read_symbols(prediction: Prediction) -> list[list[int]]:
    """Return the symbols of each sample: those of most probability, equal neighbors once, without the blank 0.

    Args:
        prediction: Probabilities float32 [sample, step, symbol], or symbols int64 [sample, step].
    """
    return collapse(labels_of(prediction))


def reading_baselines(samples: Samples) -> dict[str, Prediction]:
    """Return the symbols of the training strip with the nearest pixels, a blank after each."""
    targets = samples.tensors["targets"].clip(0)
    spaced = np.stack([targets, np.zeros_like(targets)], 2).reshape(len(targets), -1)
    found = []
    for fold in samples.folds:
        past = np.concatenate([fold.train, fold.valid])
        found.append(spaced[past][_nearest(samples.tensors["inputs"], past, fold.test)])
    return {"nearest_strip": np.concatenate(found)}


def _caption_metrics() -> Metrics:
    return Metrics(
        "exact_match",
        higher_is_better=True,
        score=caption_scores,
        per_sample_loss=wrong_caption,
        baselines=caption_baselines,
        test="mcnemar",
    )


def caption_scores(prediction: Prediction, rows: Tensors) -> dict[str, Any]:
    """Return the share of right captions, and the error rate of their words.

    Args:
        prediction: Token numbers int64 [sample, time], padded after `<eos>`.
        rows: `targets`, token numbers of the true captions.

    Returns:
        exact_match: share of captions without an error; digit_error_rate: edit distance to the true words over their
        number; by_digits: both by the number of digits.
    """
    return _sequence_scores(without_padding(prediction), without_padding(rows["targets"]))


def _sequence_scores(found: list[list[int]], true: list[list[int]]) -> dict[str, Any]:
    errors = np.array([edit_distance(*pair) for pair in zip(found, true, strict=True)])
    counts = np.array([len(words) for words in true])

    def score(mask: Any) -> dict[str, Any]:
        return {
            "exact_match": float((errors[mask] == 0).mean()),
            "digit_error_rate": float(errors[mask].sum() / counts[mask].sum()),
            "rows": len(errors[mask]),
        }

    groups = {str(count): counts == count for count in np.unique(counts)}
    return {**score(slice(None)), "by_digits": by_group(groups, score)}


def wrong_caption(prediction: Prediction, rows: Tensors) -> NDArray[np.float64]:
    """Return 1 for each caption with a wrong word, else 0, float64 [sample]."""
    return _wrong(without_padding(prediction), without_padding(rows["targets"]))


def _wrong(found: list[list[int]], true: list[list[int]]) -> NDArray[np.float64]:
    return np.array([one != other for one, other in zip(found, true, strict=True)], np.float64)


def caption_baselines(samples: Samples) -> dict[str, Prediction]:
    """Return the most frequent caption, and the caption of the training strip with the nearest pixels."""
    inputs, targets = samples.tensors["inputs"], samples.tensors["targets"]
    frequent, nearest = [], []
    for fold in samples.folds:
        past = np.concatenate([fold.train, fold.valid])
        captions = without_padding(targets[past])
        common, _ = Counter(map(tuple, captions)).most_common(1)[0]
        frequent += [list(common)] * len(fold.test)
        nearest += [captions[index] for index in _nearest(inputs, past, fold.test)]
    return {"most_frequent": with_eos(frequent), "nearest_strip": with_eos(nearest)}


def _nearest(inputs: NDArray[np.uint8], known: Index, wanted: Index) -> NDArray[np.int64]:
    """Return for each wanted strip the position in `known` of the one with the least squared difference of pixels."""
    pixels = inputs.reshape(len(inputs), -1)
    known_pixels = pixels[known].astype(np.float32)
    # |x − m|² = |x|² − 2·x·m + |m|²; the first term is the same for every known strip.
    squares = (known_pixels**2).sum(1)
    nearest = [
        (squares - 2 * pixels[wanted[start : start + CHUNK]].astype(np.float32) @ known_pixels.T).argmin(1)
        for start in range(0, len(wanted), CHUNK)
    ]
    return np.concatenate(nearest)
