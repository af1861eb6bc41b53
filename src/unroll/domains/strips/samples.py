"""Samples of strips: handwritten digits side by side, composed from single images."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from unroll.config.tokenizer import TokenizerConfig
from unroll.domains.strips.config import StripCaptionTask, StripColumnTask, StripReadingTask
from unroll.errors import DataError, SplitError
from unroll.features.samples import Fold, Samples, Tensors, check_splits
from unroll.features.special_tokens import EOS, IGNORE_INDEX
from unroll.features.text import Vocabulary, pad

BETWEEN = 10
"""Label of a column that no digit covers."""
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
OVERLAP, GAP = 4, 10
"""Largest number of columns that two neighbors share, and largest number of columns between them."""

Pixels = NDArray[np.uint8]
Section = StripColumnTask | StripCaptionTask | StripReadingTask


@dataclass(frozen=True)
class Strips:
    """Composed strips.

    Attributes:
        pixels: uint8 [strip, column, row of the image].
        labels: Digit of each column or `BETWEEN`, int64 [strip, column].
        digits: Digits from left to right, IGNORE_INDEX after the last, int64 [strip, digit].
    """

    pixels: Pixels
    labels: NDArray[np.int64]
    digits: NDArray[np.int64]


def make_samples(table: pa.Table, section: Section, name: str) -> Samples:
    """Return strips with a label for each pixel column, with their digits, or with a caption.

    Args:
        table: Columns row_id, split, label, pixels (uint8 [784]).
        section: Parameters of the task.
        name: Name of the task, for error messages.

    Returns:
        inputs uint8 [sample, column, 28] and digits int64 [sample, digit] (IGNORE_INDEX after the last). For column
        labels targets int64 [sample, column] (10 between digits). For reading targets int64 [sample, digit] (1 more
        than the digit, IGNORE_INDEX after the last). For captions caption (text "seven three one"), targets int32
        [sample, step] (`<eos>` at the end, IGNORE_INDEX after it) and target_lengths int64 [sample] (with `<eos>`).

    Raises:
        DataError: An image is blank.
        SplitError: There are too few images, or a split is empty.
    """
    strips, fold = _all_strips(table, section, name)
    tensors: Tensors = {"inputs": strips.pixels, "digits": strips.digits}
    if isinstance(section, StripColumnTask):
        return Samples(tensors | {"targets": strips.labels}, (fold,))
    if isinstance(section, StripReadingTask):
        symbols = np.where(strips.digits == IGNORE_INDEX, IGNORE_INDEX, strips.digits + 1)
        return Samples(tensors | {"targets": symbols}, (fold,))
    captions = [" ".join(WORDS[digit] for digit in row if digit != IGNORE_INDEX) for row in strips.digits]
    vocabulary = Vocabulary.fit([" ".join(WORDS)], TokenizerConfig(kind="split", vocabulary_size=50))
    targets, lengths = pad([[*ids, EOS] for ids in vocabulary.encode(captions)], IGNORE_INDEX)
    tensors |= {"targets": targets, "target_lengths": lengths, "caption": np.array(captions, object)}
    return Samples(tensors, (fold,), {"caption": vocabulary})


def compose(images: Sequence[Pixels], digits: Sequence[int], gaps: Sequence[int], start: int, columns: int) -> Strips:
    """Compose one strip.

    Where two digits overlap, the darker ink is kept, and a column belongs to the digit whose middle is nearer.

    Example:
        A digit 7 of 3 columns at 1 and a digit 2 of 4 columns, gap −1: columns 1 to 3 and 3 to 6. Column 3 is 1 away
        from the middle of the 7 (2) and 1.5 from that of the 2 (4.5), so it is a 7: labels 10 7 7 7 2 2 2 10.

    Args:
        images: Ink of each digit, uint8 [column of the digit, row].
        digits: The digits.
        gaps: Columns between neighbors; negative ones overlap.
        start: First column of the first digit.
        columns: Width of the strip.

    Returns:
        Arrays of `Strips` without the first axis.
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


def _all_strips(table: pa.Table, section: Section, name: str) -> tuple[Strips, Fold]:
    """Return the strips of train, then of valid, then of test; no image is in two of them."""
    split = np.array(table["split"].to_pylist(), object)
    train, test = np.flatnonzero(split == "train"), np.flatnonzero(split == "test")
    # Validation strips rarely share an image, but take at most a tenth of the images.
    held = min(section.valid * section.digits[1], len(train) // 10)
    if not held or not len(test):
        raise SplitError(
            f"tasks.{name}: dataset {section.dataset} has {len(train)} training and {len(test)} test images, expected "
            "at least 10 and 1"
        )
    parts = []
    sources = ((train[:-held], section.train), (train[-held:], section.valid), (test, section.test))
    for number, (rows, count) in enumerate(sources):
        rng = np.random.default_rng([section.seed, number])
        parts.append(_strips(_ink(table.take(rows), name), table["label"].to_numpy()[rows], count, section, rng))
    ends = np.cumsum([0, section.train, section.valid, section.test])
    fold = Fold("all", *(np.arange(first, last) for first, last in itertools.pairwise(ends)))
    check_splits((fold,), name)
    return Strips(*(np.concatenate(kind) for kind in zip(*parts, strict=True))), fold


def _strips(
    images: Sequence[Pixels],
    labels: NDArray[np.integer],
    count: int,
    section: Section,
    rng: np.random.Generator,
) -> tuple[Pixels, NDArray[np.int64], NDArray[np.int64]]:
    """Return pixels, labels and digits of strips with random digits, gaps and start."""
    least, most = section.digits
    pixels = np.zeros((count, section.columns, images[0].shape[1]), np.uint8)
    columns = np.full((count, section.columns), BETWEEN, np.int64)
    digits = np.full((count, most), IGNORE_INDEX, np.int64)
    for strip in range(count):
        chosen = rng.integers(len(images), size=rng.integers(least, most + 1))
        pieces = [images[one] for one in chosen]
        free = section.columns - sum(map(len, pieces))
        # At least half of a narrow digit is not overlapped.
        overlaps = [min(OVERLAP, len(one) // 2, len(other) // 2) for one, other in itertools.pairwise(pieces)]
        gaps = [int(rng.integers(-overlap, min(GAP, free // len(pieces)) + 1)) for overlap in overlaps]
        start = int(rng.integers(free - sum(gaps) + 1))
        one = compose(pieces, labels[chosen].tolist(), gaps, start, section.columns)
        pixels[strip], columns[strip] = one.pixels, one.labels
        digits[strip, : len(chosen)] = one.digits
    return pixels, columns, digits


def _ink(table: pa.Table, name: str) -> list[Pixels]:
    """Return each image from its first to its last column with ink, uint8 [column, row]."""
    lists = table["pixels"].combine_chunks()
    if lists.type.list_size != 784 or table.schema.metadata or pc.max(table["label"]).as_py() > 9:
        raise DataError(
            f"tasks.{name}: strips are made of digits 0 to 9 of 28 × 28 pixels; the dataset has other images"
        )
    flat = lists.flatten().to_numpy(zero_copy_only=False)
    columns = flat.reshape(-1, 28, 28).transpose(0, 2, 1)
    inked = columns.any(2)
    blank = ~inked.any(1)
    if blank.any():
        raise DataError(
            f"tasks.{name}: the image of row {table['row_id'][int(blank.argmax())]} is blank (blank images: "
            f"{blank.sum():,}); remove it from the dataset"
        )
    first, last = inked.argmax(1), 28 - inked[:, ::-1].argmax(1)
    return [image[one:other] for image, one, other in zip(columns, first, last, strict=True)]
