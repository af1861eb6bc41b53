"""Running text: windows of one stream of tokens a split."""

import numpy as np
import pyarrow as pa
import pytest

from unroll.domains.articles.samples import make_samples
from unroll.errors import DataError, SplitError
from unroll.features.special_tokens import EOS, IGNORE_INDEX, PAD, UNK


@pytest.fixture
def make(tiny):
    def make(rows, **changes):
        table = pa.table(
            {
                "row_id": pa.array(np.arange(100, 100 + len(rows)), pa.int64()),
                "split": pa.array([part for part, _ in rows], pa.string()),
                "text": pa.array([line for _, line in rows], pa.string()),
            }
        )
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
