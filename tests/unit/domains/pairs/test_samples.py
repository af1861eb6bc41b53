"""Pairs of sentences: no side of a test pair occurs in training."""

import numpy as np
import pyarrow as pa
import pytest

from unroll.domains.pairs.samples import make_samples
from unroll.errors import DataError, SplitError
from unroll.features.groups import normalized
from unroll.features.special_tokens import EOS, IGNORE_INDEX, PAD


@pytest.fixture
def make(tiny):
    def make(pairs, given=None, **changes):
        table = pa.table(
            {
                "row_id": pa.array(np.arange(100, 100 + len(pairs)), pa.int64()),
                "split": pa.array(given or [None] * len(pairs), pa.string()),
                "source": pa.array([source for source, _ in pairs], pa.string()),
                "target": pa.array([target for _, target in pairs], pa.string()),
            }
        )
        tokenizer = {"kind": "word", "vocabulary_size": 500}
        return make_samples(table, tiny.section("translation", **{"tokenizer": tokenizer, **changes}), "t")

    return make


def linked_pairs(count):
    """Sources with several targets, targets with several sources, in several spellings."""
    rng = np.random.default_rng(0)
    sources = [f"word{place} again" for place in range(count // 2)]
    targets = [f"mot{place} encore" for place in range(count // 2)]
    pairs = []
    for _ in range(count):
        source, target = sources[rng.integers(len(sources))], targets[rng.integers(len(targets))]
        pairs.append((source.title() + "!" if rng.random() < 0.3 else source, target + rng.choice(["", " !", " ?"])))
    return pairs


SHORT = [(f"go number{place} now", f"va le{place} tout de suite") for place in range(40)]


def test_no_side_of_a_test_pair_is_in_another_split(make):
    pairs = linked_pairs(90) + [(f"lone{place}", f"seul{place}") for place in range(200)]
    (fold,) = make(pairs, splits={"valid_share": 0.1, "test_share": 0.2}).folds
    assert sorted((*fold.train, *fold.valid, *fold.test)) == list(range(290))
    assert (len(fold.valid), len(fold.test)) == (29, 58)
    train, valid, test = (
        {normalized(side) for row in rows for side in pairs[row]} for rows in (fold.train, fold.valid, fold.test)
    )
    assert train.isdisjoint(valid | test)
    assert valid.isdisjoint(test)


def test_given_pairs_that_would_leak_are_left_out(make):
    pairs = [("something else", SHORT[39][1].upper() + " !"), *SHORT[1:]]
    samples = make(pairs, ["train"] * 30 + ["valid"] * 5 + ["test"] * 5)
    (fold,) = samples.folds
    assert fold.train.tolist() == list(range(1, 30))
    assert fold.test.tolist() == list(range(35, 40))
    assert samples.notes["left_out"] == 1


def test_targets_end_and_are_ignored_from_there(make):
    pairs = [(f"s{place}" + " x" * (place % 4), f"t{place}" + " y" * (place % 3)) for place in range(60)]
    samples = make(pairs)
    tensors = samples.tensors
    for place in range(60):
        length, target_length = tensors["lengths"][place], tensors["target_lengths"][place]
        assert (length, target_length) == (1 + place % 4, 2 + place % 3)
        assert (tensors["inputs"][place, length:] == PAD).all()
        assert tensors["targets"][place, target_length - 1] == EOS
        assert (tensors["targets"][place, target_length:] == IGNORE_INDEX).all()
    row = samples.folds[0].train[0]
    assert samples.vocabularies["text"].decode(tensors["targets"][row]) == tensors["target"][row] == pairs[row][1]


@pytest.mark.parametrize("kind", ["bpe", "word"])
def test_one_vocabulary_for_both_sides_is_fitted_on_training_alone(make, kind):
    pairs = [(f"héllo {chr(0x4E00 + place)}", f"ça va {chr(0x5E00 + place)}") for place in range(60)]
    samples = make(pairs, tokenizer={"kind": kind, "vocabulary_size": 300})
    letters = "".join(samples.vocabularies["text"].tokens)
    (fold,) = samples.folds
    assert all(chr(0x4E00 + row) in letters and chr(0x5E00 + row) in letters for row in fold.train)
    assert not any(chr(0x4E00 + row) in letters or chr(0x5E00 + row) in letters for row in fold.test)


def test_long_pairs_are_left_out(make):
    pairs = [*SHORT, ("a b c d e f g h i", "court"), ("a", "b c d e f g h i j"), ("a b c d e f g h", "huit")]
    samples = make(pairs, max_words=8)
    assert samples.notes == {"cut": 0, "left_out": 2}
    assert samples.tensors["target"][40:].tolist() == ["huit"]
    with pytest.raises(SplitError, match=r"tasks\.t\.max_words"):
        make(SHORT, max_words=2)


def test_a_long_side_is_cut_and_the_pair_counted_once(make):
    samples = make(SHORT, max_tokens=2)
    assert samples.notes["cut"] == 40
    assert set(samples.tensors["lengths"]) == {2}
    assert set(samples.tensors["target_lengths"]) == {3}
    assert (samples.tensors["targets"][:, 2] == EOS).all()


@pytest.mark.parametrize(
    ("pair", "where"),
    [
        (("a b c d e f", "x"), "source of row 141"),
        (("x", " "), "target of row 141"),
    ],
)
def test_an_empty_or_long_side_is_an_error_with_its_row(make, pair, where):
    """The row number is that of the data, also where pairs before it are left out."""
    with pytest.raises(DataError, match=rf"tasks\.t: the {where} "):
        make([("a b c d e f g h i", "x"), *SHORT, pair], max_words=8, max_tokens=5, truncation=False)
