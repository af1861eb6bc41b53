"""Splits by chance that keep together what says the same."""

import numpy as np
import pyarrow as pa
import pytest

from unroll.config.splits import ShareSplits
from unroll.errors import SplitError
from unroll.features.groups import connected, given_splits, linked, normalized, required_splits, share_fold


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Go away!", "go away"),
        ("Va-t'en !", "VA T’EN"),
        ("C'est l’été…", "c est l e\u0301te\u0301"),
        ("Straße 3", "STRASSE, 3"),
        ("a\u00a0b\tc", "abc"),
        ("ﬁne", "FINE"),
        ("नमस्ते!", "नमस्ते ।"),
    ],
)
def test_texts_that_say_the_same(one, other):
    assert normalized(one) == normalized(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("ete", "été"), ("किताब", "कतब"), ("1", "2"), ("?!", "!"), ("", "!"), ("no", "non"), ("日本", "本日")],
)
def test_texts_that_do_not(one, other):
    assert normalized(one) != normalized(other)


def test_components_by_hand():
    assert connected([("a", "x"), ("b", "x"), ("b", "y"), ("c", "z")]).tolist() == [0, 0, 0, 1]
    assert connected([("a",), ("b",), ("c",), ("a",), ("c",)]).tolist() == [0, 1, 2, 0, 2]
    # Two groups that a later row joins.
    assert connected([("a", "b"), ("c", "d"), ("e", "f"), ("b", "c")]).tolist() == [0, 0, 1, 0]
    assert connected([]).tolist() == []
    assert linked(5, [(3, 1), (4, 3), (0, 0)]).tolist() == [0, 1, 2, 1, 1]


def test_a_long_chain_is_one_group():
    rows = [(f"s{row}", f"s{row + 1}") for row in range(5000)]
    assert connected(rows).max() == 0
    assert connected(rows[::-1]).max() == 0


def fold_of(groups, given=None, **shares):
    given = None if given is None else np.array(given, object)
    fold, left_out = share_fold(np.asarray(groups), given, ShareSplits(**shares))
    return fold.train.tolist(), fold.valid.tolist(), fold.test.tolist(), left_out


@pytest.mark.parametrize("seed", range(5))
def test_each_group_stands_in_one_split(seed):
    groups = np.random.default_rng(seed).integers(0, 200, 1000)
    train, valid, test, left_out = fold_of(groups, valid_share=0.1, test_share=0.15, seed=seed)
    assert sorted(train + valid + test) == list(range(1000))
    assert left_out == 0
    assert abs(len(test) - 150) <= 10
    assert abs(len(valid) - 100) <= 10
    for one, other in ((train, valid), (train, test), (valid, test)):
        assert not set(groups[one]) & set(groups[other])


def test_single_rows_give_exact_shares():
    train, valid, test, _ = fold_of(range(200), valid_share=0.1, test_share=0.25)
    assert (len(train), len(valid), len(test)) == (130, 20, 50)


def test_the_seed_decides():
    assert fold_of(range(200), seed=1) == fold_of(range(200), seed=1)
    assert fold_of(range(200), seed=1)[2] != fold_of(range(200), seed=2)[2]


def test_a_group_larger_than_a_split_is_trained_on():
    groups = [0] * 50 + list(range(1, 51))
    for seed in range(10):
        train, valid, test, _ = fold_of(groups, valid_share=0.2, test_share=0.2, seed=seed)
        assert set(range(50)) <= set(train)
        assert (len(valid), len(test)) == (20, 20)


def test_given_splits_are_kept():
    given = ["train", "train", "valid", "test", "train"]
    assert fold_of(range(5), given) == ([0, 1, 4], [2], [3], 0)


def test_given_rows_that_would_leak_are_left_out():
    # Row 1 says what test row 4 says, row 2 what valid row 3 says, valid row 5 what test row 4 says.
    groups = [0, 1, 2, 2, 1, 1, 3]
    given = ["train", "train", "train", "valid", "test", "valid", "train"]
    assert fold_of(groups, given) == ([0, 6], [3], [4], 3)


def test_without_given_validation_some_of_training_is_held_out():
    groups = np.repeat(np.arange(50), 2)
    given = ["train"] * 80 + ["test"] * 20
    train, valid, test, left_out = fold_of(groups, given, valid_share=0.25)
    assert test == list(range(80, 100))
    assert len(valid) == 20
    assert not set(groups[train]) & set(groups[valid])
    assert sorted(train + valid) == list(range(80))
    assert left_out == 0


def table(splits):
    return pa.table({"split": pa.array(splits, pa.string())})


def test_whether_splits_are_given():
    assert given_splits(table([None, None]), "t") is None
    assert given_splits(table(["train", "test"]), "t").tolist() == ["train", "test"]


def test_some_rows_with_a_split_and_some_without():
    with pytest.raises(SplitError, match=r"tasks\.t: 2 of 3 rows have no split"):
        given_splits(table(["train", None, None]), "t")


def test_splits_that_must_be_given():
    with pytest.raises(SplitError, match=r"tasks\.t: no row has a split; give each source"):
        required_splits(table([None]), "t")
