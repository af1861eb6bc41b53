"""Samples on disk: what was written is what is read, in equal bytes."""

import numpy as np
import pytest

from unroll.config.tokenizer import TokenizerConfig
from unroll.errors import FormatError, SplitError
from unroll.features.samples import Fold, Samples, check_splits, linspace_indices
from unroll.features.text import Vocabulary

KINDS = ["digits", "return_quantiles", "text_class", "translation", "language_model"]
KINDS += ["recording_class", "strip_columns", "strip_captions", "tags"]


def fold(name="all", train=(0, 1), valid=(2,), test=(3,)):
    return Fold(name, *(np.array(part, np.int64) for part in (train, valid, test)))


def same(one, other):
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in one.tensors.items():
        assert other.tensors[name].dtype == tensor.dtype, name
        assert np.array_equal(other.tensors[name], tensor), name
    assert [found.name for found in other.folds] == [found.name for found in one.folds]
    for found, expected in zip(other.folds, one.folds, strict=True):
        for part in ("train", "valid", "test"):
            assert np.array_equal(getattr(found, part), getattr(expected, part))


@pytest.mark.parametrize("kind", KINDS)
def test_the_round_trip(tiny, tmp_path, kind):
    samples = tiny.samples(kind)
    samples.save(tmp_path / "here")
    found = Samples.load(tmp_path / "here")
    same(samples, found)
    assert dict(found.notes) == dict(samples.notes)
    assert found.vocabularies.keys() == samples.vocabularies.keys()
    for name, vocabulary in samples.vocabularies.items():
        assert found.vocabularies[name].to_json() == vocabulary.to_json()
        assert found.vocabularies[name].tokens == vocabulary.tokens
    assert found.vectors is None


@pytest.mark.parametrize("kind", KINDS)
def test_equal_samples_are_equal_bytes(tiny, tmp_path, kind):
    contents = []
    for name in ("one", "other"):
        # Made anew each time.
        tiny.samples(kind, dataset="again").save(tmp_path / name)
        contents.append({path.name: path.read_bytes() for path in sorted((tmp_path / name).iterdir())})
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("digits", []),
        ("strip_columns", []),
        ("recording_class", ["notes.json"]),
        ("text_class", ["notes.json", "text.tokenizer.json", "texts.parquet"]),
        ("tags", ["character.tokenizer.json", "notes.json", "texts.parquet", "token.tokenizer.json"]),
        ("strip_captions", ["caption.tokenizer.json", "texts.parquet"]),
    ],
)
def test_there_is_a_file_for_what_there_is(tiny, tmp_path, kind, files):
    tiny.samples(kind).save(tmp_path / "here")
    found = sorted(path.name for path in (tmp_path / "here").iterdir())
    assert found == sorted(["samples.safetensors", "splits.safetensors", *files])


def test_texts_stay_what_they_are(tmp_path):
    texts = np.array(["", "Zoë\n", "नमस्ते", "a\tb", '"'], object)
    Samples({"targets": np.arange(5), "text": texts}, (fold(),)).save(tmp_path / "here")
    found = Samples.load(tmp_path / "here").tensors["text"]
    assert found.dtype == object
    assert found.tolist() == texts.tolist()


def test_vectors_travel_with_what_they_do_not_know(tmp_path):
    vectors = np.array([[1, 2], [np.nan, np.nan]], np.float32)
    Samples({"targets": np.arange(4)}, (fold(),), vectors=vectors).save(tmp_path / "here")
    found = Samples.load(tmp_path / "here").vectors
    assert found.dtype == np.float32
    assert np.array_equal(found, vectors, equal_nan=True)


def test_an_altered_vocabulary_is_named(tiny, tmp_path):
    tiny.samples("text_class").save(tmp_path / "here")
    path = tmp_path / "here" / "text.tokenizer.json"
    path.write_text(path.read_text().replace('"[UNK]": 1', '"[UNK]": 99'))
    with pytest.raises(FormatError, match=r"text\.tokenizer\.json"):
        Samples.load(tmp_path / "here")


def test_folds_come_back_by_name(tmp_path):
    """The last of them is the one that is shipped."""
    folds = tuple(fold(name) for name in ("voice-1", "voice-2", "voices-mixed"))
    Samples({"targets": np.arange(4)}, folds).save(tmp_path / "here")
    assert [one.name for one in Samples.load(tmp_path / "here").folds] == ["voice-1", "voice-2", "voices-mixed"]


def test_rows_of_all_folds_follow_each_other():
    texts = np.array(list("abcdef"), object)
    samples = Samples({"targets": np.arange(6), "text": texts}, (fold("1", test=(3, 5)), fold("2", test=(4,))))
    rows = samples.test_rows()
    assert rows["targets"].tolist() == [3, 5, 4]
    assert rows["text"].tolist() == ["d", "f", "e"]
    assert samples.at(np.array([2, 0]))["text"].tolist() == ["c", "a"]


def test_vocabularies_of_several_sides(tmp_path):
    books = {name: Vocabulary.fit([name], TokenizerConfig(kind="split")) for name in ("token", "character")}
    Samples({"targets": np.arange(4)}, (fold(),), books).save(tmp_path / "here")
    found = Samples.load(tmp_path / "here").vocabularies
    assert {name: one.tokens[-1] for name, one in found.items()} == {"token": "token", "character": "character"}


# Places, evenly spaced


@pytest.mark.parametrize(
    ("length", "count", "places"),
    [(9, 3, [0, 4, 8]), (5, 5, [0, 1, 2, 3, 4]), (3, 10, [0, 1, 2]), (10, 2, [0, 9]), (10, 1, [0]), (0, 4, [])],
)
def test_spread_by_hand(length, count, places):
    assert linspace_indices(length, count).tolist() == places


@pytest.mark.parametrize(("length", "count"), [(1000, 7), (1001, 1000), (50, 49)])
def test_spread_places_are_different(length, count):
    assert len(set(linspace_indices(length, count).tolist())) == count


# Splits that are no splits


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_an_empty_split_is_named(part):
    with pytest.raises(SplitError, match=rf"tasks\.t: the {part} split of fold 'all' has no rows.*tasks\.t\.splits"):
        check_splits((fold(**{part: ()}),), "t")


def test_a_validation_split_may_be_unwanted():
    check_splits((fold(valid=()),), "t", valid_wanted=False)
    with pytest.raises(SplitError, match="test split"):
        check_splits((fold(valid=(), test=()),), "t", valid_wanted=False)


@pytest.mark.parametrize("parts", [{"valid": (1,)}, {"test": (0,)}, {"valid": (3,)}, {"train": (0, 0)}], ids=str)
def test_a_sample_in_two_splits_is_named(parts):
    with pytest.raises(SplitError, match="fold 'b' has samples that stand in two"):
        check_splits((fold("a"), fold("b", **parts)), "t")
