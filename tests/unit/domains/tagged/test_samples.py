"""Tokens, their characters and their tags."""

import numpy as np
import pyarrow as pa
import pytest

from unroll.domains.tagged.samples import make_samples as tag_samples
from unroll.errors import DataError, SplitError
from unroll.features.special_tokens import IGNORE_INDEX, PAD, UNK

SENTENCES = [
    (["Ada", "met", "Alan", "Turing", "."], ["B-PER", "O", "B-PER", "I-PER", "O"]),
    (["Paris", "sleeps"], ["B-LOC", "O"]),
    (["Zoë", "is", "in", "Paris"], ["B-PER", "O", "O", "B-LOC"]),
]


def table(sentences, splits):
    return pa.table(
        {
            "row_id": pa.array(np.arange(100, 100 + len(sentences)), pa.int64()),
            "split": pa.array(splits, pa.string()),
            "tokens": pa.array([tokens for tokens, _ in sentences], pa.list_(pa.string())),
            "tags": pa.array([tags for _, tags in sentences], pa.list_(pa.string())),
        }
    )


def three(sentences=SENTENCES):
    return table(sentences, ["train", "valid", "test"])


def test_tags_and_tokens_by_hand(section):
    samples = tag_samples(three(), section("tags", characters=0), "t")
    tensors, vocabulary = samples.tensors, samples.vocabularies["token"]
    assert samples.notes == {"tags": ["O", "B-LOC", "B-PER", "I-PER"], "cut": 0}
    ignored = IGNORE_INDEX
    assert tensors["targets"].tolist() == [
        [2, 0, 2, 3, 0],
        [1, 0, ignored, ignored, ignored],
        [2, 0, 0, 1, ignored],
    ]
    assert tensors["lengths"].tolist() == [5, 2, 4]
    assert tensors["inputs"].shape == (3, 5, 1)
    assert vocabulary.tokens_of(tensors["inputs"][0, :, 0]) == SENTENCES[0][0]
    assert tensors["inputs"][1, :, 0].tolist() == [UNK, UNK, PAD, PAD, PAD]
    assert tensors["text"].tolist() == ["Ada met Alan Turing .", "Paris sleeps", "Zoë is in Paris"]
    assert list(samples.vocabularies) == ["token"]


def test_characters_stand_beside_their_token(section):
    samples = tag_samples(three(), section("tags"), "t")
    inputs, characters = samples.tensors["inputs"], samples.vocabularies["character"]
    assert inputs.shape == (3, 5, 5)
    assert inputs.dtype == np.int64
    spelt = [[characters.tokens[i] for i in row[1:] if i != PAD] for row in inputs[0]]
    assert spelt == [["A", "d", "a"], ["m", "e", "t"], ["A", "l", "a", "n"], ["T", "u", "r", "i"], ["."]]
    plain = tag_samples(three(), section("tags", characters=0), "t").tensors["inputs"]
    np.testing.assert_array_equal(inputs[:, :, :1], plain)
    assert not inputs[1, 2:].any()
    # Fitted on training alone: neither s nor ë was met there.
    assert "s" not in characters.tokens
    assert inputs[2, 0, 1:].tolist() == [UNK, UNK, UNK, PAD]


def test_more_characters_than_any_token_has(section):
    inputs = tag_samples(three(), section("tags", characters=30), "t").tensors["inputs"]
    assert inputs.shape == (3, 5, 31)
    assert (inputs[0, 3, 1:7] != PAD).all()
    assert not inputs[:, :, 7:].any()


def test_tokens_that_look_special(section):
    odd = [(["<eos>", "[PAD]", "ok"], ["O", "O", "O"]), SENTENCES[1], SENTENCES[2]]
    samples = tag_samples(three(odd), section("tags"), "t")
    assert samples.tensors["inputs"][0, :3, 0].tolist()[:2] == [UNK, UNK]
    assert samples.tensors["lengths"][0] == 3
    assert samples.vocabularies["character"].tokens_of(samples.tensors["inputs"][0, 0, 1:]) == ["<", "e", "o", "s"]


def test_a_long_sentence_is_cut_with_its_tags(section):
    samples = tag_samples(three(), section("tags", max_tokens=3), "t")
    assert samples.notes["cut"] == 2
    assert samples.tensors["targets"].tolist() == [[2, 0, 2], [1, 0, IGNORE_INDEX], [2, 0, 0]]
    assert samples.tensors["lengths"].tolist() == [3, 2, 3]
    assert samples.tensors["inputs"].shape == (3, 3, 5)


def test_a_long_sentence_is_refused_where_that_is_wanted(section):
    with pytest.raises(DataError, match=r"the sentence of row 100 has 5 tokens, max_tokens is 4 .*longest 5"):
        tag_samples(three(), section("tags", max_tokens=4, truncation=False), "t")


def test_an_empty_sentence_is_named(section):
    with pytest.raises(DataError, match="the sentence of row 101 is empty"):
        tag_samples(three([SENTENCES[0], ([], []), SENTENCES[2]]), section("tags"), "t")


@pytest.mark.parametrize(("tokens", "tags"), [(["a", "b"], ["O"]), (["a"], ["O", "O"]), (["a b"], ["O"])])
def test_tags_that_do_not_fit_their_tokens(section, tokens, tags):
    with pytest.raises(DataError, match=rf"row 101 has {len(tags)} tags for"):
        tag_samples(three([SENTENCES[0], (tokens, tags), SENTENCES[2]]), section("tags"), "t")


def test_sentences_without_splits(section):
    with pytest.raises(SplitError, match="no row has a split"):
        tag_samples(table(SENTENCES, [None, None, None]), section("tags"), "t")


def test_a_missing_split_is_named(section):
    with pytest.raises(SplitError, match="the valid split"):
        tag_samples(table(SENTENCES, ["train", "train", "test"]), section("tags"), "t")
