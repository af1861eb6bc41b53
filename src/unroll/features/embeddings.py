"""Pretrained word vectors from GloVe and word2vec text files."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unroll.errors import DataError, FormatError
from unroll.features.special_tokens import SPECIAL_TOKENS
from unroll.features.text import Vocabulary

FILE = "vectors.safetensors"


def read_vectors(path: Path, vocabulary: Vocabulary) -> tuple[NDArray[np.float32], int]:
    """Read the vectors of a vocabulary's tokens.

    A line has a word and its numbers, separated by blanks. The first line of a word2vec file has the number of vectors
    and their size instead. A token without a vector gets the vector of its lowercase form. Of several lines for a word,
    the first one is used. Numbers of words outside the vocabulary are not parsed.

    Args:
        path: UTF-8 text file.
        vocabulary: Vocabulary of the tokens.

    Returns:
        float32 [token, number] with a row of NaN for each token without a vector, and the number of tokens with one.

    Raises:
        DataError: The file has no vector for any token.
        FormatError: A line is not a word and its numbers.
    """
    words = vocabulary.tokens[len(SPECIAL_TOKENS) :]
    wanted = {*words, *map(str.lower, words)}
    found: dict[str, NDArray[np.float32]] = {}
    size = announced = lines = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            parts = _decoded(raw, path, number).rstrip(" \r\n").split(" ")
            if parts == [""]:
                continue
            if number == 1 and len(parts) == 2 and all(part.isdecimal() for part in parts):
                announced, size = int(parts[0]), int(parts[1])
                continue
            size = size or len(parts) - 1
            lines += 1
            word = _word(parts, size, path, number)
            if word in wanted and word not in found:
                found[word] = _numbers(parts[-size:], path, number)
    if announced and lines != announced:
        raise FormatError(f"{path} has {lines:,} vectors, but its first line announces {announced:,}: it was cut short")
    table = np.full((vocabulary.size, size), np.nan, np.float32)
    known = 0
    for row, token in enumerate(words, start=len(SPECIAL_TOKENS)):
        vector = found.get(token, found.get(token.lower()))
        if vector is not None:
            table[row] = vector
            known += 1
    if not known:
        raise DataError(
            f"{path} has no vector for any of the {len(words):,} tokens of the vocabulary (the first ones: "
            f"{', '.join(words[:5])}); is it a file of another language?"
        )
    return table, known


def _decoded(raw: bytes, path: Path, number: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path}, line {number:,}: byte {error.start + 1} of the line (0x{raw[error.start]:02x}) is not UTF-8; "
            "save the file as UTF-8"
        ) from None


def _word(parts: list[str], size: int, path: Path, number: int) -> str:
    """Return the word of a line, which may contain blanks, as in the largest GloVe file."""
    width = len(parts) - 1
    if width < 1 or (width != size and (width < size or any(map(_is_number, parts[1:-size])))):
        raise FormatError(
            f"{path}, line {number:,}: {width} numbers after the word {parts[0][:40]!r}, expected "
            + (f"{size} as in the lines before" if size else "a word and its numbers, separated by blanks")
        )
    return " ".join(parts[:-size])


def _is_number(part: str) -> bool:
    try:
        float(part)
    except ValueError:
        return False
    return True


def _numbers(parts: list[str], path: Path, number: int) -> NDArray[np.float32]:
    for part in parts:
        if not _is_number(part) or not np.isfinite(float(part)):
            raise FormatError(f"{path}, line {number:,}: found {part[:40]!r}, expected a finite number")
    return np.array(parts, np.float32)
