"""Random splits that keep nearly equal rows together."""

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
        ("a\u00a0b\tﬁne", "ABFINE"),
        ("नमस्ते!", "नमस्ते ।"),
    ],
)
def test_nearly_equal_texts(one, other):
    assert normalized(one) == normalized(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("ete", "été"), ("किताब", "कतब"), ("1", "2"), ("?!", "!"), ("no", "non"), ("日本", "本日")],
)
def test_different_texts(one, other):
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


def test_each_group_is_in_one_split_and_the_seed_decides():
    groups = np.random.default_rng(0).integers(0, 200, 1000)
    train, valid, test, left_out = fold_of(groups, valid_share=0.1, test_share=0.15, seed=1)
    assert sorted(train + valid + test) == list(range(1000))
    assert left_out == 0
    assert abs(len(test) - 150) <= 10
    assert abs(len(valid) - 100) <= 10
    for one, other in ((train, valid), (train, test), (valid, test)):
        assert not set(groups[one]) & set(groups[other])
    assert fold_of(groups, valid_share=0.1, test_share=0.15, seed=1) == (train, valid, test, 0)
    assert fold_of(groups, valid_share=0.1, test_share=0.15, seed=2)[2] != test


def test_single_rows_give_exact_shares_and_a_large_group_is_trained_on():
    train, valid, test, _ = fold_of(range(200), valid_share=0.1, test_share=0.25)
    assert (len(train), len(valid), len(test)) == (130, 20, 50)
    for seed in range(5):
        train, valid, test, _ = fold_of([0] * 50 + list(range(1, 51)), valid_share=0.2, test_share=0.2, seed=seed)
        assert set(range(50)) <= set(train)
        assert (len(valid), len(test)) == (20, 20)


def test_given_splits_are_kept_without_rows_that_would_leak():
    assert fold_of(range(5), ["train", "train", "valid", "test", "train"]) == ([0, 1, 4], [2], [3], 0)
    # Row 1 repeats test row 4, row 2 repeats valid row 3, valid row 5 repeats test row 4.
    groups = [0, 1, 2, 2, 1, 1, 3]
    given = ["train", "train", "train", "valid", "test", "valid", "train"]
    assert fold_of(groups, given) == ([0, 6], [3], [4], 3)


def test_without_given_validation_rows_some_of_training_are_held_out():
    groups = np.repeat(np.arange(50), 2)
    train, valid, test, left_out = fold_of(groups, ["train"] * 80 + ["test"] * 20, valid_share=0.25)
    assert (test, len(valid), left_out) == (list(range(80, 100)), 20, 0)
    assert not set(groups[train]) & set(groups[valid])
    assert sorted(train + valid) == list(range(80))


def test_all_rows_have_a_split_or_none_has():
    def table(*splits):
        return pa.table({"split": pa.array(splits, pa.string())})

    assert given_splits(table(None, None), "t") is None
    assert given_splits(table("train", "test"), "t").tolist() == ["train", "test"]
    with pytest.raises(SplitError, match=r"tasks\.t: 2 of 3 rows"):
        given_splits(table("train", None, None), "t")
    with pytest.raises(SplitError, match=r"tasks\.t"):
        required_splits(table(None), "t")
