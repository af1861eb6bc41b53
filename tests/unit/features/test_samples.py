"""Samples on disk, and the checks of their splits."""

import numpy as np
import pytest

from unroll.config.tokenizer import TokenizerConfig
from unroll.errors import FormatError, SplitError
from unroll.features.samples import Fold, Samples, check_splits, linspace_indices
from unroll.features.text import Vocabulary


def fold(name="all", train=(0, 1), valid=(2,), test=(3,)):
    return Fold(name, *(np.array(part, np.int64) for part in (train, valid, test)))


def test_texts_vocabularies_notes_and_vectors_are_saved_where_there_are_some(tmp_path):
    Samples({"targets": np.arange(4)}, (fold(),)).save(tmp_path / "plain")
    names = ["samples.safetensors", "splits.safetensors"]
    assert sorted(path.name for path in (tmp_path / "plain").iterdir()) == names
    texts = np.array(["", "Zoë\n", "नमस्ते", '"a\tb'], object)
    vocabularies = {name: Vocabulary.fit([name], TokenizerConfig(kind="split")) for name in ("token", "character")}
    vectors = np.array([[1, np.nan]], np.float32)
    tensors = {"targets": np.arange(4), "text": texts}
    Samples(tensors, (fold(),), vocabularies, {"cut": 3}, vectors).save(tmp_path / "full")
    found = Samples.load(tmp_path / "full")
    assert (found.tensors["text"].dtype, found.tensors["text"].tolist()) == (object, texts.tolist())
    assert {name: one.tokens[-1] for name, one in found.vocabularies.items()} == {"token": "token",
                                                                                  "character": "character"}  # fmt: skip
    assert found.notes == {"cut": 3}
    np.testing.assert_array_equal(found.vectors, vectors)


def test_an_altered_vocabulary_is_an_error(tmp_path):
    books = {"text": Vocabulary.fit(["a"], TokenizerConfig(kind="split"))}
    Samples({"targets": np.arange(4)}, (fold(),), books).save(tmp_path)
    path = tmp_path / "text.tokenizer.json"
    path.write_text(path.read_text().replace('"[UNK]": 1', '"[UNK]": 99'))
    with pytest.raises(FormatError, match=r"text\.tokenizer\.json"):
        Samples.load(tmp_path)


def test_test_rows_of_all_folds_follow_each_other():
    texts = np.array(list("abcdef"), object)
    samples = Samples({"targets": np.arange(6), "text": texts}, (fold("1", test=(3, 5)), fold("2", test=(4,))))
    assert samples.test_rows()["targets"].tolist() == [3, 5, 4]
    assert samples.test_rows()["text"].tolist() == ["d", "f", "e"]


@pytest.mark.parametrize(
    ("length", "count", "indices"),
    [(9, 3, [0, 4, 8]), (5, 5, [0, 1, 2, 3, 4]), (3, 10, [0, 1, 2]), (10, 1, [0]), (0, 4, [])],
)
def test_evenly_spaced_indices(length, count, indices):
    assert linspace_indices(length, count).tolist() == indices
    assert len(set(linspace_indices(1001, 1000).tolist())) == 1000


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_an_empty_split_is_an_error(part):
    with pytest.raises(SplitError, match=rf"tasks\.t: the {part} split of fold 'all'"):
        check_splits((fold(**{part: ()}),), "t")
    if part == "valid":
        check_splits((fold(valid=()),), "t", valid_wanted=False)


@pytest.mark.parametrize("parts", [{"valid": (1,)}, {"test": (0,)}, {"valid": (3,)}, {"train": (0, 0)}], ids=str)
def test_a_sample_in_two_splits_is_an_error(parts):
    with pytest.raises(SplitError, match="fold 'b'"):
        check_splits((fold("a"), fold("b", **parts)), "t")
