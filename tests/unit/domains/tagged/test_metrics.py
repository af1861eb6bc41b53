"""Metrics and baseline of tagged sentences, computed by hand."""

import numpy as np
import pytest

from unroll.domains.tagged.metrics import baselines, per_sample_loss, score
from unroll.features.samples import Fold, Samples
from unroll.features.special_tokens import IGNORE_INDEX, UNK

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def test_score_by_hand():
    targets = np.array([[1, 2, 0, 3, IGNORE_INDEX], [1, 0, 3, 4, 0]])
    labels = np.array([[1, 2, 0, 0, 4], [1, 2, 3, 4, 0]])
    found = score(labels, {"targets": targets}, TAGS)
    # True: PER LOC, PER LOC. Found: PER, PER (too long), LOC. Two are right.
    assert found["entity_precision"] == pytest.approx(2 / 3)
    assert found["entity_recall"] == pytest.approx(2 / 4)
    assert found["entity_f1"] == pytest.approx(4 / 7)
    assert found["token_accuracy"] == pytest.approx(7 / 9)
    assert found["by_type"] == {
        "LOC": {"entity_f1": pytest.approx(2 / 3), "entities": 2},
        "PER": {"entity_f1": pytest.approx(1 / 2), "entities": 2},
    }
    assert per_sample_loss(labels, {"targets": targets}) == pytest.approx([1 / 4, 1 / 5])
    assert score(np.eye(5, dtype=np.float32)[labels], {"targets": targets}, TAGS) == found


def test_score_without_entities():
    nothing = np.zeros((1, 3), np.int64)
    missed = score(nothing, {"targets": np.array([[1, 2, 0]])}, TAGS)
    assert (missed["entity_f1"], missed["token_accuracy"]) == (0, pytest.approx(1 / 3))
    empty = score(nothing, {"targets": nothing}, TAGS)
    assert (empty["entity_f1"], empty["entities"], empty["token_accuracy"], empty["by_type"]) == (0, 0, 1, {})


@pytest.mark.parametrize("characters", [0, 2])
def test_the_baseline_is_the_most_frequent_tag_of_each_token(characters):
    anna, lives, york, new = 6, 7, 8, 9
    tokens = np.array([[anna, lives, york, new], [anna, lives, new, york], [anna, lives, UNK, 0]])
    targets = np.array([[1, 0, 3, 0], [1, 0, 3, 4], [1, 0, 3, IGNORE_INDEX]])
    inputs = np.zeros((*tokens.shape, 1 + characters), np.int64)
    inputs[:, :, 0] = tokens
    fold = Fold("all", np.array([0, 1]), np.array([1]), np.array([2]))
    found = baselines(Samples({"inputs": inputs, "targets": targets}, (fold,)))["most_frequent_tag"]
    # An unknown token gets the most frequent tag of all.
    assert found.tolist() == [[1, 0, 0, 0]]
