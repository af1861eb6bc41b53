"""Texts with a class: padding, classes of ratings, and splits that do not leak."""

import math

import numpy as np
import pyarrow as pa
import pytest

from unroll.domains.texts.samples import make_samples, rating_classes, soft_labels
from unroll.errors import DataError, SplitError
from unroll.features.groups import normalized
from unroll.features.special_tokens import PAD, UNK

THREE = {"classes": ["bad", "so", "good"], "thresholds": [-1, 1]}
TEXTS = [f"film number{place} was {'fine' if place % 3 else 'dull'}!" for place in range(60)]
LABELS = ["good" if place % 3 else "bad" for place in range(60)]


@pytest.fixture
def make(tiny):
    def make(texts=TEXTS, labels=None, ratings=None, given=None, **changes):
        count = len(texts)
        if labels is None and ratings is None:
            labels = LABELS if count == len(LABELS) else ["good"] * count
        table = pa.table(
            {
                "row_id": pa.array(np.arange(100, 100 + count), pa.int64()),
                "split": pa.array(given or [None] * count, pa.string()),
                "text": pa.array(texts, pa.string()),
                "label": pa.array(labels or [None] * count, pa.string()),
                "rating": pa.array(ratings or [None] * count, pa.float64()),
            }
        )
        settings = {"tokenizer": {"kind": "word", "vocabulary_size": 500}, "max_tokens": 20, **changes}
        return make_samples(table, tiny.section("text_class", **settings), "t")

    return make


def test_labels_and_padding_by_hand(make):
    samples = make()
    assert samples.tensors["label"][:4].tolist() == [0, 1, 1, 0]
    assert samples.tensors["targets"][:2].tolist() == [[1, 0], [0, 1]]
    row = samples.folds[0].train[0]
    ids = samples.tensors["inputs"][row, : samples.tensors["lengths"][row]]
    assert samples.vocabularies["text"].decode(ids) == samples.tensors["text"][row] == TEXTS[row]
    short = make([f"{text} w{place}" for place, text in enumerate(["one", "one two three", "one two"] * 10)]).tensors
    assert short["lengths"][:3].tolist() == [2, 4, 3]
    assert short["inputs"].shape == (30, 4)
    inside = np.arange(4) < short["lengths"][:, None]
    assert (short["inputs"][inside] != PAD).all()
    assert (short["inputs"][~inside] == PAD).all()


def test_nearly_equal_texts_are_in_one_split(make):
    texts = [f"{'A' if place % 2 else 'a'} film number{place // 4}{'!' if place % 3 else ' .'}" for place in range(200)]
    (fold,) = make(texts, splits={"valid_share": 0.2, "test_share": 0.2}).folds
    train, valid, test = ({normalized(texts[row]) for row in part} for part in (fold.train, fold.valid, fold.test))
    assert train.isdisjoint(valid | test)
    assert valid.isdisjoint(test)
    assert (len(fold.valid), len(fold.test)) == (40, 40)


def test_the_vocabulary_is_fitted_on_training_alone(make):
    samples = make()
    (fold,) = samples.folds
    tokens = set(samples.vocabularies["text"].tokens)
    assert {f"number{row}" for row in fold.train} <= tokens
    assert not {f"number{row}" for row in (*fold.valid, *fold.test)} & tokens
    assert ((samples.tensors["inputs"][fold.test] == UNK).sum(1) == 1).all()


def test_given_splits_are_kept_without_what_leaks(make):
    given = (["train"] * 7 + ["valid"] + ["test"] * 2) * 6
    samples = make([TEXTS[9].upper(), *TEXTS[1:]], given=given)
    (fold,) = samples.folds
    assert fold.test.tolist() == [row for row in range(60) if given[row] == "test"]
    assert fold.train.tolist() == [row for row in range(60) if given[row] == "train" and row != 0]
    assert samples.notes == {"cut": 0, "left_out": 1}


@pytest.mark.parametrize(
    ("thresholds", "ratings", "classes"),
    [
        ([-1, 1], [-4, -1.01, -1, 0, 1, 1.01, 4], [0, 0, 1, 1, 1, 2, 2]),
        ([0], [-0.1, 0, 0.1], [0, 1, 1]),
        ([1, 2, 3, 4], [1, 2, 3, 4, 0.5, 4.5], [1, 2, 2, 3, 0, 4]),
    ],
)
def test_classes_of_ratings(thresholds, ratings, classes):
    assert rating_classes(np.array(ratings, float), thresholds).tolist() == classes


def test_soft_labels_by_hand():
    """Standard normal: Φ(1) = 0.8413, Φ(2) = 0.9772."""
    found = soft_labels(np.array([0.0, 1.0, -3.0]), [-1, 1], 1.0)
    expected = [[0.1587, 0.6827, 0.1587], [0.0228, 0.4772, 0.5], [0.9772, 0.0227, 0.0]]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    half = soft_labels(np.array([0.5]), [-1, 1], 0.5)
    np.testing.assert_allclose(half, [[0.00135, 0.8413 - 0.00135, 0.1587]], atol=1e-4)
    assert soft_labels(np.array([-1.0, 1.5]), [-1, 1], 0).tolist() == [[0, 1, 0], [0, 0, 1]]


def test_ratings_become_targets(make):
    tensors = make([f"film number{place}" for place in range(60)], ratings=[-3.0, -0.5, 2.5] * 20,
                   **THREE, rating_noise=0.7).tensors  # fmt: skip
    assert tensors["label"][:3].tolist() == [0, 1, 2]
    assert tensors["rating"][:3].tolist() == [-3, -0.5, 2.5]
    above = 1 - 0.5 * (1 + math.erf((1 + 0.5) / 0.7 / math.sqrt(2)))
    np.testing.assert_allclose(tensors["targets"][1, 2], above, rtol=1e-5)


def test_a_long_text_is_cut_and_counted_or_refused(make):
    texts = [*TEXTS[:3], "long " * 30, "longer " * 20, *TEXTS[5:]]
    samples = make(texts)
    assert samples.notes["cut"] == 1
    assert samples.tensors["inputs"].shape[1] == samples.tensors["lengths"].max() == 20
    # The baselines read the whole text.
    assert samples.tensors["text"][3] == texts[3]
    with pytest.raises(DataError, match="row 103 has 30 tokens, max_tokens is 20"):
        make(texts, truncation=False)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"texts": [*TEXTS[:17], "\u200b ", *TEXTS[18:]]}, "row 117"),
        ({"labels": ["odd", *LABELS[1:]]}, "row 100 .*'odd'"),
        ({"labels": ["good", None, *LABELS[2:]]}, "row 101"),
        (THREE, "row 100 has no rating"),
    ],
    ids=["empty", "unknown class", "no label", "labels for ratings"],
)
def test_a_row_that_cannot_be_used_is_an_error(make, changes, where):
    with pytest.raises(DataError, match=rf"tasks\.t: .*{where}"):
        make(**changes)


def test_too_few_texts_for_three_splits(make):
    with pytest.raises(SplitError, match=r"tasks\.t"):
        make(["a", "b"])
