"""Texts with a class, running text, and what all tasks that read text share."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll import config
from unroll.errors import DataError
from unroll.features.groups import connected, given_splits, normalized, required_splits, share_fold
from unroll.features.samples import Fold, Samples, Tensors, check_splits
from unroll.features.special_tokens import EOS, IGNORE_INDEX, PAD, UNK
from unroll.features.text import Vocabulary, pad


def text_class_samples(table: pa.Table, task: config.TextClassTask, name: str) -> Samples:
    """Texts and their classes; texts that say the same stand in one split.

    Args:
        table: Columns row_id, split, text, and label or rating.
        task: Its parameters.
        name: Its name, for error messages.

    Returns:
        inputs int64 [sample, time] (PAD after the end), lengths int64 [sample], targets float32 [sample, class]
        (probabilities), label int64 [sample], rating float32 [sample] (of ratings alone), text. Notes: cut, left_out.

    Raises:
        DataError: A text is empty, too long where that is refused, or has no class.
        SplitError: A split is empty, or rows with and without a split are mixed.
    """
    texts = table["text"].to_pylist()
    classes = _classes(table, task, name)
    fold, left_out = share_fold(connected([normalized(text)] for text in texts), given_splits(table, name), task.splits)
    check_splits((fold,), name)
    vocabulary = Vocabulary.fit((texts[row] for row in fold.train), task.tokenizer)
    ids, too_long = encode(vocabulary, texts, table, "text", task, name)
    inputs, lengths = pad(ids)
    tensors = {"inputs": inputs, "lengths": lengths, **classes, "text": np.array(texts, object)}
    return Samples(tensors, (fold,), {"text": vocabulary}, {"cut": int(too_long.sum()), "left_out": left_out})


def language_samples(table: pa.Table, task: config.LanguageTask, name: str) -> Samples:
    """Running text, cut into windows; each continues the one before it in its split.

    The tokens of a line are followed by `<eos>`, which is also what the first token of a split follows.

    Example:
        Lines "a b", "c" and windows of 3: the stream a b <eos> c <eos> is read as (<eos> a b), (<eos> c PAD) to tell
        (a b <eos>), (c <eos> IGNORE_INDEX).

    Args:
        table: Columns split, text; a line of text a row, in order.
        task: Its parameters.
        name: Its name, for error messages.

    Returns:
        inputs and targets int64 [window, time]: the windows of train, then of valid, then of test. Notes: tokens and
        share of unknown ones of each split.

    Raises:
        DataError: A line is empty.
        SplitError: A split is empty, or a row has none.
    """
    texts, splits = np.array(table["text"].to_pylist(), object), required_splits(table, name)
    lines = {part: texts[splits == part] for part in ("train", "valid", "test")}
    check_splits((Fold("all", *(np.flatnonzero(splits == part) for part in lines)),), name)
    vocabulary = Vocabulary.fit(lines["train"], task.tokenizer)
    windows, tokens, unknown = [], {}, {}
    for part, own in lines.items():
        ids = vocabulary.encode(own)
        _refuse_empty(ids, own, table["row_id"].to_numpy()[splits == part], "text", name)
        stream = np.fromiter(itertools.chain.from_iterable([EOS, *line] for line in [*ids, []]), np.int64)
        windows.append(_windows(stream, task.window))
        tokens[part] = len(stream) - 1
        unknown[part] = float((stream == UNK).mean())
    ends = np.cumsum([0, *(len(inputs) for inputs, _ in windows)])
    fold = Fold("all", *(np.arange(first, last) for first, last in itertools.pairwise(ends)))
    tensors = {"inputs": np.concatenate([one for one, _ in windows])}
    tensors["targets"] = np.concatenate([one for _, one in windows])
    return Samples(tensors, (fold,), {"text": vocabulary}, {"tokens": tokens, "unknown": unknown})


def encode(
    vocabulary: Vocabulary,
    texts: Sequence[str],
    table: pa.Table,
    side: str,
    task: config.TextClassTask | config.TranslationTask | config.TagTask,
    name: str,
) -> tuple[list[list[int]], NDArray[np.bool_]]:
    """Token numbers of each row, none longer than the task allows.

    Args:
        vocabulary: What cuts the texts.
        texts: One a row.
        table: Has `row_id`, for error messages.
        side: What the texts are, for error messages.
        task: Says the greatest length, and what to do beyond it.
        name: Of the task.

    Returns:
        The numbers, and which rows were cut.

    Raises:
        DataError: A text has no tokens, or is too long where that is refused.
    """
    ids = vocabulary.encode(texts)
    rows = table["row_id"].to_numpy()
    _refuse_empty(ids, texts, rows, side, name)
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    too_long = lengths > task.max_tokens
    if too_long.any() and not task.truncation:
        row = int(too_long.argmax())
        raise DataError(
            f"tasks.{name}: the {side} of row {rows[row]} has {lengths[row]} tokens, max_tokens is {task.max_tokens} "
            f"(rows too long: {too_long.sum():,}, the longest {lengths.max()}): raise max_tokens, shorten the rows or "
            "set truncation: true"
        )
    return [row[: task.max_tokens] for row in ids], too_long


def _refuse_empty(ids: Sequence[Sequence[int]], texts: Sequence[str], rows: NDArray[Any], side: str, name: str) -> None:
    for one, text, row in zip(ids, texts, rows, strict=True):
        if not one:
            raise DataError(
                f"tasks.{name}: the {side} of row {row} is empty: {text!r} has no token; take the row out of the data"
            )


def _windows(stream: NDArray[np.int64], length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Inputs and the tokens after them, int64 [window, time]."""
    count = -(-(len(stream) - 1) // length)
    inputs = np.full(count * length, PAD, np.int64)
    targets = np.full(count * length, IGNORE_INDEX, np.int64)
    inputs[: len(stream) - 1] = stream[:-1]
    targets[: len(stream) - 1] = stream[1:]
    return inputs.reshape(count, length), targets.reshape(count, length)


def _classes(table: pa.Table, task: config.TextClassTask, name: str) -> Tensors:
    """`targets` float32 [row, class], `label` int64 [row], and `rating` float32 [row] of ratings."""
    column = "label" if task.thresholds is None else "rating"
    values = table[column].to_pylist()
    numbers = {label: number for number, label in enumerate(task.classes)}
    for row, value in zip(table["row_id"].to_pylist(), values, strict=True):
        if value is None:
            raise DataError(
                f"tasks.{name}: row {row} has no {column}; ratings need tasks.{name}.thresholds, labels must go "
                "without, and a dataset has one of them"
            )
        if column == "label" and value not in numbers:
            raise DataError(
                f"tasks.{name}: row {row} has the label {value!r}, which is not among tasks.{name}.classes: "
                f"{', '.join(task.classes)}"
            )
    if task.thresholds is None:
        label = np.array([numbers[value] for value in values], np.int64)
        return {"targets": np.eye(len(numbers), dtype=np.float32)[label], "label": label}
    rating = np.array(values, np.float64)
    label = rating_classes(rating, task.thresholds)
    targets = soft_labels(rating, task.thresholds, task.rating_noise)
    return {"targets": targets, "label": label, "rating": rating.astype(np.float32)}


def rating_classes(ratings: NDArray[np.float64], thresholds: Sequence[float]) -> NDArray[np.int64]:
    """The class of each rating, int64 [row]; a rating on a threshold is of the class nearer to the middle one.

    Example:
        Thresholds −1 and 1: −1.5 → 0, −1 → 1, 0 → 1, 1 → 1, 1.5 → 2. Where both classes are as near (one threshold), it
        is the upper one.
    """
    label = np.zeros(len(ratings), np.int64)
    for place, threshold in enumerate(thresholds):
        below_the_middle = 2 * place < len(thresholds)
        label += ratings >= threshold if below_the_middle else ratings > threshold
    return label


def soft_labels(ratings: NDArray[np.float64], thresholds: Sequence[float], noise: float) -> NDArray[np.float32]:
    """Probability of each class if a rating is known up to a normal error of deviation `noise`, float32 [row, class].

    Example:
        Thresholds −1 and 1, noise 1, rating 1: Φ(−2), Φ(0) − Φ(−2) and 1 − Φ(0) → 0.023, 0.477, 0.5.
    """
    if not noise:
        return np.eye(len(thresholds) + 1, dtype=np.float32)[rating_classes(ratings, thresholds)]
    distance = (np.asarray(thresholds) - ratings[:, None]) / noise
    below = 0.5 * (1 + np.vectorize(math.erf, otypes=[float])(distance / math.sqrt(2)))
    edges = np.concatenate([np.zeros((len(ratings), 1)), below, np.ones((len(ratings), 1))], axis=1)
    return np.diff(edges, axis=1).astype(np.float32)
