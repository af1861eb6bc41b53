"""Samples on disk, word vectors, and uniform numbers for sampling."""

import numpy as np
import pytest

from unroll.config.tokenizer import TokenizerConfig
from unroll.errors import DataError, FormatError, SplitError
from unroll.features.embeddings import read_vectors
from unroll.features.random import uniforms
from unroll.features.samples import Fold, Samples, check_splits, linspace_indices
from unroll.features.special_tokens import SPECIAL_TOKENS
from unroll.features.text import Vocabulary


def fold(name="all", train=(0, 1), valid=(2,), test=(3,)):
    return Fold(name, *(np.array(part, np.int64) for part in (train, valid, test)))


def test_texts_vocabularies_notes_and_vectors_are_saved_where_there_are_some(tmp_path):
    Samples({"targets": np.arange(4)}, (fold(),)).save(tmp_path / "plain")
    names = ["samples.safetensors", "splits.safetensors"]
    assert sorted(path.name for path in (tmp_path / "plain").iterdir()) == names
    texts = np.array(["", "Zoë\n", "नमस्ते", '"a\tb'], object)
    vocabularies = {name: Vocabulary.fit([name], TokenizerConfig(kind="split")) for name in ("token", "character")}
    vectors = np.array([[1, np.nan]], np.float32)
    tensors = {"targets": np.arange(4), "text": texts}
    Samples(tensors, (fold(),), vocabularies, {"voices": 3}, vectors).save(tmp_path / "full")
    found = Samples.load(tmp_path / "full")
    assert (found.tensors["text"].dtype, found.tensors["text"].tolist()) == (object, texts.tolist())
    assert {name: one.tokens[-1] for name, one in found.vocabularies.items()} == {"token": "token",
                                                                                  "character": "character"}  # fmt: skip
    assert found.notes == {"voices": 3}
    np.testing.assert_array_equal(found.vectors, vectors)


@pytest.mark.parametrize(
    ("length", "count", "indices"),
    [(9, 3, [0, 4, 8]), (5, 5, [0, 1, 2, 3, 4]), (3, 10, [0, 1, 2]), (10, 1, [0]), (0, 4, [])],
)
def test_evenly_spaced_indices(length, count, indices):
    assert linspace_indices(length, count).tolist() == indices
    assert len(set(linspace_indices(1001, 1000).tolist())) == 1000


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_an_empty_split_is_an_error(part):
    with pytest.raises(SplitError, match=rf"tasks\.t: the {part} split of fold 'all'"):
        check_splits((fold(**{part: ()}),), "t")
    if part == "valid":
        check_splits((fold(valid=()),), "t", valid_wanted=False)


@pytest.mark.parametrize("parts", [{"valid": (1,)}, {"test": (0,)}, {"valid": (3,)}, {"train": (0, 0)}], ids=str)
def test_a_sample_in_two_splits_is_an_error(parts):
    with pytest.raises(SplitError, match="fold 'b'"):
        check_splits((fold("a"), fold("b", **parts)), "t")


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


def test_the_numbers_are_the_upper_bits_of_pcg64():
    """Another program can draw the same numbers, and a later version of unroll has to."""
    bits = np.random.PCG64((7, 12)).random_raw(10)
    expected = [int(number) // 2**40 / 2**24 for number in bits]
    assert uniforms(7, [12], 2, 5).flatten().tolist() == expected
    fixed = [0.16306752, 0.61339873, 0.20948356]
    np.testing.assert_allclose(uniforms(7, [12], 1, 3)[0, 0], fixed, rtol=0, atol=1e-7)


def test_they_are_uniform_and_differ_by_row_sequence_and_seed():
    found = uniforms(0, range(50), 3, 40)
    assert (found.shape, found.dtype) == ((50, 3, 40), np.float32)
    assert 0 <= found.min() <= found.max() < 1
    assert abs(found.mean() - 0.5) < 0.02
    assert len({row.tobytes() for row in found.reshape(150, 40)}) == 150
    assert not np.array_equal(uniforms(1, [2], 1, 5), uniforms(2, [1], 1, 5))
    assert uniforms(0, [], 2, 3).shape == (0, 2, 3)


def test_a_row_has_its_own_numbers_in_any_batch():
    whole, rows = uniforms(3, range(20), 2, 5), np.array([17, 0, 4, 4])
    assert np.array_equal(uniforms(3, rows, 2, 5), whole[rows])
    assert np.array_equal(uniforms(3, [9], 2, 5)[0], whole[9])
