"""An interrupted training resumes, and ends as the uninterrupted one."""

import pytest
import torch
from small_trainings import CPU, InterruptedTrainingError, new_network, same

from unroll.errors import TrainingError
from unroll.training.batches import make_batches, pick_device
from unroll.training.checkpoints import checkpoint_key
from unroll.training.loop import train
from unroll.training.prediction import validate

KINDS = ["text_class", "recording_class", "tags", "language_model", "translation", "strip_captions"]


def resumed(job, *stops, **options):
    """The result of a training that is interrupted after the epochs `stops`, and its last process."""
    part = job(**options)
    for stop in stops:
        with pytest.raises(InterruptedTrainingError):
            part.run(stop_after=stop)
        part = job(folder=part.folder, **options)
    return part.run(), part


@pytest.mark.parametrize(
    ("optimizer", "stop"), [("adam", 1), ("adamw", 3), ("sgd", 4), ("rmsprop", 3)], ids=lambda value: str(value)
)
def test_a_resumed_training_equals_the_uninterrupted_one(job, tiny, optimizer, stop):
    options = {
        "model": tiny.model("lstm", "gru", dropout=0.2, layer_norm=True),
        "settings": {"epochs": 5, "optimizer": optimizer, "schedule": "one_cycle", "weight_decay": 0.01},
    }
    expected = job(**options).run()
    found, last = resumed(job, stop, **options)
    assert same(found.weights, expected.weights)
    assert found.history == expected.history
    assert [row["epoch"] for row in last.reported] == list(range(stop + 1, 6))
    # Times and throughput are of the whole training, not of its last process.
    assert found.samples == expected.samples == 5 * 64
    assert found.seconds > sum(last.seconds)


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_resumes(job, tiny, kind):
    options = {"kind": kind, "model": tiny.model_for(kind, "lstm", dropout=0.2), "rows": 40}
    options["settings"] = {"epochs": 3, "schedule": "one_cycle"}
    expected, (found, _) = job(**options).run(), resumed(job, 2, **options)
    assert same(found.weights, expected.weights)
    assert found.history == expected.history


@pytest.mark.parametrize("keep", ["best", "last"])
def test_patience_and_kept_weights_survive_two_interruptions(job, keep):
    scores = [0.9, 0.5, 0.7, 0.6, 0.8, 0.8, 0.8]
    options = {"settings": {"epochs": 7, "patience": 3, "keep": keep}}
    expected = job(**options, scores=scores).run()
    part = job(**options, scores=scores)
    for stop in (2, 4):
        with pytest.raises(InterruptedTrainingError):
            part.run(stop_after=stop)
        part = job(**options, folder=part.folder, scores=scores[stop:])
    found = part.run()
    assert len(found.history) == 5
    assert same(found.weights, expected.weights)
    assert found.history == expected.history


def test_a_finished_training_is_not_repeated(job):
    first = job()
    trained = first.run()
    second = job(folder=first.folder)
    again = second.run()
    assert same(again.weights, trained.weights)
    assert (again.history, again.samples, again.seconds) == (trained.history, trained.samples, trained.seconds)
    assert not second.reported


@pytest.mark.parametrize("damage", ["truncated", "other network", "text"])
def test_a_checkpoint_that_does_not_fit(job, tiny, damage):
    first = job(settings={"epochs": 2})
    with pytest.raises(InterruptedTrainingError):
        first.run(stop_after=1)
    path = first.folder / "checkpoint.safetensors"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:200])
    elif damage == "text":
        path.write_text("hello")
    model = tiny.model("lstm") if damage == "other network" else None
    with pytest.raises(TrainingError, match=str(path)):
        job(folder=first.folder, model=model, settings={"epochs": 2}).run()


def test_the_key_changes_with_all_that_determines_a_training(tmp_path):
    data, code = tmp_path / "samples", tmp_path / "a.py"
    data.write_bytes(b"1")
    code.write_text("a = 1")
    keys = [checkpoint_key("x", [data, code]), checkpoint_key("y", [data, code])]
    for path in (data, code):
        path.write_text("2")
        keys.append(checkpoint_key("x", [data, code]))
    assert len(set(keys)) == 4
    assert checkpoint_key("x", [data, code]) == keys[-1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize(("kind", "autocast"), [("digits", "none"), *((kind, "bf16") for kind in KINDS)])
def test_training_on_cuda_resumes(tiny, tmp_path, kind, autocast):
    task, samples = tiny.task(kind), tiny.samples(kind)
    fold, device = samples.shipped, pick_device("auto")
    data, valid = (make_batches(samples, task, index, device) for index in (fold.train, fold.valid))
    rows = samples.at(fold.valid)

    def run(checkpoint, stop_after=None):
        def report(row, seconds):
            if row["epoch"] == stop_after:
                raise InterruptedTrainingError

        return train(
            new_network(task, tiny.model_for(kind, "lstm"), data).to(device),
            task.loss,
            data,
            tiny.training(epochs=4, autocast=autocast, device="cuda"),
            seed=0,
            validate=lambda network: validate(network, task, valid, rows),
            is_better=task.metrics.is_better,
            on_step=lambda *_: None,
            on_epoch=report,
            checkpoint=checkpoint,
        )

    expected = run(tmp_path / "a")
    with pytest.raises(InterruptedTrainingError):
        run(tmp_path / "b", stop_after=2)
    found = run(tmp_path / "b")
    assert all(value.device == CPU for value in found.weights.values())
    for row, other in zip(found.history, expected.history, strict=True):
        assert row["train_loss"] == pytest.approx(other["train_loss"], rel=0.05)
