"""Strips of handwritten digits side by side, composed from single images."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.config.tokenizer import TokenizerConfig
from unroll.domains.strips.config import StripCaptionTask, StripColumnTask
from unroll.errors import DataError, SplitError
from unroll.features.samples import Fold, Samples, Tensors, check_splits
from unroll.features.special_tokens import EOS, IGNORE_INDEX
from unroll.features.text import Vocabulary, pad

BETWEEN = 10
"""Label of a column that no digit covers."""
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
OVERLAP, GAP = 4, 10
"""Columns that two neighbours share at most, and columns between them at most."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Strips:
    """Composed strips.

    Attributes:
        pixels: uint8 [strip, column, row of the image].
        labels: Digit of each column or `BETWEEN`, int64 [strip, column].
        digits: From left to right, IGNORE_INDEX after the last, int64 [strip, digit].
    """

    pixels: Pixels
    labels: NDArray[np.int64]
    digits: NDArray[np.int64]


def make_samples(table: pa.Table, section: StripColumnTask | StripCaptionTask, name: str) -> Samples:
    """Return the samples of a task of either kind."""
    if isinstance(section, StripCaptionTask):
        return _caption_samples(table, section, name)
    return _column_samples(table, section, name)


def _column_samples(table: pa.Table, task: StripColumnTask, name: str) -> Samples:
    """Strips, and which digit each of their pixel columns belongs to.

    Args:
        table: Columns row_id, split, label, pixels (uint8 [784]).
        task: Its parameters.
        name: Its name, for error messages.

    Returns:
        inputs uint8 [sample, column, 28], targets int64 [sample, column] (10 between digits), digits int64
        [sample, digit] (IGNORE_INDEX after the last).

    Raises:
        DataError: An image has no ink.
        SplitError: There are too few images, or a split is empty.
    """
    strips, fold = _all_strips(table, task, name)
    return Samples({"inputs": strips.pixels, "targets": strips.labels, "digits": strips.digits}, (fold,))


def _caption_samples(table: pa.Table, task: StripCaptionTask, name: str) -> Samples:
    """Strips, and their digits as a sentence.

    Args:
        table: As `strip_column_samples` has it.
        task: Its parameters.
        name: Its name, for error messages.

    Returns:
        inputs uint8 [sample, column, 28], targets int64 [sample, step] (`<eos>` at the end, IGNORE_INDEX after it),
        target_lengths int64 [sample] (with `<eos>`), digits int64 [sample, digit], caption (text "seven three one").

    Raises:
        DataError: An image has no ink.
        SplitError: There are too few images, or a split is empty.
    """
    strips, fold = _all_strips(table, task, name)
    captions = [" ".join(WORDS[digit] for digit in row if digit != IGNORE_INDEX) for row in strips.digits]
    vocabulary = Vocabulary.fit([" ".join(WORDS)], TokenizerConfig(kind="split", vocabulary_size=50))
    targets, lengths = pad([[*ids, EOS] for ids in vocabulary.encode(captions)], IGNORE_INDEX)
    tensors: Tensors = {"inputs": strips.pixels, "targets": targets, "target_lengths": lengths, "digits": strips.digits}
    tensors["caption"] = np.array(captions, object)
    return Samples(tensors, (fold,), {"caption": vocabulary})


def compose(images: Sequence[Pixels], digits: Sequence[int], gaps: Sequence[int], start: int, columns: int) -> Strips:
    """One strip.

    Where two digits overlap, the darker ink wins, and a column belongs to the digit whose middle is nearer.

    Example:
        A digit 7 of 3 columns at 1 and a digit 2 of 4 columns, gap −1: columns 1 to 3 and 3 to 6. Column 3 is 1 away
        from the middle of the 7 (2) and 1.5 from that of the 2 (4.5), so it is a 7: labels 10 7 7 7 2 2 2 10.

    Args:
        images: Their ink, uint8 [column of the digit, row].
        digits: What they show.
        gaps: Columns between neighbours; negative ones overlap.
        start: First column of the first digit.
        columns: Width of the strip.

    Returns:
        One strip, without the first axis.
    """
    pixels = np.zeros((columns, images[0].shape[1]), np.uint8)
    labels = np.full(columns, BETWEEN, np.int64)
    nearest = np.full(columns, np.inf)
    for image, digit, gap in zip(images, digits, [*gaps, 0], strict=True):
        own = slice(start, start + len(image))
        np.maximum(pixels[own], image, out=pixels[own])
        distance = np.abs(np.arange(columns)[own] - (start + (len(image) - 1) / 2))
        closer = distance < nearest[own]
        labels[own][closer] = digit
        nearest[own][closer] = distance[closer]
        start += len(image) + gap
    return Strips(pixels, labels, np.asarray(digits, np.int64))


def _all_strips(table: pa.Table, task: StripColumnTask | StripCaptionTask, name: str) -> tuple[Strips, Fold]:
    """Strips of the training split, then of validation, then of the test split; no image stands in two of them."""
    split = np.array(table["split"].to_pylist(), object)
    train, test = np.flatnonzero(split == "train"), np.flatnonzero(split == "test")
    # Enough for validation strips that rarely share an image, and never more than a tenth of the images.
    held = min(task.valid * task.digits[1], len(train) // 10)
    if not held or not len(test):
        raise SplitError(
            f"tasks.{name}: dataset {task.dataset} has {len(train)} training and {len(test)} test images; strips need "
            "at least 10 and 1"
        )
    parts = []
    sources = ((train[:-held], task.train), (train[-held:], task.valid), (test, task.test))
    for place, (rows, count) in enumerate(sources):
        rng = np.random.default_rng([task.seed, place])
        parts.append(_strips(_ink(table.take(rows), name), table["label"].to_numpy()[rows], count, task, rng))
    ends = np.cumsum([0, task.train, task.valid, task.test])
    fold = Fold("all", *(np.arange(first, last) for first, last in itertools.pairwise(ends)))
    check_splits((fold,), name)
    return Strips(*(np.concatenate(kind) for kind in zip(*parts, strict=True))), fold


def _strips(
    images: Sequence[Pixels],
    labels: NDArray[np.integer],
    count: int,
    task: StripColumnTask | StripCaptionTask,
    rng: np.random.Generator,
) -> tuple[Pixels, NDArray[np.int64], NDArray[np.int64]]:
    """Strips of digits, gaps and a start drawn by chance: what `Strips` has."""
    least, most = task.digits
    pixels = np.zeros((count, task.columns, images[0].shape[1]), np.uint8)
    columns = np.full((count, task.columns), BETWEEN, np.int64)
    digits = np.full((count, most), IGNORE_INDEX, np.int64)
    for strip in range(count):
        chosen = rng.integers(len(images), size=rng.integers(least, most + 1))
        pieces = [images[one] for one in chosen]
        free = task.columns - sum(map(len, pieces))
        # Half of a narrow digit stays its own.
        overlaps = [min(OVERLAP, len(one) // 2, len(other) // 2) for one, other in itertools.pairwise(pieces)]
        gaps = [int(rng.integers(-overlap, min(GAP, free // len(pieces)) + 1)) for overlap in overlaps]
        start = int(rng.integers(free - sum(gaps) + 1))
        one = compose(pieces, labels[chosen].tolist(), gaps, start, task.columns)
        pixels[strip], columns[strip] = one.pixels, one.labels
        digits[strip, : len(chosen)] = one.digits
    return pixels, columns, digits


def _ink(table: pa.Table, name: str) -> list[Pixels]:
    """Each image from its first to its last column with ink, uint8 [column, row]."""
    flat = table["pixels"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    turned = flat.reshape(-1, 28, 28).transpose(0, 2, 1)
    inked = turned.any(2)
    empty = ~inked.any(1)
    if empty.any():
        raise DataError(
            f"tasks.{name}: the image of row {table['row_id'][int(empty.argmax())]} is blank (blank ones: "
            f"{empty.sum():,}); take it out of the dataset"
        )
    first, last = inked.argmax(1), 28 - inked[:, ::-1].argmax(1)
    return [image[one:other] for image, one, other in zip(turned, first, last, strict=True)]
