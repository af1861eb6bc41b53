"""Word vectors from GloVe and word2vec files."""

import numpy as np
import pytest

from unroll.config.tokenizer import TokenizerConfig
from unroll.errors import DataError, FormatError
from unroll.features.embeddings import read_vectors
from unroll.features.special_tokens import SPECIAL_TOKENS
from unroll.features.text import Vocabulary

GLOVE = "the 0.1 -2 3e-1\ncat 1 2 3\n, 7 8 9\nzoë 4 5 6\n"


@pytest.fixture
def vocabulary():
    return Vocabulary.fit(["the the the cat cat dog , Zoë"], TokenizerConfig(kind="word"))


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "vectors.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def vector(table, vocabulary, token):
    return table[vocabulary.tokens.index(token)].tolist()


def test_vectors_by_hand(vocabulary, file):
    table, known = read_vectors(file(GLOVE), vocabulary)
    assert known == 4
    assert table.shape == (vocabulary.size, 3)
    assert table.dtype == np.float32
    assert vector(table, vocabulary, "the") == pytest.approx([0.1, -2, 0.3])
    assert vector(table, vocabulary, ",") == [7, 8, 9]
    # The file has small letters alone.
    assert vector(table, vocabulary, "Zoë") == [4, 5, 6]
    assert np.isnan(vector(table, vocabulary, "dog")).all()
    assert np.isnan(table[: len(SPECIAL_TOKENS)]).all()


def test_a_word_as_it_is_written_goes_before_its_small_letters(vocabulary, file):
    table, _ = read_vectors(file("zoë 1 1\nZoë 2 2\n"), vocabulary)
    assert vector(table, vocabulary, "Zoë") == [2, 2]


def test_the_first_line_of_a_word_counts(vocabulary, file):
    assert vector(read_vectors(file("cat 1 1\ncat 2 2\n"), vocabulary)[0], vocabulary, "cat") == [1, 1]


@pytest.mark.parametrize("ending", ["\n", "\r\n", " \n"])
def test_word2vec_has_a_first_line(vocabulary, file, ending):
    content = ending.join(["3 2", "the 1 2", "cat 3 4", "x 5 6", ""])
    table, known = read_vectors(file(content), vocabulary)
    assert known == 2
    assert table.shape[1] == 2
    assert vector(table, vocabulary, "cat") == [3, 4]


def test_a_word2vec_file_that_was_cut_short(vocabulary, file):
    with pytest.raises(FormatError, match="has 2 vectors, its first line promises 3: the file was cut short"):
        read_vectors(file("3 2\nthe 1 2\ncat 3 4\n"), vocabulary)


def test_words_with_blanks(vocabulary, file):
    """The largest GloVe file has some."""
    table, known = read_vectors(file("the 1 2\n. . . 3 4\nat me@b.org 5 6\ncat 7 8\n"), vocabulary)
    assert known == 2
    assert vector(table, vocabulary, "cat") == [7, 8]


@pytest.mark.parametrize(
    ("content", "line", "found"),
    [
        ("the 1 2 3\ncat 1 2\n", 2, "2 numbers after the word 'cat', expected 3"),
        ("the 1 2 3\ncat 1 2 3 4\n", 2, "4 numbers after the word 'cat', expected 3"),
        ("the 1 2 3\nx 1 2 3\nunknown 1\n", 3, "1 numbers after the word 'unknown', expected 3"),
        ("2 3\nthe 1 2\ncat 1 2\n", 2, "2 numbers after the word 'the', expected 3"),
        ("the\n", 1, "0 numbers after the word 'the', expected a word and its numbers"),
    ],
)
def test_a_line_of_another_width(vocabulary, file, content, line, found):
    with pytest.raises(FormatError, match=rf"vectors\.txt, line {line}: {found}"):
        read_vectors(file(content), vocabulary)


@pytest.mark.parametrize("part", ["x", "nan", "inf", "1,5", ""])
def test_what_is_no_number(vocabulary, file, part):
    with pytest.raises(FormatError, match=rf"line 2: found '{part}', expected a finite number"):
        read_vectors(file(f"the 1 2 3\ncat 1 {part} 3\n"), vocabulary)


def test_what_is_no_utf8(vocabulary, file):
    with pytest.raises(FormatError, match=r"line 2: byte 4 of the line \(0xe9\) is not UTF-8"):
        read_vectors(file(b"the 1 2\ncaf\xe9 1 2\n"), vocabulary)


@pytest.mark.parametrize("content", ["chat 1 2\n", "", "2 3\n"])
def test_no_token_has_a_vector(vocabulary, file, content):
    with pytest.raises((DataError, FormatError)) as caught:
        read_vectors(file(content), vocabulary)
    assert "none of the 5 tokens" in str(caught.value) or "promises 2" in str(caught.value)
