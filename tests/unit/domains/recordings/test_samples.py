"""Recordings: voices are inferred and held out."""

import numpy as np
import pyarrow as pa
import pytest

from unroll.domains.recordings.samples import inferred_voices, make_samples
from unroll.errors import DataError, SplitError
from unroll.features.samples import Samples

FEATURES = 4


def recordings(voices=3, classes=4, each=6, seed=0):
    """Recordings whose class and voice each shift the frames, in random order."""
    rng = np.random.default_rng(seed)
    class_shift, voice_shift = rng.normal(0, 20, (classes, FEATURES)), rng.normal(0, 5, (voices, FEATURES))
    rows = [(label, voice) for label in range(classes) for voice in range(voices) for _ in range(each)]
    rng.shuffle(rows)
    frames = [
        (class_shift[label] + voice_shift[voice] + rng.normal(0, 0.5, (rng.integers(5, 12), FEATURES))).astype("f4")
        for label, voice in rows
    ]
    return frames, np.array([label for label, _ in rows]), np.array([voice for _, voice in rows])


FRAMES, LABELS, VOICES = recordings()


def table(frames=FRAMES, labels=LABELS, splits=None):
    kind = pa.list_(pa.list_(pa.float32(), FEATURES))
    return pa.table(
        {
            "row_id": pa.array(np.arange(100, 100 + len(frames)), pa.int64()),
            "split": pa.array(splits or [None] * len(frames), pa.string()),
            "label": pa.array(labels, pa.int64()),
            "frames": pa.array([[row.tolist() for row in one] for one in frames], kind),
        }
    )


@pytest.fixture(scope="module")
def samples(tiny):
    return make_samples(table(), tiny.section("recording_class"), "t")


def test_each_recording_is_there_twice_and_padded(samples):
    tensors, count = samples.tensors, len(FRAMES)
    assert tensors["inputs"].shape == (2 * count, max(map(len, FRAMES)), FEATURES)
    for row, one in enumerate(FRAMES):
        for copy in (row, row + count):
            assert tensors["lengths"][copy] == len(one)
            np.testing.assert_array_equal(tensors["inputs"][copy, : len(one)], one)
            assert not tensors["inputs"][copy, len(one) :].any()
            assert tensors["targets"][copy] == LABELS[row]
            assert tensors["held_out"][copy] == (copy < count)


def test_chunks_and_slices_of_a_table_make_no_difference(tiny, samples):
    whole, section = table(), tiny.section("recording_class")
    parts = pa.concat_tables([whole.slice(0, 13), whole.slice(13, 30), whole.slice(43)])
    again = make_samples(parts, section, "t")
    np.testing.assert_array_equal(again.tensors["inputs"], samples.tensors["inputs"])
    sliced = make_samples(whole.slice(10, 60), section, "t")
    np.testing.assert_array_equal(sliced.tensors["inputs"][0, : len(FRAMES[10])], FRAMES[10])


def test_voices_are_inferred_and_numbered_by_first_occurrence(samples):
    found = samples.tensors["voice"][: len(VOICES)]
    assert len(set(zip(VOICES, found, strict=True))) == 3
    assert sorted(set(found)) == [1, 2, 3]
    first = [int((found == voice).argmax()) for voice in (1, 2, 3)]
    assert first == sorted(first)
    assert samples.notes["voices"] == {"1": 24, "2": 24, "3": 24}


def test_a_loud_feature_does_not_hide_the_others():
    rng = np.random.default_rng(1)
    lengths = np.array([len(one) for one in FRAMES])
    inputs = np.zeros((len(FRAMES), lengths.max(), FEATURES + 1), np.float32)
    for row, one in enumerate(FRAMES):
        inputs[row, : len(one), :FEATURES] = one
        inputs[row, : len(one), FEATURES] = rng.normal(0, 1000)
    found = inferred_voices(inputs, lengths, LABELS, 3, 0, "t")
    assert len(set(zip(VOICES, found, strict=True))) == 3


def test_a_held_out_voice_is_in_no_other_split_and_each_recording_tested_once(samples):
    voice, held_out = samples.tensors["voice"], samples.tensors["held_out"]
    *folds, mixed = samples.folds
    assert [fold.name for fold in folds] == ["voice-1", "voice-2", "voice-3"]
    for number, fold in enumerate(folds, start=1):
        assert set(voice[fold.test]) == {number}
        assert number not in set(voice[np.concatenate([fold.train, fold.valid])])
        assert held_out[np.concatenate([fold.train, fold.valid, fold.test])].all()
        assert (len(fold.valid), len(fold.train)) == (10, 38)
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(72))
    assert mixed.name == "voices-mixed"
    assert not held_out[np.concatenate([mixed.train, mixed.valid, mixed.test])].any()
    for part, count in ((mixed.test, 4), (mixed.valid, 4), (mixed.train, 10)):
        assert np.bincount(samples.tensors["targets"][part]).tolist() == [count] * 4


def test_the_order_of_ten_voices_survives_saving(tiny, tmp_path):
    frames, labels, _ = recordings(voices=11, each=4)
    samples = make_samples(table(frames, labels), tiny.section("recording_class", voices=11), "t")
    samples.save(tmp_path)
    names = [fold.name for fold in Samples.load(tmp_path).folds]
    assert names == [*(f"voice-{one}" for one in range(1, 12)), "voices-mixed"]
    assert Samples.load(tmp_path).shipped.name == "voices-mixed"


def test_given_splits_are_those_of_the_mixed_fold(tiny):
    splits = ["train"] * 50 + ["valid"] * 10 + ["test"] * 12
    *_, mixed = make_samples(table(splits=splits), tiny.section("recording_class"), "t").folds
    assert mixed.test.tolist() == list(range(72 + 60, 72 + 72))
    assert mixed.valid.tolist() == list(range(72 + 50, 72 + 60))


def test_fewer_different_recordings_than_voices(tiny):
    with pytest.raises(SplitError, match=r"tasks\.t: .*1 .*3"):
        make_samples(table([FRAMES[0]] * 10, [1] * 10), tiny.section("recording_class"), "t")


@pytest.mark.parametrize("value", [None, np.nan, np.inf])
def test_a_recording_without_frames_or_with_a_number_that_is_not_finite(tiny, value):
    frames = [one.copy() for one in FRAMES]
    if value is None:
        frames[5] = frames[5][:0]
    else:
        frames[5][-1, 2] = value
    with pytest.raises(DataError, match=r"tasks\.t: the recording of row 105 "):
        make_samples(table(frames), tiny.section("recording_class"), "t")
