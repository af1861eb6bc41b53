"""Recordings: npz files, inferred voices that are held out, metrics."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_tables
from raw_files import read

from unroll.domains.recordings.dataset import schema
from unroll.domains.recordings.metrics import baselines, per_sample_loss, score
from unroll.domains.recordings.samples import frame_statistics, make_samples
from unroll.errors import DataError, FormatError, SplitError
from unroll.features.samples import Fold, Samples

X = np.arange(12, dtype=np.float64).reshape(6, 2)
GOOD = {"X": X, "y": np.array([3, 1]), "lengths": np.array([2, 4])}


def _file(folder, name="own.npz", **arrays):
    path = folder / name
    np.savez(path, **arrays)
    return path


def test_frames_are_cut_by_lengths_and_survive_parquet(tmp_path):
    ingested = read("recordings", _file(tmp_path, **GOOD, sex=np.array([0])))
    assert ingested.table.to_pylist() == [
        {"row_id": 0, "split": None, "label": 3, "speaker": None, "frames": [[0, 1], [2, 3]]},
        {"row_id": 1, "split": None, "label": 1, "speaker": None, "frames": [[4, 5], [6, 7], [8, 9], [10, 11]]},
    ]
    about = {"file": "own.npz", "rows": 2, "frames": 6, "features": 2, "ignored_arrays": ["sex"]}
    assert ingested.sources == [{"path": "own.npz", "files": [about]}]
    pq.write_table(ingested.table, tmp_path / "recordings.parquet")
    stored = pq.read_table(tmp_path / "recordings.parquet")
    assert ingested.table.schema == stored.schema.remove_metadata() == schema(2)


def test_several_files_are_one_table(tmp_path):
    first, second = _file(tmp_path, "b.npz", **GOOD), _file(tmp_path, "a.npz", **GOOD)
    table = read("recordings", first, second).table
    assert table.column("row_id").to_pylist() == [0, 1, 2, 3]
    assert table.column("frames").to_pylist()[2:] == table.column("frames").to_pylist()[:2]
    with pytest.raises(FormatError, match=r"c\.npz has 3 features a frame, the files before it 2"):
        read("recordings", first, _file(tmp_path, "c.npz", **GOOD | {"X": np.zeros((6, 3))}))


def test_object_arrays_are_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    with pytest.raises(FormatError, match=r"own\.npz has unreadable arrays \(Object arrays cannot be loaded"):
        read("recordings", _file(tmp_path, **GOOD | {"X": np.array([Trap(), Trap()], dtype=object)}))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"arr_0": X}, "found the arrays arr_0, but not X, y, lengths"),
        (GOOD | {"X": X.reshape(-1)}, r"X is float64 \[12\], expected numbers \[frame, feature\]"),
        (GOOD | {"y": np.array([0, 1, 2])}, "y has 3 classes, lengths 2 recordings"),
        (GOOD | {"lengths": np.array([2, 3])}, "lengths add up to 5 frames, but X has 6"),
        (GOOD | {"lengths": np.array([8, -2])}, "recording 1 .* has -2 frames"),
        ({"X": X[:0], "y": np.array([], int), "lengths": np.array([], int)}, "has no recordings"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, arrays, message):
    with pytest.raises(FormatError, match=rf"own\.npz.*{message}"):
        read("recordings", _file(tmp_path, **arrays))


def test_files_that_are_damaged_or_not_npz(tmp_path):
    path = _file(tmp_path, **GOOD)
    content = bytearray(path.read_bytes())
    content[content.index(X.tobytes())] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"unreadable arrays \(Bad CRC-32"):
        read("recordings", path)
    with path.open("wb") as file:
        np.save(file, X)
    with pytest.raises(FormatError, match="is not an npz file"):
        read("recordings", path)


FEATURES = tiny_tables.FEATURES


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
    splits = splits or [None] * len(frames)
    rows = [
        {"split": split, "label": int(label), "frames": one.tolist()}
        for split, label, one in zip(splits, labels, frames, strict=True)
    ]
    return tiny_tables.table("recordings", rows, first=100)


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


ROWS = {
    "targets": np.array([0, 1, 0, 1, 1, 0, 1]),
    "voice": np.array([1, 1, 2, 2, 2, 1, 2]),
    "held_out": np.array([1, 1, 1, 1, 1, 0, 0]),
}
FOUND = np.array([0, 0, 0, 1, 1, 0, 0])


def test_accuracy_is_the_mean_over_held_out_voices():
    found = score(FOUND, ROWS, 2)
    # Voice 1: one of two; voice 2: three of three.
    assert found["by_voice"] == {"voice-1": 0.5, "voice-2": 1.0}
    assert (found["accuracy"], found["rows"]) == (0.75, 5)
    assert (found["accuracy_random_split"], found["rows_random_split"]) == (0.5, 2)
    # Of the held-out rows: class 0 has TP 2, FP 1, class 1 TP 2, FN 1.
    assert found["macro_f1"] == pytest.approx((4 / 5 + 4 / 5) / 2)
    probabilities = np.where(np.arange(2) == FOUND[:, None], 0.9, 0.1).astype(np.float32)
    assert score(probabilities, ROWS, 2) == found
    # Rows of the random split are not compared.
    assert per_sample_loss(FOUND, ROWS).tolist() == [0, 1, 0, 0, 0, 0, 0]


def test_without_held_out_voices_the_random_split_gives_the_headline():
    found = score(FOUND[5:], {name: tensor[5:] for name, tensor in ROWS.items()}, 2)
    assert found["accuracy"] == found["accuracy_random_split"] == 0.5
    assert "by_voice" not in found
    unheard = score(FOUND[:5], {name: tensor[:5] for name, tensor in ROWS.items()}, 2)
    assert "accuracy_random_split" not in unheard


def test_frame_statistics_ignore_padding():
    inputs = np.array([[[1.0, 4.0], [3.0, 4.0], [99.0, 99.0]], [[5.0, 0.0], [5.0, 6.0], [5.0, 0.0]]], np.float32)
    found = frame_statistics(inputs, np.array([2, 3]))
    assert found[0].tolist() == [2, 4, 1, 0]
    assert found[1] == pytest.approx([5, 2, 0, np.sqrt(8)])


def test_each_fold_has_a_baseline_of_its_own():
    # A class is the mean of the frames. Voice 1 calls everything class 0.
    targets, voice = np.arange(40) % 2, np.arange(40) // 2 % 2 + 1
    inputs = np.random.default_rng(0).normal(0, 0.1, (40, 9, 3)).astype(np.float32)
    inputs[:, :, 0] += targets[:, None]
    targets[voice == 1] = 0
    tensors = {"inputs": inputs, "lengths": np.full(40, 9), "targets": targets}
    one, two = np.flatnonzero(voice == 1), np.flatnonzero(voice == 2)
    folds = (Fold("voice-1", two[:15], two[15:], one), Fold("voice-2", one[:15], one[15:], two))
    found = baselines(Samples(tensors, folds), 2)
    assert found["frame_statistics"][:20].argmax(1).tolist() == (one % 2).tolist()
    assert found["frame_statistics"][20:].argmax(1).tolist() == [0] * 20
    assert found["majority"].shape == (40,)
