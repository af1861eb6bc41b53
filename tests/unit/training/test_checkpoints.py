"""A training that was broken off goes on, and ends as the unbroken one."""

import pytest
import torch
from small_trainings import CPU, SEQUENCES, WRITERS, BrokenOffError, same

from unroll.errors import TrainingError
from unroll.training.checkpoints import Progress, load_checkpoint, run_key, save_checkpoint
from unroll.training.loop import train
from unroll.training.members import new_network, pick_device, training_split, validate
from unroll.training.optimizers import make_optimizer


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
@pytest.mark.parametrize("stop_after", [1, 3, 4])
def test_resumed_training_is_the_unbroken_one(job, tiny, optimizer, stop_after):
    options = {
        "model": tiny.model("lstm", "gru", dropout=0.2, layer_norm=True),
        "settings": {"epochs": 5, "optimizer": optimizer, "schedule": "one_cycle", "weight_decay": 0.01},
    }
    unbroken = job(**options).run()
    broken = job(**options)
    with pytest.raises(BrokenOffError):
        broken.run(stop_after=stop_after)
    second = job(folder=broken.folder, **options)
    resumed = second.run()
    assert same(resumed.weights, unbroken.weights)
    assert resumed.history == unbroken.history
    assert [row["epoch"] for row in second.reported] == list(range(stop_after + 1, 6))
    # Times and throughput are of the whole training, not of its last process.
    assert resumed.samples == unbroken.samples == 5 * 64
    assert resumed.seconds > sum(second.seconds)


@pytest.mark.parametrize("kind", [*SEQUENCES, *WRITERS])
def test_resumed_training_of_every_family_is_the_unbroken_one(job, tiny, kind):
    options = {"kind": kind, "model": tiny.model_for(kind, "lstm", dropout=0.2), "rows": 40}
    options["settings"] = {"epochs": 3, "schedule": "one_cycle"}
    unbroken = job(**options).run()
    broken = job(**options)
    with pytest.raises(BrokenOffError):
        broken.run(stop_after=2)
    resumed = job(folder=broken.folder, **options).run()
    assert same(resumed.weights, unbroken.weights)
    assert resumed.history == unbroken.history


def test_sgd_without_momentum_resumes_too(job):
    options = {"settings": {"epochs": 3, "optimizer": "sgd", "momentum": 0.0}}
    unbroken, broken = job(**options).run(), job(**options)
    with pytest.raises(BrokenOffError):
        broken.run(stop_after=1)
    assert same(job(folder=broken.folder, **options).run().weights, unbroken.weights)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_broken_off_twice_and_waiting(job, keep):
    """Patience and the kept weights are part of the checkpoint."""
    scores = [0.9, 0.5, 0.7, 0.6, 0.8, 0.8, 0.8]
    options = {"settings": {"epochs": 7, "patience": 3, "keep": keep}, "scores": scores}
    unbroken = job(**options).run()
    assert len(unbroken.history) == 5
    broken = job(**options)
    with pytest.raises(BrokenOffError):
        broken.run(stop_after=2)
    options["scores"] = scores[2:]
    again = job(folder=broken.folder, **options)
    with pytest.raises(BrokenOffError):
        again.run(stop_after=4)
    options["scores"] = scores[4:]
    resumed = job(folder=broken.folder, **options).run()
    assert same(resumed.weights, unbroken.weights)
    assert resumed.history == unbroken.history


def test_a_finished_training_is_not_repeated(job):
    first = job()
    trained = first.run()
    second = job(folder=first.folder)
    again = second.run()
    assert same(again.weights, trained.weights)
    assert again.history == trained.history
    assert not second.reported
    assert (again.samples, again.seconds) == (trained.samples, trained.seconds)


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd", "rmsprop"])
def test_a_checkpoint_holds_all_of_an_optimizer(tiny, tmp_path, kind):
    torch.manual_seed(0)
    network = torch.nn.GRU(3, 4)
    optimizer = make_optimizer(network.parameters(), tiny.training(optimizer=kind))
    for _ in range(3):
        network(torch.randn(2, 5, 3))[0].square().sum().backward()
        optimizer.step()
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    progress = Progress(3, [{"epoch": 1, "train_loss": 0.1 + 0.2, "valid_loss": None}], weights, 2)
    save_checkpoint(tmp_path / "c", network, optimizer, progress)

    other = torch.nn.GRU(3, 4)
    fresh = make_optimizer(other.parameters(), tiny.training(optimizer=kind))
    found = load_checkpoint(tmp_path / "c", other, fresh)

    assert (found.epoch, found.history, found.best_epoch, found.finished) == (3, progress.history, 2, False)
    assert same(found.best, weights)
    assert same(other.state_dict(), weights)
    before, after = optimizer.state_dict()["state"], fresh.state_dict()["state"]
    assert before.keys() == after.keys()
    for position, entries in before.items():
        for name, value in entries.items():
            assert torch.equal(torch.as_tensor(after[position][name]), torch.as_tensor(value))


def test_no_checkpoint_is_no_progress(tiny, tmp_path):
    network = torch.nn.GRU(3, 4)
    assert load_checkpoint(tmp_path / "none", network, make_optimizer(network.parameters(), tiny.training())) is None


@pytest.mark.parametrize("damage", ["cut", "other network", "no checkpoint"])
def test_a_checkpoint_that_does_not_fit_is_a_clear_error(job, tiny, damage):
    first = job(settings={"epochs": 2})
    with pytest.raises(BrokenOffError):
        first.run(stop_after=1)
    path = first.folder / "checkpoint.safetensors"
    model = tiny.model("lstm") if damage == "other network" else None
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:200])
    elif damage == "no checkpoint":
        path.write_text("hello")
    with pytest.raises(TrainingError, match="checkpoint"):
        job(folder=first.folder, model=model, settings={"epochs": 2}).run()


def test_the_key_of_a_training_changes_with_all_that_decides_it(tmp_path):
    data, code = tmp_path / "samples", tmp_path / "code"
    data.write_bytes(b"1")
    code.mkdir()
    (code / "a.py").write_text("a = 1")
    keys = [run_key("x", [data], code), run_key("y", [data], code)]
    data.write_bytes(b"2")
    keys.append(run_key("x", [data], code))
    (code / "a.py").write_text("a = 2")
    keys.append(run_key("x", [data], code))
    assert len(set(keys)) == 4
    assert run_key("x", [data], code) == keys[-1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("autocast", ["none", "bf16"])
@pytest.mark.parametrize("kind", ["digits", *SEQUENCES, *WRITERS])
def test_training_on_cuda_goes_on_from_a_checkpoint(tiny, tmp_path, kind, autocast):
    task, samples = tiny.task(kind), tiny.samples(kind)
    fold, device = samples.folds[-1], pick_device("auto")
    assert device.type == "cuda"
    data, valid = (training_split(samples, task, index, device) for index in (fold.train, fold.valid))
    rows = samples.at(fold.valid)
    settings = tiny.training(epochs=4, autocast=autocast, device="cuda")

    def run(checkpoint, stop_after=None):
        def report(row, seconds):
            if row["epoch"] == stop_after:
                raise BrokenOffError

        return train(
            new_network(task, tiny.model_for(kind, "lstm"), data, 0),
            task.loss,
            data,
            settings,
            seed=0,
            validate=lambda network: validate(network, task, valid, rows),
            better=task.metrics.is_better,
            on_epoch=report,
            checkpoint=checkpoint,
        )

    unbroken = run(tmp_path / "a")
    with pytest.raises(BrokenOffError):
        run(tmp_path / "b", stop_after=2)
    resumed = run(tmp_path / "b")
    assert all(value.device == CPU for value in resumed.weights.values())
    for row, other in zip(resumed.history, unbroken.history, strict=True):
        assert row["train_loss"] == pytest.approx(other["train_loss"], rel=0.05)
