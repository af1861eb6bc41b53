"""Tunes as tokens; near-duplicates together."""

import numpy as np
import pyarrow as pa
import pytest

from unroll.domains.tunes.samples import durations_told_once, events_of, melody_samples, near_duplicates
from unroll.errors import DataError, SplitError
from unroll.features.special_tokens import BOS, EOS, IGNORE_INDEX, PAD, UNK


def notes(pitches, duration=12, mode="major"):
    bars = [" ".join(f"{pitch}_{duration}" for pitch in pitches[at : at + 4]) for at in range(0, len(pitches), 4)]
    return f"mode:{mode} meter:C| " + " | ".join(bars)


def walk(seed, count=40):
    return np.random.default_rng(seed).integers(-5, 17, count).tolist()


def table(tunes, splits=None):
    count = len(tunes)
    return pa.table(
        {
            "row_id": pa.array(np.arange(100, 100 + count), pa.int64()),
            "split": pa.array(splits or [None] * count, pa.string()),
            "file": pa.array([f"{place}.abc" for place in range(count)], pa.string()),
            "title": pa.array([f"Tune {place}" for place in range(count)], pa.string()),
            "key": pa.array(["D"] * count, pa.string()),
            "mode": pa.array(["major"] * count, pa.string()),
            "meter": pa.array(["C|"] * count, pa.string()),
            "notes": pa.array(tunes, pa.string()),
        }
    )


def different(count=40):
    return [notes(walk(seed)) for seed in range(count)]


def test_tensors_by_hand(section):
    samples = melody_samples(table(different()), section("melody"), "t")
    tensors, vocabulary = samples.tensors, samples.vocabularies["notes"]
    row = samples.folds[0].train[0]
    tune = tensors["notes"][row]
    length = len(tune.split()) + 1
    assert tensors["lengths"][row] == length == tensors["inputs"].shape[1]
    assert tensors["inputs"][row, 0] == BOS
    assert vocabulary.decode(tensors["inputs"][row]) == tune
    assert tensors["targets"][row, -1] == EOS
    np.testing.assert_array_equal(tensors["targets"][row, :-1], tensors["inputs"][row, 1:])
    assert (tensors["file"][row], tensors["title"][row], tensors["key"][row]) == (f"{row}.abc", f"Tune {row}", "D")
    assert samples.notes == {"cut": 0, "left_out": 0}


def test_tunes_of_varying_length_are_padded(section):
    tunes = [notes(walk(seed, 8 + seed)) for seed in range(40)]
    tensors = melody_samples(table(tunes), section("melody"), "t").tensors
    for row, length in enumerate(tensors["lengths"]):
        assert length == len(durations_told_once(tunes[row].split())) + 1
        assert tensors["targets"][row, length - 1] == EOS
        assert (tensors["inputs"][row, length:] == PAD).all()
        assert (tensors["targets"][row, length:] == IGNORE_INDEX).all()


def variants(tune):
    """The same tune a fourth up, in other note lengths and bars, with rests, and with its last notes altered."""
    return [
        notes([pitch + 5 for pitch in tune]),
        notes(tune, duration=24, mode="minor"),
        notes(tune).replace(" | ", " r_12 | "),
        notes([*tune[:-6], 0, 12, 0, 12, 0, 12]),
    ]


def test_what_is_the_same_tune():
    tune = walk(1)
    tunes = [notes(tune), *variants(tune), notes(walk(2)), notes(walk(3))]
    assert near_duplicates([one.split() for one in tunes]).tolist() == [0, 0, 0, 0, 0, 1, 2]


def test_a_shared_half_is_a_near_duplicate_and_a_shared_bar_is_not():
    one, other = walk(1), walk(2)
    tunes = [notes(one), notes(one[:20] + other[20:]), notes(one[:8] + walk(3)[8:])]
    assert near_duplicates([tune.split() for tune in tunes]).tolist() == [0, 0, 1]


def test_tunes_of_few_notes():
    tunes = ["0_12 2_12", "5_12 7_12", "0_12 1_12", "3_12", "9_24"]
    assert near_duplicates([tune.split() for tune in tunes]).tolist() == [0, 0, 1, 2, 2]


@pytest.mark.parametrize("seed", range(3))
def test_near_duplicates_stand_in_one_split(section, seed):
    tunes = [one for place in range(30) for one in (notes(walk(place)), *variants(walk(place))[: place % 3])]
    splits = {"valid_share": 0.2, "test_share": 0.2, "seed": seed}
    (fold,) = melody_samples(table(tunes), section("melody", splits=splits), "t").folds
    groups = near_duplicates([tune.split() for tune in tunes])
    assert groups.max() == 29
    for one, other in ((fold.train, fold.valid), (fold.train, fold.test), (fold.valid, fold.test)):
        assert not set(groups[one]) & set(groups[other])
    assert abs(len(fold.test) - 12) <= 1


def test_rare_tokens_are_unknown(section):
    tunes = [tune + f" {place + 500}_12" for place, tune in enumerate(different())]
    samples = melody_samples(table(tunes), section("melody"), "t")
    (fold,) = samples.folds
    for row in fold.test:
        assert samples.tensors["inputs"][row, -1] == UNK
    for row in fold.train:
        assert samples.tensors["inputs"][row, -1] != UNK
    twice = melody_samples(table(tunes), section("melody", min_count=2), "t")
    assert (twice.tensors["inputs"][:, -1] == UNK).all()


def test_a_long_tune_is_cut_and_counted(section):
    tunes = different()
    tunes[7] = notes(walk(7, 300))
    samples = melody_samples(table(tunes), section("melody", max_tokens=60), "t")
    assert samples.notes["cut"] == 1
    assert samples.tensors["lengths"][7] == 61
    assert samples.tensors["inputs"].shape[1] == 61
    assert samples.tensors["targets"][7, 60] == EOS


@pytest.mark.parametrize("empty", ["", "mode:major meter:C|", "mode:major meter:C| r_24 | r_12"])
def test_a_tune_without_notes_is_named(section, empty):
    tunes = different()
    tunes[4] = empty
    with pytest.raises(DataError, match=r"tasks\.t: the tune of row 104 \(4\.abc, 'Tune 4'\) has no notes"):
        melody_samples(table(tunes), section("melody"), "t")


def test_given_splits_without_what_leaks(section):
    tunes = different(20)
    tunes[0] = variants(walk(19))[0]
    given = ["train"] * 12 + ["valid"] * 4 + ["test"] * 4
    samples = melody_samples(table(tunes, given), section("melody"), "t")
    assert samples.folds[0].train.tolist() == list(range(1, 12))
    assert samples.notes["left_out"] == 1


def test_too_few_tunes(section):
    with pytest.raises(SplitError, match="has no rows"):
        melody_samples(table(different(2)), section("melody"), "t")


def test_equal_tables_give_equal_bytes(section, tmp_path):
    for folder in ("one", "two"):
        melody_samples(table(different()), section("melody"), "t").save(tmp_path / folder)
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_durations_are_told_where_they_change():
    events = ["mode:major", "meter:6/8", "7_12", "9_12", "r_24", "|", "7_24", "7_12"]
    tokens = ["mode:major", "meter:6/8", "d12", "7", "9", "d24", "r", "|", "7", "d12", "7"]
    assert durations_told_once(events) == tokens
    assert events_of(tokens) == events


def test_a_note_before_any_duration_is_an_eighth():
    assert events_of(["4", "d6", "-3", "|", "5_24"]) == ["4_12", "-3_6", "|", "5_24"]
