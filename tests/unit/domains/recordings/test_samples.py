"""Recordings: voices are told apart and held out."""

import numpy as np
import pyarrow as pa
import pytest

from unroll.domains.recordings.samples import inferred_voices
from unroll.domains.recordings.samples import make_samples as recording_samples
from unroll.errors import DataError, SplitError

FEATURES = 4


def made(voices=3, classes=4, each=6, seed=0):
    """Recordings of which class and voice each shift the frames; in chance order."""
    rng = np.random.default_rng(seed)
    of_class, of_voice = rng.normal(0, 20, (classes, FEATURES)), rng.normal(0, 5, (voices, FEATURES))
    rows = [(label, voice) for label in range(classes) for voice in range(voices) for _ in range(each)]
    rng.shuffle(rows)
    frames = [
        (of_class[label] + of_voice[voice] + rng.normal(0, 0.5, (rng.integers(5, 12), FEATURES))).astype(np.float32)
        for label, voice in rows
    ]
    return frames, np.array([label for label, _ in rows]), np.array([voice for _, voice in rows])


def table(frames, labels, splits=None):
    kind = pa.list_(pa.list_(pa.float32(), FEATURES))
    return pa.table(
        {
            "row_id": pa.array(np.arange(100, 100 + len(frames)), pa.int64()),
            "split": pa.array(splits or [None] * len(frames), pa.string()),
            "label": pa.array(labels, pa.int64()),
            "frames": pa.array([[row.tolist() for row in one] for one in frames], kind),
        }
    )


def samples_of(section, splits=None, **changes):
    frames, labels, _ = made()
    return recording_samples(table(frames, labels, splits), section("recording_class", **changes), "t")


def test_tensors_by_hand(section):
    frames, labels, _ = made()
    tensors = samples_of(section).tensors
    count = len(frames)
    assert tensors["inputs"].shape == (2 * count, max(map(len, frames)), FEATURES)
    assert tensors["inputs"].dtype == np.float32
    for row, one in enumerate(frames):
        for copy in (row, row + count):
            assert tensors["lengths"][copy] == len(one)
            np.testing.assert_array_equal(tensors["inputs"][copy, : len(one)], one)
            assert not tensors["inputs"][copy, len(one) :].any()
            assert tensors["targets"][copy] == labels[row]
            assert tensors["held_out"][copy] == (copy < count)
    np.testing.assert_array_equal(tensors["voice"][:count], tensors["voice"][count:])


def test_recordings_in_several_chunks(section):
    frames, labels, _ = made()
    whole = table(frames, labels)
    parts = pa.concat_tables([whole.slice(0, 13), whole.slice(13, 30), whole.slice(43)])
    one, other = (recording_samples(each, section("recording_class"), "t") for each in (whole, parts))
    np.testing.assert_array_equal(one.tensors["inputs"], other.tensors["inputs"])
    sliced = recording_samples(whole.slice(10, 60), section("recording_class"), "t")
    np.testing.assert_array_equal(sliced.tensors["inputs"][0, : len(frames[10])], frames[10])


def test_voices_are_found(section):
    _, _, voices = made()
    found = samples_of(section).tensors["voice"][: len(voices)]
    # Whatever their numbers, the parts are the same.
    assert len(set(zip(voices, found, strict=True))) == 3
    assert sorted(set(found)) == [1, 2, 3]
    # Numbered in the order in which they are heard.
    first = [int((found == voice).argmax()) for voice in (1, 2, 3)]
    assert first == sorted(first)


def test_the_number_of_each_voice_is_noted(section):
    samples = samples_of(section)
    assert samples.notes["voices"] == {"1": 24, "2": 24, "3": 24}


def test_a_held_out_voice_is_heard_by_nobody_before(section):
    samples = samples_of(section)
    voice, held_out = samples.tensors["voice"], samples.tensors["held_out"]
    *folds, mixed = samples.folds
    assert [fold.name for fold in folds] == ["voice-1", "voice-2", "voice-3"]
    for number, fold in enumerate(folds, start=1):
        assert set(voice[fold.test]) == {number}
        assert number not in set(voice[np.concatenate([fold.train, fold.valid])])
        assert held_out[np.concatenate([fold.train, fold.valid, fold.test])].all()
        assert len(fold.valid) == round(0.2 * 48)
        assert len(fold.train) + len(fold.valid) + len(fold.test) == 72
    assert mixed.name == "voices-mixed"
    assert not held_out[np.concatenate([mixed.train, mixed.valid, mixed.test])].any()


def test_each_recording_is_tested_once_held_out(section):
    samples = samples_of(section)
    tested = np.concatenate([fold.test for fold in samples.folds[:-1]])
    assert sorted(tested) == list(range(72))
    assert len(np.unique(np.concatenate([fold.test for fold in samples.folds]))) == 72 + len(samples.folds[-1].test)


def test_the_random_split_has_every_class_alike(section):
    samples = samples_of(section)
    mixed = samples.folds[-1]
    labels = samples.tensors["targets"]
    for part, count in ((mixed.test, 4), (mixed.valid, 4), (mixed.train, 10)):
        assert np.bincount(labels[part]).tolist() == [count] * 4


def test_the_shipped_fold_sorts_last_and_ten_voices_sort_in_order(section, tmp_path):
    from unroll.features.samples import Samples

    frames, labels, _ = made(voices=11, each=4)
    samples = recording_samples(table(frames, labels), section("recording_class", voices=11), "t")
    samples.save(tmp_path)
    names = [fold.name for fold in Samples.load(tmp_path).folds]
    assert names == [fold.name for fold in samples.folds]
    assert names[0] == "voice-01"
    assert names[-1] == "voices-mixed"


def test_given_splits_are_those_of_the_mixed_fold(section):
    splits = ["train"] * 50 + ["valid"] * 10 + ["test"] * 12
    samples = samples_of(section, splits)
    mixed = samples.folds[-1]
    assert mixed.test.tolist() == list(range(72 + 60, 72 + 72))
    assert mixed.valid.tolist() == list(range(72 + 50, 72 + 60))
    assert len(samples.folds) == 4


def test_features_of_any_scale_tell_voices_apart():
    """One loud feature that tells nothing must not hide the others."""
    frames, labels, voices = made()
    rng = np.random.default_rng(1)
    lengths = np.array([len(one) for one in frames])
    inputs = np.zeros((len(frames), lengths.max(), FEATURES + 1), np.float32)
    for row, one in enumerate(frames):
        inputs[row, : len(one), :FEATURES] = one
        inputs[row, : len(one), FEATURES] = rng.normal(0, 1000)
    found = inferred_voices(inputs, lengths, labels, 3, 0, "t")
    assert len(set(zip(voices, found, strict=True))) == 3


def test_fewer_recordings_than_voices(section):
    frames, _, _ = made()
    alike = [frames[0]] * 10
    with pytest.raises(SplitError, match=r"tasks\.t: 1 different recordings cannot be of 3 voices"):
        recording_samples(table(alike, [1] * 10), section("recording_class"), "t")
    with pytest.raises(SplitError, match="2 different recordings"):
        recording_samples(table(frames[:2], [1, 1]), section("recording_class"), "t")


def test_a_recording_without_frames_is_named(section):
    frames, labels, _ = made()
    frames[5] = frames[5][:0]
    with pytest.raises(DataError, match=r"tasks\.t: the recording of row 105 has no frames"):
        recording_samples(table(frames, labels), section("recording_class"), "t")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_named(section, value):
    frames, labels, _ = made()
    frames[5][-1, 2] = value
    with pytest.raises(DataError, match="the recording of row 105 has a number that is not finite"):
        recording_samples(table(frames, labels), section("recording_class"), "t")


def test_equal_tables_give_equal_bytes(section, tmp_path):
    for folder in ("one", "two"):
        samples_of(section).save(tmp_path / folder)
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
