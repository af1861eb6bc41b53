"""Word vectors from GloVe and word2vec files."""

import numpy as np
import pytest

from unroll.config.tokenizer import TokenizerConfig
from unroll.errors import DataError, FormatError
from unroll.features.embeddings import read_vectors
from unroll.features.special_tokens import SPECIAL_TOKENS
from unroll.features.text import Vocabulary

VOCABULARY = Vocabulary.fit(["the the the cat cat dog , Zoë"], TokenizerConfig(kind="word"))


@pytest.fixture
def read(tmp_path):
    def read(content):
        path = tmp_path / "vectors.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_vectors(path, VOCABULARY)

    return read


def vector(table, token):
    return table[VOCABULARY.tokens.index(token)].tolist()


def test_vectors_by_hand(read):
    table, known = read("the 0.1 -2 3e-1\ncat 1 2 3\ncat 4 4 4\n, 7 8 9\nzoë 4 5 6\n")
    assert known == 4
    assert (table.shape, table.dtype) == ((VOCABULARY.size, 3), np.float32)
    assert vector(table, "the") == pytest.approx([0.1, -2, 0.3])
    # The first line of a word counts.
    assert vector(table, "cat") == [1, 2, 3]
    # A token without a vector gets that of its lowercase form.
    assert vector(table, "Zoë") == [4, 5, 6]
    assert np.isnan(vector(table, "dog")).all()
    assert np.isnan(table[: len(SPECIAL_TOKENS)]).all()
    assert vector(read("zoë 1 1\nZoë 2 2\n")[0], "Zoë") == [2, 2]


@pytest.mark.parametrize("ending", ["\n", "\r\n", " \n"])
def test_word2vec_begins_with_the_number_of_vectors(read, ending):
    table, known = read(ending.join(["3 2", "the 1 2", "cat 3 4", "x 5 6", ""]))
    assert (known, table.shape[1]) == (2, 2)
    assert vector(table, "cat") == [3, 4]
    with pytest.raises(FormatError, match=r"2 vectors.* 3"):
        read("3 2\nthe 1 2\ncat 3 4\n")


def test_words_with_spaces(read):
    """The largest GloVe file has some."""
    table, known = read("the 1 2\n. . . 3 4\nat me@b.org 5 6\ncat 7 8\n")
    assert known == 2
    assert vector(table, "cat") == [7, 8]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("the 1 2 3\ncat 1 2\n", 2),
        ("the 1 2 3\nx 1 2 3\nunknown 1\n", 3),
        ("2 3\nthe 1 2\ncat 1 2\n", 2),
        ("the 1 2 3\ncat 1 x 3\n", 2),
        ("the 1 2 3\ncat 1 nan 3\n", 2),
        (b"the 1 2\ncaf\xe9 1 2\n", 2),
    ],
)
def test_a_line_that_is_not_a_word_and_its_numbers(read, content, line):
    with pytest.raises(FormatError, match=rf"vectors\.txt, line {line}: "):
        read(content)


@pytest.mark.parametrize("content", ["chat 1 2\n", ""])
def test_a_file_without_a_vector_for_any_token(read, content):
    with pytest.raises(DataError, match=r"vectors\.txt"):
        read(content)
