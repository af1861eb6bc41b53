"""Tokens, their characters and their tags."""

import numpy as np
import pyarrow as pa
import pytest

from unroll.domains.tagged.samples import make_samples
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


@pytest.fixture
def make(tiny):
    def make(sentences=SENTENCES, splits=("train", "valid", "test"), **changes):
        return make_samples(table(sentences, splits), tiny.section("tags", **{"characters": 4, **changes}), "t")

    return make


def test_tags_and_tokens_by_hand(make):
    samples = make(characters=0)
    tensors = samples.tensors
    assert samples.notes == {"tags": ["O", "B-LOC", "B-PER", "I-PER"], "cut": 0}
    ignored = IGNORE_INDEX
    assert tensors["targets"].tolist() == [[2, 0, 2, 3, 0], [1, 0, ignored, ignored, ignored], [2, 0, 0, 1, ignored]]
    assert tensors["lengths"].tolist() == [5, 2, 4]
    assert tensors["inputs"].shape == (3, 5, 1)
    assert samples.vocabularies["token"].tokens_of(tensors["inputs"][0, :, 0]) == SENTENCES[0][0]
    assert tensors["inputs"][1, :, 0].tolist() == [UNK, UNK, PAD, PAD, PAD]
    assert tensors["text"][2] == "Zoë is in Paris"


def test_the_first_characters_of_a_token_follow_it(make):
    samples = make()
    inputs, characters = samples.tensors["inputs"], samples.vocabularies["character"]
    assert inputs.shape == (3, 5, 5)
    spelled = [[characters.tokens[i] for i in row[1:] if i != PAD] for row in inputs[0]]
    assert spelled == [["A", "d", "a"], ["m", "e", "t"], ["A", "l", "a", "n"], ["T", "u", "r", "i"], ["."]]
    np.testing.assert_array_equal(inputs[:, :, :1], make(characters=0).tensors["inputs"])
    assert not inputs[1, 2:].any()
    # Fitted on training alone, where neither s nor ë occurs.
    assert "s" not in characters.tokens
    assert inputs[2, 0, 1:].tolist() == [UNK, UNK, UNK, PAD]
    wide = make(characters=30).tensors["inputs"]
    assert (wide[0, 3, 1:7] != PAD).all()
    assert not wide[:, :, 7:].any()


def test_tokens_that_look_special_are_unknown(make):
    odd = [(["<eos>", "[PAD]", "ok"], ["O", "O", "O"]), SENTENCES[1], SENTENCES[2]]
    samples = make(odd)
    assert samples.tensors["inputs"][0, :2, 0].tolist() == [UNK, UNK]
    assert samples.tensors["lengths"][0] == 3
    assert samples.vocabularies["character"].tokens_of(samples.tensors["inputs"][0, 0, 1:]) == ["<", "e", "o", "s"]


def test_a_long_sentence_is_cut_with_its_tags(make):
    samples = make(max_tokens=3)
    assert samples.notes["cut"] == 2
    assert samples.tensors["targets"].tolist() == [[2, 0, 2], [1, 0, IGNORE_INDEX], [2, 0, 0]]
    assert samples.tensors["lengths"].tolist() == [3, 2, 3]
    with pytest.raises(DataError, match="row 100 has 5 tokens"):
        make(max_tokens=4, truncation=False)


@pytest.mark.parametrize(
    ("tokens", "tags"), [([], []), (["a", "b"], ["O"]), (["a"], ["O", "O"]), (["a b"], ["O"])], ids=str
)
def test_each_token_needs_a_tag(make, tokens, tags):
    with pytest.raises(DataError, match="row 101"):
        make([SENTENCES[0], (tokens, tags), SENTENCES[2]])


@pytest.mark.parametrize("splits", [[None] * 3, ["train", "train", "test"]], ids=str)
def test_every_split_is_needed(make, splits):
    with pytest.raises(SplitError, match=r"tasks\.t"):
        make(splits=splits)
