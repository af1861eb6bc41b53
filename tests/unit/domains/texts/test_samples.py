"""Texts with a class, and running text."""

import math

import numpy as np
import pyarrow as pa
import pytest

from unroll.domains.articles.samples import make_samples as language_samples
from unroll.domains.texts.samples import make_samples as text_class_samples
from unroll.domains.texts.samples import rating_classes, soft_labels
from unroll.errors import DataError, SplitError
from unroll.features.groups import normalized
from unroll.features.samples import Samples
from unroll.features.special_tokens import EOS, IGNORE_INDEX, PAD, UNK

THREE = {"classes": ["bad", "so", "good"], "thresholds": [-1, 1]}


def table(texts, labels=None, ratings=None, splits=None):
    count = len(texts)
    return pa.table(
        {
            "row_id": pa.array(np.arange(100, 100 + count), pa.int64()),
            "split": pa.array(splits or [None] * count, pa.string()),
            "text": pa.array(texts, pa.string()),
            "label": pa.array(labels or [None] * count, pa.string()),
            "rating": pa.array(ratings or [None] * count, pa.float64()),
        }
    )


def labelled(count=60):
    texts = [f"film number{place} was {'fine' if place % 3 else 'dull'}!" for place in range(count)]
    return table(texts, ["good" if place % 3 else "bad" for place in range(count)])


def rated(ratings):
    return table([f"film number{place}" for place in range(len(ratings))], ratings=list(ratings))


def test_labels_by_hand(section):
    samples = text_class_samples(labelled(), section("text_class"), "t")
    tensors = samples.tensors
    assert tensors["label"][:4].tolist() == [0, 1, 1, 0]
    assert tensors["targets"][:2].tolist() == [[1, 0], [0, 1]]
    assert tensors["text"][1] == "film number1 was fine!"
    assert "rating" not in tensors
    assert {name: str(one.dtype) for name, one in tensors.items()} == {
        "inputs": "int64",
        "lengths": "int64",
        "targets": "float32",
        "label": "int64",
        "text": "object",
    }
    vocabulary = samples.vocabularies["text"]
    row = samples.folds[0].train[0]
    ids = tensors["inputs"][row, : tensors["lengths"][row]]
    assert vocabulary.decode(ids) == tensors["text"][row]
    assert samples.notes == {"cut": 0, "left_out": 0}


def test_rows_end_in_padding(section):
    texts = ["one", "one two three", "one two"] * 10
    tensors = text_class_samples(
        table([f"{text} w{place}" for place, text in enumerate(texts)], ["good"] * 30), section("text_class"), "t"
    ).tensors
    assert tensors["lengths"][:3].tolist() == [2, 4, 3]
    assert tensors["inputs"].shape == (30, 4)
    for row, length in zip(tensors["inputs"], tensors["lengths"], strict=True):
        assert (row[:length] != PAD).all()
        assert (row[length:] == PAD).all()


def test_texts_that_say_the_same_stand_in_one_split(section):
    texts = [f"{'A' if place % 2 else 'a'} film number{place // 4}{'!' if place % 3 else ' .'}" for place in range(200)]
    for seed in range(3):
        task = section("text_class", splits={"valid_share": 0.2, "test_share": 0.2, "seed": seed})
        (fold,) = text_class_samples(table(texts, ["good"] * 200), task, "t").folds
        train, valid, test = ({normalized(texts[row]) for row in part} for part in (fold.train, fold.valid, fold.test))
        assert not train & valid
        assert not train & test
        assert not valid & test
        assert (len(fold.valid), len(fold.test)) == (40, 40)


def test_the_vocabulary_knows_training_alone(section):
    samples = text_class_samples(labelled(), section("text_class"), "t")
    (fold,) = samples.folds
    known = {f"number{row}" for row in fold.train}
    tokens = set(samples.vocabularies["text"].tokens)
    assert known <= tokens
    assert not {f"number{row}" for row in (*fold.valid, *fold.test)} & tokens
    for row in fold.test:
        assert (samples.tensors["inputs"][row] == UNK).sum() == 1


def test_given_splits_are_kept_without_what_leaks(section):
    splits = (["train"] * 7 + ["valid"] + ["test"] * 2) * 6
    content = labelled().to_pydict()
    content["text"][0] = content["text"][9].upper()
    samples = text_class_samples(table(content["text"], content["label"], splits=splits), section("text_class"), "t")
    (fold,) = samples.folds
    assert fold.test.tolist() == [row for row in range(60) if splits[row] == "test"]
    assert fold.train.tolist() == [row for row in range(60) if splits[row] == "train" and row != 0]
    assert samples.notes["left_out"] == 1


@pytest.mark.parametrize(
    ("thresholds", "ratings", "classes"),
    [
        ([-1, 1], [-4, -1.01, -1, 0, 1, 1.01, 4], [0, 0, 1, 1, 1, 2, 2]),
        ([0], [-0.1, 0, 0.1], [0, 1, 1]),
        ([1, 2, 3], [1, 2, 3, 3.5], [1, 2, 2, 3]),
        ([1, 2, 3, 4], [1, 2, 3, 4, 0.5, 4.5], [1, 2, 2, 3, 0, 4]),
    ],
)
def test_classes_of_ratings(thresholds, ratings, classes):
    assert rating_classes(np.array(ratings, float), thresholds).tolist() == classes


def test_soft_labels_by_hand():
    """Standard normal: Φ(1) = 0.8413, Φ(2) = 0.9772."""
    found = soft_labels(np.array([0.0, 1.0, -3.0]), [-1, 1], 1.0)
    expected = [[0.1587, 0.6827, 0.1587], [0.0228, 0.4772, 0.5], [0.9772, 0.0227, 0.0]]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    half = soft_labels(np.array([0.5]), [-1, 1], 0.5)
    np.testing.assert_allclose(half, [[0.00135, 0.8413 - 0.00135, 0.1587]], atol=1e-4)


@pytest.mark.parametrize("noise", [0, 0.3, 0.7, 5])
def test_soft_labels_are_probabilities(noise):
    ratings = np.linspace(-4, 4, 101)
    found = soft_labels(ratings, [-1, 1], noise)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    assert (found >= 0).all()
    # The probability of the classes above a threshold rises with the rating.
    assert (np.diff(found[:, 2]) >= 0).all()
    if not noise:
        assert found.argmax(1).tolist() == rating_classes(ratings, [-1, 1]).tolist()


def test_no_noise_gives_one_class():
    assert soft_labels(np.array([-1.0, 1.5]), [-1, 1], 0).tolist() == [[0, 1, 0], [0, 0, 1]]


def test_ratings_become_targets(section):
    ratings = [-3.0, -0.5, 2.5] * 20
    samples = text_class_samples(rated(ratings), section("text_class", **THREE, rating_noise=0.7), "t")
    assert samples.tensors["label"][:3].tolist() == [0, 1, 2]
    assert samples.tensors["rating"].dtype == np.float32
    assert samples.tensors["rating"][:3].tolist() == [-3, -0.5, 2.5]
    above = 1 - 0.5 * (1 + math.erf((1 + 0.5) / 0.7 / math.sqrt(2)))
    np.testing.assert_allclose(samples.tensors["targets"][1, 2], above, rtol=1e-5)
    np.testing.assert_allclose(samples.tensors["targets"].sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("text", ["", "   ", "\u200b"])
def test_an_empty_text_is_named(section, text):
    content = labelled().to_pydict()
    content["text"][17] = text
    with pytest.raises(DataError, match=r"tasks\.t: the text of row 117 is empty"):
        text_class_samples(table(content["text"], content["label"]), section("text_class"), "t")


def test_a_long_text_is_cut_and_counted(section):
    content = labelled().to_pydict()
    content["text"][3] = "long " * 30
    content["text"][4] = "longer " * 21
    samples = text_class_samples(table(content["text"], content["label"]), section("text_class"), "t")
    assert samples.notes["cut"] == 2
    assert samples.tensors["lengths"].max() == 20
    assert samples.tensors["inputs"].shape[1] == 20
    # The whole text stays for the baselines.
    assert samples.tensors["text"][3] == "long " * 30


def test_a_long_text_is_refused_where_that_is_wanted(section):
    content = labelled().to_pydict()
    content["text"][3] = "long " * 30
    content["text"][4] = "longer " * 45
    with pytest.raises(
        DataError, match=r"text of row 103 has 30 tokens, max_tokens is 20 .*too long: 2, the longest 45"
    ):
        text_class_samples(table(content["text"], content["label"]), section("text_class", truncation=False), "t")


def test_a_text_of_just_the_greatest_length_is_fine(section):
    content = labelled().to_pydict()
    content["text"][3] = "long " * 20
    samples = text_class_samples(table(content["text"], content["label"]), section("text_class", truncation=False), "t")
    assert samples.notes["cut"] == 0


def test_a_label_that_is_no_class(section):
    with pytest.raises(
        DataError, match=r"row 101 has the label 'odd', which is not among tasks\.t\.classes: bad, good"
    ):
        text_class_samples(table(["a", "b"], ["good", "odd"]), section("text_class"), "t")


def test_a_row_without_a_label(section):
    with pytest.raises(DataError, match="row 101 has no label"):
        text_class_samples(table(["a", "b"], ["good", None]), section("text_class"), "t")


def test_labels_where_ratings_are_asked_for(section):
    with pytest.raises(DataError, match="row 100 has no rating"):
        text_class_samples(labelled(), section("text_class", **THREE), "t")


def test_too_few_texts_for_three_splits(section):
    with pytest.raises(SplitError, match=r"tasks\.t: the valid split"):
        text_class_samples(table(["a", "b"], ["good", "bad"]), section("text_class"), "t")


def test_equal_tables_give_equal_bytes(section, tmp_path):
    for folder in ("one", "two"):
        text_class_samples(labelled(), section("text_class"), "t").save(tmp_path / folder)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert "text.tokenizer.json" in names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_samples_are_what_was_saved(section, tmp_path):
    samples = text_class_samples(labelled(), section("text_class"), "t")
    samples.save(tmp_path)
    found = Samples.load(tmp_path)
    assert found.tensors["text"].tolist() == samples.tensors["text"].tolist()
    assert found.vocabularies == samples.vocabularies
    assert found.notes == samples.notes


def articles(**lines):
    rows = [(part, line) for part, own in lines.items() for line in own]
    return table([line for _, line in rows], splits=[part for part, _ in rows])


def test_windows_by_hand(section):
    samples = language_samples(
        articles(train=["a b", "c"], valid=["b"], test=["c d a"]), section("language_model"), "t"
    )
    a, b, c = (samples.vocabularies["text"].tokens.index(word) for word in "abc")
    assert samples.tensors["inputs"].tolist() == [
        [EOS, a, b],
        [EOS, c, PAD],
        [EOS, b, PAD],
        [EOS, c, UNK],
        [a, PAD, PAD],
    ]
    assert samples.tensors["targets"].tolist() == [
        [a, b, EOS],
        [c, EOS, IGNORE_INDEX],
        [b, EOS, IGNORE_INDEX],
        [c, UNK, a],
        [EOS, IGNORE_INDEX, IGNORE_INDEX],
    ]
    (fold,) = samples.folds
    assert (fold.train.tolist(), fold.valid.tolist(), fold.test.tolist()) == ([0, 1], [2], [3, 4])
    assert samples.notes["tokens"] == {"train": 5, "valid": 2, "test": 4}
    assert samples.notes["unknown"]["test"] == pytest.approx(1 / 5)


@pytest.mark.parametrize("window", [2, 3, 5, 7, 50])
def test_the_windows_of_a_split_are_its_text(section, window):
    lines = [" ".join(f"w{(row * place) % 11}" for place in range(row + 1)) for row in range(12)]
    samples = language_samples(
        articles(train=lines, valid=lines[:3], test=lines[3:5]), section("language_model", window=window), "t"
    )
    vocabulary = samples.vocabularies["text"]
    for part, own in (("train", lines), ("valid", lines[:3]), ("test", lines[3:5])):
        rows = getattr(samples.folds[0], part)
        inputs, targets = (samples.tensors[name][rows].ravel() for name in ("inputs", "targets"))
        expected = [i for line in vocabulary.encode(own) for i in (*line, EOS)]
        kept = targets != IGNORE_INDEX
        assert targets[kept].tolist() == expected
        assert inputs[kept].tolist() == [EOS, *expected[:-1]]
        assert (inputs[~kept] == PAD).all()
        # Only the end is padded.
        assert kept[: len(expected)].all()


def test_interleaved_rows_of_splits_keep_their_order(section):
    mixed = table(["a b", "x", "c", "y"], splits=["train", "valid", "train", "test"])
    samples = language_samples(mixed, section("language_model", window=10), "t")
    words = samples.vocabularies["text"].tokens_of(samples.tensors["targets"][0][:5])
    assert words == ["a", "b", "<eos>", "c", "<eos>"]


def test_running_text_without_splits(section):
    with pytest.raises(SplitError, match="no row has a split"):
        language_samples(table(["a", "b"]), section("language_model"), "t")


def test_running_text_without_a_test_split(section):
    with pytest.raises(SplitError, match="the test split of fold 'all' has no rows"):
        language_samples(articles(train=["a"], valid=["b"]), section("language_model"), "t")


def test_an_empty_line_is_named(section):
    with pytest.raises(DataError, match="row 102 is empty"):
        language_samples(articles(train=["a"], valid=["b"], test=[" "]), section("language_model"), "t")
