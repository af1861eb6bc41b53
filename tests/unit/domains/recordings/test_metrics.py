"""Metrics and baselines of recordings, computed by hand."""

import numpy as np
import pytest

from unroll.domains.recordings.metrics import baselines, frame_statistics, per_sample_loss, score
from unroll.features.samples import Fold, Samples

ROWS = {
    "targets": np.array([0, 1, 0, 1, 1, 0, 1]),
    "voice": np.array([1, 1, 2, 2, 2, 1, 2]),
    "held_out": np.array([1, 1, 1, 1, 1, 0, 0]),
}
LABELS = np.array([0, 0, 0, 1, 1, 0, 0])


def test_accuracy_is_the_mean_over_held_out_voices():
    found = score(LABELS, ROWS, 2)
    # Voice 1: one of two; voice 2: three of three.
    assert found["by_voice"] == {"voice-1": 0.5, "voice-2": 1.0}
    assert (found["accuracy"], found["rows"]) == (0.75, 5)
    assert (found["accuracy_random_split"], found["rows_random_split"]) == (0.5, 2)
    # Of the held-out rows: class 0 has TP 2, FP 1, class 1 TP 2, FN 1.
    assert found["macro_f1"] == pytest.approx((4 / 5 + 4 / 5) / 2)
    probabilities = np.where(np.arange(2) == LABELS[:, None], 0.9, 0.1).astype(np.float32)
    assert score(probabilities, ROWS, 2) == found
    # Rows of the random split are not compared.
    assert per_sample_loss(LABELS, ROWS).tolist() == [0, 1, 0, 0, 0, 0, 0]


def test_without_held_out_voices_the_random_split_gives_the_headline():
    found = score(LABELS[5:], {name: tensor[5:] for name, tensor in ROWS.items()}, 2)
    assert found["accuracy"] == found["accuracy_random_split"] == 0.5
    assert "by_voice" not in found
    unheard = score(LABELS[:5], {name: tensor[:5] for name, tensor in ROWS.items()}, 2)
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
