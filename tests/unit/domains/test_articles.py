"""Running text: files, windows of one stream a split, and metrics."""

import numpy as np
import pytest
import tiny_tables
from pydantic import ValidationError
from raw_files import read

from unroll.config.sources import PathSource
from unroll.config.tokenizer import TokenizerConfig
from unroll.domains.articles import metrics as language
from unroll.domains.articles.config import ArticleDataset
from unroll.domains.articles.dataset import SCHEMA
from unroll.domains.articles.samples import make_samples
from unroll.errors import DataError, FormatError, SplitError
from unroll.features.samples import Fold, Samples
from unroll.features.special_tokens import EOS, IGNORE_INDEX, PAD, UNK
from unroll.features.text import Vocabulary


def test_a_row_is_a_line_that_is_not_blank(tmp_path):
    (tmp_path / "train.txt").write_bytes(b" = Heading = \r\n \r\nOne e\xcc\x81 . \r\n")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "b.txt").write_text("four")
    (tmp_path / "test" / "a.txt").write_text("two\nthree\n")
    ingested = read("articles", tmp_path / "train.txt", tmp_path / "test")
    assert ingested.table.schema == SCHEMA
    assert ingested.table.column("row_id").to_pylist() == [0, 1, 2, 3, 4]
    assert ingested.table.column("split").to_pylist() == ["train"] * 2 + ["test"] * 3
    assert ingested.table.column("text").to_pylist() == ["= Heading =", "One é .", "two", "three", "four"]
    assert ingested.sources[0] == {
        "path": "train.txt",
        "files": [{"file": "train.txt", "rows": 2, "blank_lines": 1}],
    }
    assert [one["file"] for one in ingested.sources[1]["files"]] == ["a.txt", "b.txt"]


@pytest.mark.parametrize("content", ["", "\n \n\u200b\n"])
def test_file_without_text(tmp_path, content):
    (tmp_path / "train.txt").write_text(content)
    with pytest.raises(FormatError, match=r"train\.txt has no text"):
        read("articles", tmp_path / "train.txt")


@pytest.mark.parametrize("splits", [("train", "test"), ("train", "valid", "test", None), (None,)])
def test_every_split_needs_a_source(splits):
    with pytest.raises(ValidationError, match="needs a split"):
        ArticleDataset(
            domain="articles", sources=tuple(PathSource(kind="path", path="x", split=split) for split in splits)
        )


@pytest.fixture
def make(tiny):
    def make(rows, **changes):
        table = tiny_tables.table("articles", [{"split": part, "text": line} for part, line in rows])
        return make_samples(table, tiny.section("language_model", **{"window": 3, **changes}), "t")

    return make


def test_windows_by_hand(make):
    samples = make([("train", "a b"), ("valid", "b"), ("train", "c"), ("test", "c d a")])
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


@pytest.mark.parametrize("window", [2, 5, 50])
def test_the_windows_of_a_split_are_its_text(make, window):
    lines = [" ".join(f"w{(row * place) % 11}" for place in range(row + 1)) for row in range(12)]
    splits = {"train": lines, "valid": lines[:3], "test": lines[3:5]}
    samples = make([(part, line) for part, own in splits.items() for line in own], window=window)
    for part, own in splits.items():
        rows = getattr(samples.folds[0], part)
        inputs, targets = (samples.tensors[name][rows].ravel() for name in ("inputs", "targets"))
        expected = [i for line in samples.vocabularies["text"].encode(own) for i in (*line, EOS)]
        padding = [PAD] * (len(inputs) - len(expected))
        assert inputs.tolist() == [EOS, *expected[:-1], *padding]
        assert targets.tolist() == [*expected, *[IGNORE_INDEX] * len(padding)]


@pytest.mark.parametrize(
    "rows",
    [
        [(None, "a"), (None, "b")],
        [("train", "a"), ("valid", "b")],
        [("train", "a"), ("valid", "b"), ("test", " ")],
    ],
    ids=["no splits", "no test split", "empty line"],
)
def test_text_that_cannot_be_used_is_an_error(make, rows):
    with pytest.raises((SplitError, DataError), match=r"tasks\.t"):
        make(rows)


WINDOW = 5


@pytest.fixture(scope="module")
def samples():
    """A text that repeats itself: train, valid and test are windows of it, one after the other."""
    text = " ".join(["the cat sees the dog and the dog sees a cat"] * 12)
    vocabulary = Vocabulary.fit([text], TokenizerConfig(kind="split", vocabulary_size=40))
    stream = np.array([EOS, *vocabulary.encode([text])[0]])
    count = (len(stream) - 1) // WINDOW
    inputs, targets = (part[: count * WINDOW].reshape(count, WINDOW) for part in (stream[:-1], stream[1:].copy()))
    targets[-1, -2:] = IGNORE_INDEX
    fold = Fold("all", np.arange(0, 16), np.arange(16, 20), np.arange(20, count))
    return Samples({"inputs": inputs, "targets": targets}, (fold,), {"text": vocabulary})


def test_longer_ngrams_are_better_baselines(tiny, samples):
    metrics, rows = language.make_metrics(tiny.section("language_model"), samples), samples.test_rows()
    found = metrics.baselines(samples)
    values = [metrics.score(prediction, rows)["perplexity"] for prediction in found.values()]
    assert len(values) == 3
    assert values == sorted(values, reverse=True)
    for prediction in found.values():
        assert ((prediction < 0) == (rows["targets"] != IGNORE_INDEX)).all()


def test_metrics_by_frequency_in_training(tiny, samples, monkeypatch):
    monkeypatch.setattr(language, "RANKS", (1, 3))
    rows, vocabulary = samples.test_rows(), samples.vocabularies["text"]
    metrics = language.make_metrics(tiny.section("language_model"), samples)
    found = metrics.score(metrics.baselines(samples)["unigram"], rows)
    parts = found["by_frequency"]
    assert list(parts) == ["1-1", "2-3", f"4-{vocabulary.size}"]
    assert parts["1-1"]["tokens"] == (rows["targets"] == vocabulary.tokens.index("the")).sum()
    assert sum(part["tokens"] for part in parts.values()) == found["tokens"] == (rows["targets"] != IGNORE_INDEX).sum()
    total = sum(part["nll_per_token"] * part["tokens"] for part in parts.values())
    assert total == pytest.approx(found["nll_per_token"] * found["tokens"])
