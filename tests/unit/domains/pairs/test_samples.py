"""Pairs of sentences: nothing of a test pair is seen before."""

import numpy as np
import pyarrow as pa
import pytest

from unroll.config.splits import ShareSplits
from unroll.domains.pairs.samples import make_samples as translation_samples
from unroll.errors import DataError, SplitError
from unroll.features.groups import connected, normalized, share_fold
from unroll.features.special_tokens import EOS, IGNORE_INDEX, PAD


def table(pairs, splits=None):
    return pa.table(
        {
            "row_id": pa.array(np.arange(100, 100 + len(pairs)), pa.int64()),
            "split": pa.array(splits or [None] * len(pairs), pa.string()),
            "source": pa.array([source for source, _ in pairs], pa.string()),
            "target": pa.array([target for _, target in pairs], pa.string()),
        }
    )


def many(count=400, seed=0):
    """Sources with several targets, targets with several sources, in several spellings."""
    rng = np.random.default_rng(seed)
    sources = [f"word{place} again" for place in range(count // 2)]
    targets = [f"mot{place} encore" for place in range(count // 2)]
    pairs = []
    for _ in range(count):
        source, target = sources[rng.integers(len(sources))], targets[rng.integers(len(targets))]
        pairs.append((source.title() + "!" if rng.random() < 0.3 else source, target + rng.choice(["", " !", " ?"])))
    return pairs


def sides(pairs, rows):
    return {normalized(side) for row in rows for side in pairs[row]}


@pytest.mark.parametrize("seed", range(3))
def test_no_side_of_a_test_pair_was_seen(section, seed):
    pairs = many(seed=seed)[:90] + [(f"lone{place}", f"seul{place}") for place in range(200)]
    splits = {"valid_share": 0.1, "test_share": 0.2, "seed": seed}
    samples = translation_samples(table(pairs), section("translation", splits=splits), "t")
    (fold,) = samples.folds
    assert sorted((*fold.train, *fold.valid, *fold.test)) == list(range(290))
    assert (len(fold.valid), len(fold.test)) == (29, 58)
    train, valid, test = (sides(pairs, rows) for rows in (fold.train, fold.valid, fold.test))
    assert not test & train
    assert not test & valid
    assert not valid & train


def test_splitting_by_source_alone_would_leak():
    """The same data, parted so that no source is seen twice: targets of the test split are."""
    pairs = many()
    groups = connected([normalized(source)] for source, _ in pairs)
    fold, _ = share_fold(groups, None, ShareSplits(valid_share=0.1, test_share=0.1))
    train = {normalized(pairs[row][1]) for row in fold.train}
    assert not {normalized(pairs[row][0]) for row in fold.test} & {normalized(pairs[row][0]) for row in fold.train}
    assert np.mean([normalized(pairs[row][1]) in train for row in fold.test]) > 0.11


def short():
    return [(f"go number{place} now", f"va le{place} tout de suite") for place in range(40)]


def test_tensors_by_hand(section):
    samples = translation_samples(table(short()), section("translation"), "t")
    tensors, vocabulary = samples.tensors, samples.vocabularies["text"]
    (row, *_) = samples.folds[0].train
    assert vocabulary.tokens_of(tensors["inputs"][row]) == ["go", f"number{row}", "now"]
    assert vocabulary.tokens_of(tensors["targets"][row][:-1]) == ["va", f"le{row}", "tout", "de", "suite"]
    assert (tensors["targets"][:, -1] == EOS).all()
    assert set(tensors["lengths"]) == {3}
    assert set(tensors["target_lengths"]) == {6}
    assert tensors["source"][row] == f"go number{row} now"
    assert tensors["target"][row] == f"va le{row} tout de suite"
    assert samples.notes == {"cut": 0, "left_out": 0}


def test_targets_end_and_are_ignored_from_there(section):
    pairs = [(f"s{place}" + " x" * (place % 4), f"t{place}" + " y" * (place % 3)) for place in range(60)]
    tensors = translation_samples(table(pairs), section("translation"), "t").tensors
    for place in range(60):
        length, target_length = tensors["lengths"][place], tensors["target_lengths"][place]
        assert length == 1 + place % 4
        assert target_length == 2 + place % 3
        assert (tensors["inputs"][place, length:] == PAD).all()
        assert tensors["targets"][place, target_length - 1] == EOS
        assert (tensors["targets"][place, target_length:] == IGNORE_INDEX).all()
        assert (tensors["targets"][place, : target_length - 1] != EOS).all()


@pytest.mark.parametrize("kind", ["bpe", "word"])
def test_one_vocabulary_for_both_sides_from_training_alone(section, kind):
    pairs = [(f"héllo {chr(0x4E00 + place)}", f"ça va {chr(0x5E00 + place)}") for place in range(60)]
    task = section("translation", tokenizer={"kind": kind, "vocabulary_size": 300})
    samples = translation_samples(table(pairs), task, "t")
    letters = "".join(samples.vocabularies["text"].tokens)
    (fold,) = samples.folds
    assert all(chr(0x4E00 + row) in letters and chr(0x5E00 + row) in letters for row in fold.train)
    assert not any(chr(0x4E00 + row) in letters or chr(0x5E00 + row) in letters for row in fold.test)


def test_pieces_give_the_targets_back(section):
    samples = translation_samples(table(short()), section("translation", tokenizer={"kind": "bpe"}), "t")
    (fold,) = samples.folds
    for row in fold.train:
        assert samples.vocabularies["text"].decode(samples.tensors["targets"][row]) == samples.tensors["target"][row]


def test_long_pairs_are_left_out(section):
    pairs = [*short(), ("a b c d e f g h i", "court"), ("a", "b c d e f g h i j"), ("a b c d e f g h", "huit")]
    samples = translation_samples(table(pairs), section("translation"), "t")
    assert samples.notes["left_out"] == 2
    assert len(samples.tensors["inputs"]) == 41
    assert samples.tensors["target"][-1] == "huit"


def test_no_pair_is_short_enough(section):
    with pytest.raises(SplitError, match=r"none of 40 pairs has at most 2 words .* raise tasks\.t\.max_words"):
        translation_samples(table(short()), section("translation", max_words=2), "t")


def test_a_long_side_is_cut_and_the_pair_counted_once(section):
    samples = translation_samples(table(short()), section("translation", max_tokens=2), "t")
    assert samples.notes["cut"] == 40
    assert set(samples.tensors["lengths"]) == {2}
    assert set(samples.tensors["target_lengths"]) == {3}
    assert (samples.tensors["targets"][:, 2] == EOS).all()


@pytest.mark.parametrize(("pair", "side"), [(("a b c d e", "x"), "source"), (("a", "u v w x y"), "target")])
def test_a_long_side_is_refused_where_that_is_wanted(section, pair, side):
    pairs = [(f"s{place}", f"t{place}") for place in range(30)] + [pair]
    with pytest.raises(DataError, match=rf"the {side} of row 130 has 5 tokens, max_tokens is 4"):
        translation_samples(table(pairs), section("translation", max_tokens=4, truncation=False), "t")


@pytest.mark.parametrize(("pair", "side"), [(("", "x"), "source"), (("x", " "), "target")])
def test_an_empty_side_is_named(section, pair, side):
    with pytest.raises(DataError, match=rf"tasks\.t: the {side} of row 140 is empty"):
        translation_samples(table([*short(), pair]), section("translation"), "t")


def test_rows_are_named_as_in_the_data_when_others_were_left_out(section):
    pairs = [("a b c d e f g h i", "x"), *short(), ("x", "")]
    with pytest.raises(DataError, match="the target of row 141 is empty"):
        translation_samples(table(pairs), section("translation"), "t")


def test_given_pairs_that_would_leak_are_left_out(section):
    pairs = short()
    pairs[0] = ("something else", pairs[39][1].upper() + " !")
    given = ["train"] * 30 + ["valid"] * 5 + ["test"] * 5
    samples = translation_samples(table(pairs, given), section("translation"), "t")
    (fold,) = samples.folds
    assert fold.train.tolist() == list(range(1, 30))
    assert fold.test.tolist() == list(range(35, 40))
    assert samples.notes["left_out"] == 1


def test_equal_tables_give_equal_bytes(section, tmp_path):
    for folder in ("one", "two"):
        task = section("translation", tokenizer={"kind": "bpe", "vocabulary_size": 90})
        translation_samples(table(short()), task, "t").save(tmp_path / folder)
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
