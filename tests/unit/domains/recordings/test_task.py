"""Figures and baselines of recordings."""

import numpy as np
import pytest

from unroll.domains.recordings import task as recordings
from unroll.domains.recordings.config import RecordingTask
from unroll.domains.task import make_task
from unroll.evaluation.evaluation import evaluate
from unroll.features.samples import Fold, Samples

ROWS = {
    "targets": np.array([0, 1, 0, 1, 1, 0, 1]),
    "voice": np.array([1, 1, 2, 2, 2, 1, 2]),
    "held_out": np.array([1, 1, 1, 1, 1, 0, 0]),
}
LABELS = np.array([0, 0, 0, 1, 1, 0, 0])


def made():
    """Two voices that say two classes; a class is told by the mean of its frames, a voice by their spread."""
    rng = np.random.default_rng(0)
    count = 40
    targets, voice = np.arange(count) % 2, np.arange(count) // 2 % 2 + 1
    lengths = rng.integers(3, 9, count)
    inputs = rng.normal(0, 0.1, (count, 9, 3)).astype(np.float32) * voice[:, None, None]
    inputs[:, :, 0] += targets[:, None]
    inputs[np.arange(9) >= lengths[:, None]] = 0
    one = {"inputs": inputs, "lengths": lengths, "targets": targets, "voice": voice}
    tensors = {name: np.concatenate([tensor, tensor]) for name, tensor in one.items()}
    tensors["held_out"] = np.repeat([1, 0], count)
    places = np.arange(count)
    folds = [
        Fold(f"voice-{test}", places[voice != test][:-3], places[voice != test][-3:], places[voice == test])
        for test in (1, 2)
    ]
    folds.append(Fold("voices-mixed", count + places[:28], count + places[28:32], count + places[32:]))
    return Samples(tensors, tuple(folds))


def the_task(samples, **changes):
    return make_task(
        "spoken", RecordingTask(domain="recordings", kind="classification", dataset="spoken", **changes), samples
    )


def test_accuracy_is_the_mean_over_held_out_voices():
    found = recordings.metrics(LABELS, ROWS, 2)
    # Voice 1: one of two; voice 2: three of three.
    assert found["by_voice"] == {"voice-1": 0.5, "voice-2": 1.0}
    assert found["accuracy"] == 0.75
    assert found["rows"] == 5
    assert found["accuracy_random_split"] == 0.5
    assert found["rows_random_split"] == 2
    # Of the held-out rows: class 0 has TP 2, FP 1, class 1 TP 2, FN 1.
    assert found["macro_f1"] == pytest.approx((4 / 5 + 4 / 5) / 2)


def test_probabilities_count_as_their_labels():
    probabilities = np.where(np.arange(2) == LABELS[:, None], 0.9, 0.1).astype(np.float32)
    assert recordings.metrics(probabilities, ROWS, 2) == recordings.metrics(LABELS, ROWS, 2)
    assert recordings.per_sample_loss(probabilities, ROWS).tolist() == recordings.per_sample_loss(LABELS, ROWS).tolist()


def test_rows_of_the_random_split_are_nobodys_errors():
    assert recordings.per_sample_loss(LABELS, ROWS).tolist() == [0, 1, 0, 0, 0, 0, 0]


def test_where_no_voice_is_held_out_the_random_split_is_all_there_is():
    mixed = {name: tensor[5:] for name, tensor in ROWS.items()}
    found = recordings.metrics(LABELS[5:], mixed, 2)
    assert found["accuracy"] == found["accuracy_random_split"] == 0.5
    assert "by_voice" not in found
    heard = {name: tensor[:5] for name, tensor in ROWS.items()}
    assert "accuracy_random_split" not in recordings.metrics(LABELS[:5], heard, 2)


def test_frame_statistics_leave_padding_out():
    inputs = np.array([[[1.0, 4.0], [3.0, 4.0], [99.0, 99.0]], [[5.0, 0.0], [5.0, 6.0], [5.0, 0.0]]], np.float32)
    found = recordings.frame_statistics(inputs, np.array([2, 3]))
    assert found[0].tolist() == [2, 4, 1, 0]
    assert found[1] == pytest.approx([5, 2, 0, np.sqrt(8)])


def test_baselines():
    samples = made()
    task, rows = the_task(samples), made().test_rows()
    found = evaluate(task.metrics, rows["targets"], task.metrics.baselines(samples), rows)
    assert found["test"]["accuracy"] == found["test"]["accuracy_random_split"] == 1
    assert found["baseline"]["frame_statistics"]["accuracy"] >= 0.9
    assert found["baseline"]["majority"]["accuracy"] == 0.5
    assert found["against"]["majority"]["skill"] == 1


def test_each_fold_has_a_baseline_of_its_own():
    samples = made()
    targets = samples.tensors["targets"].copy()
    # Another voice's labels say nothing about a fold that does not train on them.
    targets[:40][samples.tensors["voice"][:40] == 1] = 0
    found = recordings.baselines(Samples({**samples.tensors, "targets": targets}, samples.folds), 2)
    before = recordings.baselines(samples, 2)
    first = len(samples.folds[0].test)
    np.testing.assert_array_equal(found["frame_statistics"][:first], before["frame_statistics"][:first])
    assert (found["frame_statistics"][first : 2 * first].argmax(1) == 0).all()


@pytest.mark.parametrize(("deltas", "features"), [(True, 6), (False, 3)])
def test_the_task(deltas, features):
    task = the_task(made(), deltas=deltas, normalize=False)
    assert (task.topology, task.output, task.reader) == ("many_to_one", "label", "arrays")
    assert task.variable_length
    assert task.features == features
    assert task.inputs.shape == ("batch", "time", 3)
    units = task.make_preprocessing()
    assert (units.deltas, units.normalize) == (deltas, False)
    assert task.outputs[1].shape == ("batch", 2)
    assert task.details == {"labels": ["0", "1"], "array": {"column": "frames", "variable_length": True}}


def test_plots_come_out_alike(tmp_path):
    samples = made()
    task, rows = the_task(samples), samples.test_rows()
    others = task.metrics.baselines(samples)
    prediction = 1 - others["frame_statistics"]
    evaluation = evaluate(task.metrics, prediction, others, rows)
    for name in ("one", "two"):
        task.plot(tmp_path / name, "spoken-gru", prediction, rows, evaluation)
    for name in ("voices.png", "confusion.png", "mistakes.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
