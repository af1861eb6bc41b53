"""Samples of texts with a class."""

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.domains.texts.config import TextClassTask
from unroll.errors import DataError
from unroll.features.encoding import OVER_MAX_TOKENS, encode
from unroll.features.groups import connected, count_truncated, given_splits, normalized, share_fold
from unroll.features.samples import Samples, Tensors, check_splits
from unroll.features.text import Vocabulary, pad


def make_samples(table: pa.Table, section: TextClassTask, name: str) -> Samples:
    """Return texts and their classes; nearly equal texts are in one split.

    Args:
        table: Columns row_id, split, text, and label or rating.
        section: Parameters of the task.
        name: Name of the task, for error messages.

    Returns:
        inputs int32 [sample, time] (PAD after the end), lengths int64 [sample], targets float32 [sample, class]
        (probabilities), label int64 [sample], text, and for ratings rating float32 [sample]. Notes:
        truncated (texts over max_tokens) and left_out (rows that would leak), by split and reason.

    Raises:
        DataError: A text has no tokens, too many without truncation, or no class.
        SplitError: A split is empty, or only some rows have a split.
    """
    texts = table["text"].to_pylist()
    classes = _classes(table, section, name)
    fold, left_out = share_fold(
        connected([normalized(text)] for text in texts), given_splits(table, name), section.splits
    )
    check_splits((fold,), name)
    vocabulary = Vocabulary.fit((texts[row] for row in fold.train), section.tokenizer)
    ids, too_long = encode(vocabulary, texts, table, "text", section, name)
    inputs, lengths = pad(ids)
    tensors: Tensors = {"inputs": inputs, "lengths": lengths, **classes, "text": np.array(texts, object)}
    notes = {"truncated": count_truncated(fold, {OVER_MAX_TOKENS: too_long}), "left_out": left_out}
    return Samples(tensors, (fold,), {"text": vocabulary}, notes)


def _classes(table: pa.Table, section: TextClassTask, name: str) -> Tensors:
    """Return targets float32 [row, class], label int64 [row], and for ratings rating float32 [row]."""
    column = "label" if section.thresholds is None else "rating"
    values = table[column].to_pylist()
    numbers = {label: number for number, label in enumerate(section.classes)}
    for row, value in zip(table["row_id"].to_pylist(), values, strict=True):
        if value is None:
            raise DataError(
                f"tasks.{name}: row {row} has no {column}; set tasks.{name}.thresholds if the dataset has ratings, and "
                "leave them out if it has labels"
            )
        if column == "label" and value not in numbers:
            raise DataError(
                f"tasks.{name}: row {row} has the label {value!r}, which is not among tasks.{name}.classes: "
                f"{', '.join(section.classes)}"
            )
    if section.thresholds is None:
        label = np.array([numbers[value] for value in values], np.int64)
        return {"targets": np.eye(len(numbers), dtype=np.float32)[label], "label": label}
    rating = np.array(values, np.float64)
    label = rating_classes(rating, section.thresholds)
    targets = soft_labels(rating, section.thresholds, section.rating_noise)
    return {"targets": targets, "label": label, "rating": rating.astype(np.float32)}


def rating_classes(ratings: NDArray[np.float64], thresholds: Sequence[float]) -> NDArray[np.int64]:
    """Return the class of each rating, int64 [row]; a rating on a threshold is in the class nearer to the middle.

    Example:
        Thresholds −1 and 1: −1.5 → 0, −1 → 1, 0 → 1, 1 → 1, 1.5 → 2. A single threshold is in the upper class.
    """
    label = np.zeros(len(ratings), np.int64)
    for place, threshold in enumerate(thresholds):
        below_the_middle = 2 * place < len(thresholds)
        label += ratings >= threshold if below_the_middle else ratings > threshold
    return label


def soft_labels(ratings: NDArray[np.float64], thresholds: Sequence[float], noise: float) -> NDArray[np.float32]:
    """Return the probability of each class given ratings with normal errors of deviation `noise`, float32 [row, class].

    Example:
        Thresholds −1 and 1, noise 1, rating 1: Φ(−2), Φ(0) − Φ(−2) and 1 − Φ(0) → 0.023, 0.477, 0.5.
    """
    if not noise:
        return np.eye(len(thresholds) + 1, dtype=np.float32)[rating_classes(ratings, thresholds)]
    distance = (np.asarray(thresholds) - ratings[:, None]) / noise
    below = 0.5 * (1 + np.vectorize(math.erf, otypes=[float])(distance / math.sqrt(2)))
    edges = np.concatenate([np.zeros((len(ratings), 1)), below, np.ones((len(ratings), 1))], axis=1)
    return np.diff(edges, axis=1).astype(np.float32)
