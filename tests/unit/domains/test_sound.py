"""Sound files as recordings: labels and speakers, forms of files, splits by speaker, scoring."""

import in_process
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import tiny_bundles
import tiny_tables
from raw_files import read

from unroll.domains import domain_of
from unroll.domains.recordings.samples import frame_features, make_samples
from unroll.errors import FormatError, SplitError
from unroll.inference.batches import open_file
from unroll.inference.bundle import load_bundle

RATE = 8000


def tone(seconds=0.05, rate=RATE, pitch=440.0):
    return 0.3 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)


def write(path, samples=None, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone() if samples is None else samples, rate)
    return path


def rows(ingested):
    return [(one["file"], one["label"], one["speaker"]) for one in ingested.table.to_pylist()]


def test_names_of_files_say_label_and_speaker(tmp_path):
    for name in ("0_ann_0.wav", "10_bo b_12.flac", "2_ann_1.ogg", ".hidden_a_1.wav", "labels.txt"):
        write(tmp_path / name) if name != "labels.txt" else (tmp_path / name).write_text("about")
    ingested = read("recordings", tmp_path)
    assert rows(ingested) == [
        ("0_ann_0.wav", "0", "ann"),
        ("10_bo b_12.flac", "10", "bo b"),
        ("2_ann_1.ogg", "2", "ann"),
    ]
    assert ingested.changes["speakers"] == {"ann": 2, "bo b": 1}
    assert "2 speakers, with 1 to 2 recordings each" in ingested.notes
    assert ingested.table.schema.metadata == {b"sample_rate": b"8000"}
    whole = next(one for one in ingested.table.to_pylist() if one["file"].endswith(".wav"))["samples"]
    np.testing.assert_allclose(whole, tone(), atol=2**-15)


@pytest.mark.parametrize(
    ("pattern", "name", "found"),
    [
        ("{label}/{speaker}_nohash_{take}", "yes/ab12_nohash_0.wav", ("yes", "ab12")),
        ("{speaker}-{label}", "deep/below/s01-go.wav", ("go", "s01")),
        ("{label}", "stop.wav", ("stop", None)),
        (None, "yes/ab12_nohash_x.wav", "file_name"),
        (None, "ann_0.wav", "file_name"),
        (None, "7_mary_ann_3.wav", "more than one way"),
        ("{label}-{take}", "a-b-c.wav", "more than one way"),
    ],
)
def test_a_pattern_has_to_fit_every_name_in_one_way(tmp_path, pattern, name, found):
    write(tmp_path / "x" / name)
    options = {} if pattern is None else {"file_name": pattern}
    if isinstance(found, tuple):
        assert rows(read("recordings", tmp_path / "x", **options)) == [(name, *found)]
    else:
        with pytest.raises(FormatError, match=found):
            read("recordings", tmp_path / "x", **options)


TABLE = "path,word,who\na.wav,yes,ann\nsub/b.wav,no,bob\n"


@pytest.mark.parametrize(
    ("table", "columns", "found"),
    [
        ("file;label\na.wav;yes\nb;no\n", {}, [("yes", None), ("no", None)]),
        (TABLE, {"file": "path", "label": "word", "speaker": "who"}, [("yes", "ann"), ("no", "bob")]),
        (TABLE, {}, r"needs one column 'file'; .* set `columns\.file`"),
        ("file,label\na.wav,yes\nz.wav,no\n", {}, r"line 3: there is no one sound file 'z\.wav'"),
        ("file,label\na.wav,yes\na,no\n", {}, "line 3: a stands twice"),
        ("file,label,speaker\na.wav,yes,ann\nb.wav,no,\n", {}, r"line 3: b\.wav has no speaker"),
    ],
)
def test_labels_from_a_table(tmp_path, table, columns, found):
    folder = tmp_path / "x"
    for name in ("a.wav", "sub/b.wav", "other.wav"):
        write(folder / name)
    (folder / "labels.csv").write_text(table)
    options = {"label_table": "labels.csv", "columns": columns}
    if isinstance(found, list):
        ingested = read("recordings", folder, **options)
        assert rows(ingested) == [("a.wav", *found[0]), ("sub/b.wav", *found[1])]
        assert ingested.changes["not_in_label_table"] == 1
    else:
        with pytest.raises(FormatError, match=found):
            read("recordings", folder, **options)


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg"])
def test_rates_and_channels_become_one(tmp_path, ending):
    seconds, rate = 0.5, 44100
    stereo = np.stack([tone(seconds, rate), 3 * tone(seconds, rate)], axis=1)
    write(tmp_path / "x" / f"0_a_0.{ending}", stereo, rate)
    (row,) = read("recordings", tmp_path / "x").table.to_pylist()
    inner = slice(200, -200)
    assert len(row["samples"]) == round(seconds * RATE)
    assert np.abs(np.array(row["samples"]) - 2 * tone(seconds))[inner].max() < 0.05


def faulty(folder):
    """A sound recording, and files that cannot be used with what is said of them."""
    whole = write(folder / "0_a_0.wav").read_bytes()
    write(folder / "1_a_0.wav", np.zeros(900))
    (folder / "1_a_1.wav").write_bytes(b"")
    (folder / "1_a_2.wav").write_bytes(whole[:300])
    (folder / "1_a_3.flac").write_bytes(b"neither flac nor anything else" * 9)
    write(folder / "1_a_4.wav", np.zeros(0))
    soundfile.write(folder / "1_a_5.wav", np.array([0.0, np.nan, 0.5]), RATE, "FLOAT")
    return ["silent", "empty", "cut short", "cannot be decoded", "no samples", "not a finite number"]


def test_files_that_cannot_be_used_are_counted_up_to_a_bound(tmp_path):
    reasons = faulty(tmp_path / "x")
    with pytest.raises(FormatError, match=r"6 of 7 sound files .* max_bad_share 0\.05 .*1_a_0\.wav: it is silent"):
        read("recordings", tmp_path / "x")
    ingested = read("recordings", tmp_path / "x", max_bad_share=0.9)
    assert ingested.changes["left_out"] == 6
    for fault, number, reason in zip(ingested.changes["left_out_first"], range(6), reasons, strict=True):
        assert fault.startswith(f"1_a_{number}.")
        assert reason in fault
    assert rows(ingested) == [("0_a_0.wav", "0", "a")]


def test_a_wav_file_of_unknown_size_is_whole(tmp_path):
    """Programs that write to a pipe do not know how much will come."""
    whole = write(tmp_path / "x" / "0_a_0.wav").read_bytes()
    place = whole.index(b"data") + 4
    (tmp_path / "x" / "0_a_1.wav").write_bytes(whole[:place] + b"\xff" * 4 + whole[place + 4 :])
    one, other = read("recordings", tmp_path / "x").table["samples"].to_pylist()
    assert one == other


def test_sources_of_sound_and_of_features_are_not_mixed(tmp_path):
    write(tmp_path / "x" / "0_a_0.wav")
    np.savez(tmp_path / "own.npz", X=np.ones((1, 2)), y=np.array([0]), lengths=np.array([1]))
    with pytest.raises(FormatError, match="a dataset of each kind"):
        read("recordings", tmp_path / "x", tmp_path / "own.npz")


def test_speakers_of_an_npz_file(tmp_path):
    arrays = {"X": np.ones((2, 2)), "y": np.array([0, 1]), "lengths": np.array([1, 1])}
    np.savez(tmp_path / "a.npz", **arrays, speaker=np.array([7, 8]))
    assert read("recordings", tmp_path / "a.npz").table["speaker"].to_pylist() == ["7", "8"]
    np.savez(tmp_path / "b.npz", **arrays)
    with pytest.raises(FormatError, match="2 of 4 recordings have no speaker"):
        read("recordings", tmp_path / "a.npz", tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", **arrays, speaker=np.array(["x"]))
    with pytest.raises(FormatError, match=r"c\.npz: speaker is <U1 \[1\]"):
        read("recordings", tmp_path / "c.npz")


@pytest.fixture(scope="module")
def table():
    return tiny_tables.sound()


def parts(table, fold):
    speakers = np.array(table["speaker"].to_pylist())
    return [set(speakers[index]) for index in (fold.train, fold.valid, fold.test)]


def test_each_speaker_is_in_one_split(tiny, table):
    samples = make_samples(table, tiny.section("sound_class"), "t")
    found = parts(table, samples.shipped)
    assert [len(part) for part in found] == [2, 1, 1]
    assert set.union(*found) == set("abcd")
    assert samples.tensors["held_out"].all()
    for speaker, about in samples.notes["speakers"].items():
        assert about["recordings"] == 12
        assert speaker in found[["train", "valid", "test"].index(about["split"])]
    assert samples.notes["remarks"] == ["tested on 1 of 4 speakers, none of whom is in training"]
    others = [
        parts(table, make_samples(table, tiny.section("sound_class", seed=seed), "t").shipped) for seed in range(8)
    ]
    assert len({tuple(found[2]) for found in others}) > 1
    shares = tiny.section("sound_class", test_share=0.5, valid_share=0.2)
    assert [len(part) for part in parts(table, make_samples(table, shares, "t").shipped)] == [1, 1, 2]


def test_samples_are_cut_into_time_steps(tiny, table):
    samples = make_samples(table, tiny.section("sound_class"), "t")
    assert samples.notes["sound"] == {"sample_rate": 8000, "hop": 16}
    for row, values in enumerate(table["samples"].to_pylist()):
        steps = samples.tensors["inputs"][row]
        assert samples.tensors["lengths"][row] == -(-len(values) // 16)
        np.testing.assert_array_equal(steps.ravel()[: len(values)], np.array(values, np.float32))
        assert not steps.ravel()[len(values) :].any()
    assert samples.notes["labels"] == ["0", "1", "2"]
    assert frame_features(samples.tensors["inputs"], True).shape[2] == 9


def test_splits_with_common_voices_have_to_be_wanted(tiny, table):
    few = table.filter(np.isin(table["speaker"].to_numpy(), ["a", "b"]))
    with pytest.raises(SplitError, match=r"found 2 speakers \(a, b\).*tasks\.t\.hold_out_speakers"):
        make_samples(few, tiny.section("sound_class"), "t")
    names = table.schema.get_field_index("split")
    given = table.set_column(names, "split", [["train", "valid", "test"] * (len(table) // 3)])
    with pytest.raises(SplitError, match=r"speaker a is in test and train and valid; set tasks\.t\.hold_out_speakers"):
        make_samples(given, tiny.section("sound_class"), "t")
    section = tiny.section("sound_class", hold_out_speakers=False)
    found = make_samples(given, section, "t").shipped
    assert found.test.tolist() == list(range(2, len(table), 3))
    samples = make_samples(few, section, "t")
    assert not samples.tensors["held_out"].any()
    assert "may be in training" in samples.notes["remarks"][0]
    metrics = domain_of("recordings").part("metrics").make_metrics(section, samples)
    targets = samples.tensors["targets"]
    wrong = (targets + 1) % 3
    assert metrics.score(targets, samples.tensors)["accuracy"] == 1
    assert metrics.per_sample_loss(wrong, samples.tensors).all()


def test_voices_of_sound_without_speakers_are_clusters(tiny, table):
    place = table.schema.get_field_index("speaker")
    unknown = table.set_column(place, table.schema.field(place), [pa.nulls(len(table), pa.string())])
    samples = make_samples(unknown, tiny.section("sound_class", voices=2), "t")
    assert [fold.name for fold in samples.folds] == ["voice-1", "voice-2", "voices-mixed"]
    assert "the data names no speaker" in samples.notes["remarks"][0]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A model of sound at 8,000 samples a second, two of which are a time step."""
    return load_bundle(tiny_bundles.recordings(tmp_path_factory.mktemp("sound"), RATE))


def read_rows(path, bundle):
    return [row for batch in open_file(path, bundle, 7) for row in batch.to_pylist()]


def test_sound_is_scored_as_it_was_trained_on(tmp_path, bundle):
    reasons = faulty(tmp_path / "x" / "deep")
    odd = 0.1 + tone(401 / RATE)
    write(tmp_path / "x" / "z.wav", odd)
    (tmp_path / "x" / "about.txt").write_text("no sound")
    first, *bad, last = read_rows(tmp_path / "x", bundle)
    (trained,) = read("recordings", tmp_path / "x" / "z.wav", file_name="{label}").table["samples"].to_pylist()
    assert (first["row_id"], last["row_id"]) == ("deep/0_a_0.wav", "z.wav")
    assert last["inputs"] == [*trained, 0.0]
    assert [row["row_id"][5:10] for row in bad] == [f"1_a_{number}" for number in range(6)]
    for row, reason in zip(bad, reasons, strict=True):
        assert reason in row["reason"]
        assert not row["inputs"]
    result = in_process.score(bundle.folder, tmp_path / "x", batch_rows=3)
    assert result.output["row_id"].to_pylist() == ["deep/0_a_0.wav", "z.wav"]
    assert read_rows(tmp_path / "x" / "z.wav", bundle)[0] == last


def test_samples_in_parquet(tmp_path, bundle):
    pq.write_table(pa.table({"row_id": [4, 5], "samples": [[0.5, 0.25, 0.125], [0.5, None]]}), tmp_path / "x.parquet")
    one, other = read_rows(tmp_path / "x.parquet", bundle)
    assert (one["row_id"], one["inputs"], one["reason"]) == (4, [0.5, 0.25, 0.125, 0.0], None)
    assert other["reason"] == "a value is missing"


def test_a_model_of_features_does_not_read_sound(tmp_path):
    features = load_bundle(tiny_bundles.recordings(tmp_path / "features"))
    with pytest.raises(FormatError, match="reads frames of features from Parquet"):
        read_rows(write(tmp_path / "a.wav"), features)
