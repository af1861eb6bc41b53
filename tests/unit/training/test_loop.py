"""The training loop: it learns, it repeats, it goes on where it was broken off, and it says when it cannot."""

import math
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import torch

from unroll.errors import TrainingError
from unroll.training.checkpoints import Progress, load_checkpoint, run_key, save_checkpoint
from unroll.training.gradients import gradient_reach
from unroll.training.loop import Batches, train
from unroll.training.members import (
    EVALUATION_ROWS,
    Member,
    load_ensemble,
    members,
    new_network,
    pick_device,
    predict,
    save_weights,
    training_split,
    validate,
)
from unroll.training.optimisers import make_optimiser, rate_share

CPU = torch.device("cpu")
KINDS = ["digits", "price", "price_steps", "log_return", "return_quantiles"]
CELLS = ["rnn", "gru", "lstm"]


class BrokenOffError(Exception):
    """Stands for a process that is killed after an epoch."""


@dataclass
class Job:
    """A small training of a task, and what came of it."""

    tiny: object
    folder: object
    kind: str = "return_quantiles"
    model: object = None
    seed: int = 0
    rows: int = 64
    validated: bool = True
    settings: dict = field(default_factory=dict)
    reported: list = field(default_factory=list)
    scores: list | None = None

    def run(self, stop_after=None):
        task, samples = self.tiny.task(self.kind), self.tiny.samples(self.kind)
        fold = samples.folds[-1]
        data = training_split(samples, fold.train[: self.rows], CPU)
        valid = training_split(samples, fold.valid, CPU)
        rows = {name: tensor[fold.valid] for name, tensor in samples.tensors.items()}
        self.task, self.data = task, data
        self.network = new_network(task, self.model or self.tiny.model("gru"), data, self.seed)

        def report(row, seconds):
            self.reported.append(row)
            assert seconds >= 0
            if row["epoch"] == stop_after:
                raise BrokenOffError

        def judge(network):
            assert not network.training
            if self.scores is not None:
                return 0.0, self.scores[len(self.reported)]
            return validate(network, task, valid, rows)

        return train(
            self.network,
            task.loss,
            data,
            self.tiny.training(**self.settings),
            seed=self.seed,
            validate=judge if self.validated else None,
            better=task.better,
            on_epoch=report,
            checkpoint=self.folder / "checkpoint.safetensors",
        )


@pytest.fixture
def job(tiny, tmp_path):
    """Makes a training, each with a checkpoint of its own."""
    count = iter(range(99))

    def make(**options):
        folder = tmp_path / str(next(count))
        return Job(tiny, options.pop("folder", folder), **options)

    return make


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# It learns


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", KINDS)
def test_one_batch_can_be_overfitted(job, tiny, kind, cell):
    one = job(
        kind=kind,
        model=tiny.model(cell, units=24),
        rows=12,
        validated=False,
        settings={"epochs": 100, "batch_size": 12, "learning_rate": 0.03, "schedule": "cosine"},
    )
    history = one.run().history
    first, last = history[0]["train_loss"], history[-1]["train_loss"]
    # The pinball loss of a median alone can fall to nearly nothing, too, but slower: its gradient never shrinks.
    assert last < first * (0.3 if kind == "return_quantiles" else 0.05)


def test_one_batch_can_be_overfitted_without_recurrence(job, tiny):
    settings = {"epochs": 60, "batch_size": 12, "learning_rate": 0.01}
    one = job(kind="digits", model=tiny.model(), rows=12, validated=False, settings=settings)
    history = one.run().history
    assert history[-1]["train_loss"] < 0.05 * history[0]["train_loss"]


@pytest.mark.parametrize("kind", KINDS)
def test_training_changes_every_parameter_of_every_task(job, tiny, kind):
    one = job(kind=kind, model=tiny.model("rnn", "gru", "lstm", layer_norm=True), settings={"keep": "last"})
    trained = one.run()
    fresh = new_network(one.task, one.tiny.model("rnn", "gru", "lstm", layer_norm=True), one.data, 0)
    before = dict(fresh.named_parameters())
    assert not [name for name, value in before.items() if torch.equal(value, trained.weights[name])]


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "one_cycle"])
def test_every_optimiser_with_every_schedule_learns(job, optimizer, schedule):
    settings = {"optimizer": optimizer, "schedule": schedule, "epochs": 6, "learning_rate": 0.01, "weight_decay": 1e-4}
    history = job(kind="price", rows=128, settings=settings).run().history
    assert history[-1]["train_loss"] < history[0]["train_loss"]


# It repeats


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_equal_seeds_give_equal_bits(job, tiny, cell, dropout):
    model = tiny.model(cell, cell, dropout=dropout)
    one, other = (job(model=model, seed=5).run() for _ in range(2))
    assert same(one.weights, other.weights)
    assert one.history == other.history


@pytest.mark.parametrize("cell", CELLS)
def test_another_seed_gives_another_network(job, tiny, cell):
    one, other = (job(model=tiny.model(cell), seed=seed).run() for seed in (0, 1))
    assert not same(one.weights, other.weights)
    assert one.history != other.history


def test_a_training_does_not_depend_on_what_ran_before(job):
    one = job().run()
    torch.randn(1000)
    assert same(one.weights, job().run().weights)


# It goes on where it was broken off


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
    assert resumed.samples == (5 - stop_after) * 64


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
    assert again.samples == 0


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd", "rmsprop"])
def test_a_checkpoint_holds_all_of_an_optimiser(tiny, tmp_path, kind):
    torch.manual_seed(0)
    network = torch.nn.GRU(3, 4)
    optimiser = make_optimiser(network.parameters(), tiny.training(optimizer=kind))
    for _ in range(3):
        network(torch.randn(2, 5, 3))[0].square().sum().backward()
        optimiser.step()
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    progress = Progress(3, [{"epoch": 1, "train_loss": 0.1 + 0.2, "valid_loss": None}], weights, 2)
    save_checkpoint(tmp_path / "c", network, optimiser, progress)

    other = torch.nn.GRU(3, 4)
    fresh = make_optimiser(other.parameters(), tiny.training(optimizer=kind))
    found = load_checkpoint(tmp_path / "c", other, fresh)

    assert (found.epoch, found.history, found.best_epoch, found.finished) == (3, progress.history, 2, False)
    assert same(found.best, weights)
    assert same(other.state_dict(), weights)
    before, after = optimiser.state_dict()["state"], fresh.state_dict()["state"]
    assert before.keys() == after.keys()
    for position, entries in before.items():
        for name, value in entries.items():
            assert torch.equal(torch.as_tensor(after[position][name]), torch.as_tensor(value))


def test_no_checkpoint_is_no_progress(tiny, tmp_path):
    network = torch.nn.GRU(3, 4)
    assert load_checkpoint(tmp_path / "none", network, make_optimiser(network.parameters(), tiny.training())) is None


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


# What is kept, and when it stops


def test_the_best_weights_are_kept(job):
    scores = [0.9, 0.5, 0.7, 0.6]
    best = job(scores=scores, settings={"epochs": 4, "keep": "best"}).run()
    last = job(scores=scores, settings={"epochs": 4, "keep": "last"}).run()
    two = job(scores=scores, settings={"epochs": 2, "keep": "last"}).run()
    assert same(best.weights, two.weights)
    assert not same(best.weights, last.weights)
    assert [row["valid_metric"] for row in best.history] == scores


def test_higher_is_better_for_accuracy(job):
    options = {"kind": "digits", "scores": [0.5, 0.9, 0.7]}
    best = job(settings={"epochs": 3}, **options).run()
    two = job(settings={"epochs": 2, "keep": "last"}, **options).run()
    assert same(best.weights, two.weights)


def test_the_first_of_equal_epochs_is_kept(job):
    best = job(scores=[0.5, 0.5, 0.5], settings={"epochs": 3}).run()
    one = job(scores=[0.5], settings={"epochs": 1}).run()
    assert same(best.weights, one.weights)


@pytest.mark.parametrize(
    ("patience", "scores", "epochs"),
    [
        (1, [0.9, 0.8, 0.8, 0.1], 3),
        (2, [0.9, 0.8, 0.8, 0.7, 0.7, 0.7, 0.1], 6),
        (None, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], 8),
        (3, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], 4),
    ],
)
def test_patience(job, patience, scores, epochs):
    settings = {"epochs": 8} | ({"patience": patience} if patience else {})
    assert len(job(scores=scores, settings=settings).run().history) == epochs


def test_without_validation_the_last_weights_are_kept(job):
    one = job(validated=False, settings={"epochs": 3})
    trained = one.run()
    assert same(trained.weights, {name: value.detach() for name, value in one.network.state_dict().items()})
    assert [row["valid_metric"] for row in trained.history] == [None] * 3


def test_history_has_one_row_an_epoch(job):
    one = job(settings={"epochs": 3})
    trained = one.run()
    assert trained.history == one.reported
    assert [row["epoch"] for row in trained.history] == [1, 2, 3]
    for row in trained.history:
        assert row["train_loss"] > 0
        assert row["valid_loss"] > 0
        assert row["gradient_norm"] > 0
    assert trained.samples == 3 * 64


def test_clipping_bounds_the_step_and_not_the_reported_norm(job):
    settings = {"epochs": 1, "batch_size": 64, "optimizer": "sgd", "momentum": 0.0, "learning_rate": 1.0}
    settings |= {"keep": "last"}
    free, clipped = (job(kind="price", settings={**settings, "clip_norm": clip}) for clip in (None, 0.001))
    moved = {}
    for name, one in (("free", free), ("clipped", clipped)):
        weights = one.run().weights
        start = new_network(one.task, one.tiny.model("gru"), one.data, 0)
        distance = sum(float((weights[key] - value.detach()).square().sum()) for key, value in start.named_parameters())
        moved[name] = math.sqrt(distance)
    assert free.reported[0]["gradient_norm"] == pytest.approx(clipped.reported[0]["gradient_norm"], rel=1e-5)
    assert moved["clipped"] == pytest.approx(0.001, rel=1e-2)
    assert moved["free"] == pytest.approx(free.reported[0]["gradient_norm"], rel=1e-2)


def test_a_step_without_clipping_is_the_gradients(job):
    """Of a batch that is the whole split: its order does not matter."""
    settings = {"epochs": 1, "batch_size": 64, "optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.1}
    one = job(kind="price", settings={**settings, "clip_norm": None, "keep": "last"})
    weights = one.run().weights
    fresh = new_network(one.task, one.tiny.model("gru"), one.data, 0)
    target = fresh.units.encode_target(one.data.targets, one.data.inputs)
    one.task.loss(fresh.output(one.data.inputs), target).backward()
    for name, value in fresh.named_parameters():
        torch.testing.assert_close(weights[name], (value - 0.1 * value.grad).detach(), rtol=0, atol=1e-6)


# It says when it cannot


def test_a_loss_that_is_not_finite(job):
    one = job(kind="price", settings={"learning_rate": 1e30, "optimizer": "sgd", "clip_norm": None, "epochs": 2})
    with pytest.raises(TrainingError) as caught:
        one.run()
    text = str(caught.value)
    assert "epoch 1 at step" in text
    assert "of 4" in text
    assert "learning_rate below 1e+30" in text
    assert "gradient norm" in text
    assert "clip_norm" in text
    assert "orthogonal" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_inputs_that_are_not_finite(job, value):
    one = job(kind="price")
    samples = one.tiny.samples("price")
    data = training_split(samples, samples.folds[0].train[:32], CPU)
    network = new_network(one.tiny.task("price"), one.tiny.model("gru"), data, 0)
    data.inputs[20, 3] = value
    with pytest.raises(TrainingError, match="epoch 1 at step"):
        train(
            network,
            one.tiny.task("price").loss,
            data,
            one.tiny.training(),
            seed=0,
            validate=None,
            better=one.tiny.task("price").better,
            on_epoch=lambda row, seconds: None,
            checkpoint=one.folder / "c",
        )


@pytest.mark.parametrize("validated", [True, False])
def test_weights_that_burst_in_the_very_last_step(job, validated):
    """The loss of that step was still finite; what came of it is not, and must not be kept in silence."""
    settings = {"epochs": 1, "batch_size": 64, "optimizer": "sgd", "learning_rate": 3e38, "clip_norm": None}
    one = job(kind="price", validated=validated, settings=settings)
    with pytest.raises(TrainingError):
        one.run()


# Schedules


@pytest.mark.parametrize(
    ("schedule", "progress", "share"),
    [
        ("constant", 0.0, 1.0),
        ("constant", 0.7, 1.0),
        ("linear", 0.0, 1.0),
        ("linear", 0.25, 0.75),
        ("linear", 1.0, 0.0),
        ("cosine", 0.0, 1.0),
        ("cosine", 0.25, 0.5 * (1 + math.sqrt(0.5))),
        ("cosine", 0.5, 0.5),
        ("cosine", 1.0, 0.0),
        ("one_cycle", 0.0, 0.04),
        ("one_cycle", 0.15, 0.52),
        ("one_cycle", 0.3, 1.0),
        ("one_cycle", 0.65, 0.500005),
        ("one_cycle", 1.0, 1e-5),
    ],
)
def test_schedules_by_hand(schedule, progress, share):
    assert rate_share(schedule, progress) == pytest.approx(share, abs=1e-9)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_schedules_fall(schedule):
    shares = [rate_share(schedule, step / 50) for step in range(51)]
    assert all(after < before for before, after in pairwise(shares))


def test_one_cycle_rises_to_its_peak_and_falls():
    shares = [rate_share("one_cycle", step / 100) for step in range(101)]
    peak = shares.index(max(shares))
    assert peak == 30
    assert all(after > before for before, after in pairwise(shares[:31]))
    assert all(after < before for before, after in pairwise(shares[30:]))


def test_unknown_schedule():
    with pytest.raises(ValueError, match="'steps': use constant, linear, cosine or one_cycle"):
        rate_share("steps", 0.5)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adam", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
        ("sgd", torch.optim.SGD),
        ("rmsprop", torch.optim.RMSprop),
    ],
)
def test_settings_reach_the_optimiser(tiny, name, kind):
    settings = tiny.training(optimizer=name, learning_rate=0.025, weight_decay=0.125, momentum=0.75)
    optimiser = make_optimiser(torch.nn.Linear(2, 2).parameters(), settings)
    assert type(optimiser) is kind
    (group,) = optimiser.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.025, 0.125)
    if name == "sgd":
        assert group["momentum"] == 0.75


# Members


def test_members_are_every_fold_with_every_seed(tiny):
    found = members(tiny.samples("return_quantiles"), tiny.training(seeds=[3, 5]))
    assert found == [Member("2011", 3), Member("2011", 5), Member("2012", 3), Member("2012", 5)]
    assert len({one.file for one in found}) == 4


def test_weights_make_the_round_trip_with_the_units(tiny, tmp_path):
    task, samples = tiny.task("log_return"), tiny.samples("log_return")
    data = training_split(samples, samples.folds[0].train, CPU)
    model = tiny.model("gru", "lstm")
    networks = [new_network(task, model, data, seed) for seed in (0, 1)]
    for seed, network in enumerate(networks):
        torch.nn.init.normal_(network.head.weight)
        save_weights(tmp_path / Member("all", seed).file, network.state_dict())
    both = load_ensemble(task, model, tmp_path, "all", (0, 1))
    expected = sum(predict(network, data.inputs) for network in networks) / 2
    assert predict(both, data.inputs) == pytest.approx(expected, rel=1e-5)
    assert not both.training


def test_units_are_fitted_on_the_training_split_alone(tiny):
    task, samples = tiny.task("price"), tiny.samples("price")
    fold = samples.folds[0]
    network = new_network(task, tiny.model("gru"), training_split(samples, fold.train, CPU), 0)
    seen = samples.tensors["inputs"][fold.train]
    assert float(network.units.low) == float(seen.min())
    assert float(network.units.low + network.units.span) == pytest.approx(float(seen.max()))


@pytest.mark.parametrize("kind", KINDS)
def test_validation_is_loss_and_headline(tiny, kind):
    task, samples = tiny.task(kind), tiny.samples(kind)
    fold = samples.folds[-1]
    data = training_split(samples, fold.train, CPU)
    network = new_network(task, tiny.model("gru"), data, 0)
    valid = training_split(samples, fold.valid, CPU)
    rows = {name: tensor[fold.valid] for name, tensor in samples.tensors.items()}
    network.eval()
    loss, metric = validate(network, task, valid, rows)
    with torch.no_grad():
        output = network.output(valid.inputs)
        expected = float(task.loss(output, network.units.encode_target(valid.targets, valid.inputs)))
    assert loss == pytest.approx(expected, rel=1e-5)
    found = task.metrics(predict(network, valid.inputs), rows)[task.headline]
    assert metric == pytest.approx(found, rel=1e-6)


def test_prediction_in_several_batches(tiny):
    task = tiny.task("price")
    network = new_network(task, tiny.model("gru"), Batches(torch.rand(4, 8, 1), torch.rand(4)), 0)
    inputs = torch.rand(2 * EVALUATION_ROWS + 3, 8, 1)
    with torch.no_grad():
        expected = network.eval()(inputs).numpy()
    assert predict(network, inputs) == pytest.approx(expected, abs=1e-6)


def test_devices():
    from unroll.errors import ParameterError

    assert pick_device("cpu") == CPU
    if not torch.cuda.is_available():
        assert pick_device("auto") == CPU
        with pytest.raises(ParameterError, match=r"training\.device is cuda.*auto or cpu"):
            pick_device("cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("autocast", ["none", "bf16"])
def test_training_on_cuda_goes_on_from_a_checkpoint(tiny, tmp_path, autocast):
    task, samples = tiny.task("digits"), tiny.samples("digits")
    fold, device = samples.folds[0], pick_device("auto")
    assert device.type == "cuda"
    data, valid = (training_split(samples, index, device) for index in (fold.train, fold.valid))
    rows = {name: tensor[fold.valid] for name, tensor in samples.tensors.items()}
    settings = tiny.training(epochs=4, autocast=autocast, device="cuda")

    def run(checkpoint, stop_after=None):
        def report(row, seconds):
            if row["epoch"] == stop_after:
                raise BrokenOffError

        return train(
            new_network(task, tiny.model("lstm", "gru"), data, 0),
            task.loss,
            data,
            settings,
            seed=0,
            validate=lambda network: validate(network, task, valid, rows),
            better=task.better,
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


# Gradients' reach


def test_gradient_reach_by_hand():
    """h_t = w·h_{t−1} + x_t without a nonlinearity's bend (relu, all positive): ∂h_T/∂x_t = w^(T−t)."""
    from unroll.models.heads import LinearHead
    from unroll.models.network import SequenceNetwork
    from unroll.models.recurrent import RecurrentEncoder
    from unroll.models.units import PriceLevels
    from unroll.tasks.task import Task

    encoder = RecurrentEncoder(1, [("rnn", 1)], nonlinearity="relu")
    network = SequenceNetwork(PriceLevels(1, 0), encoder, LinearHead(1, 1))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.fill_(0.0 if "bias" in name else 0.5 if "weight_hh" in name else 1.0)
    task = Task.__new__(Task)
    object.__setattr__(task, "loss", lambda output, target: output.mean())
    data = Batches(torch.rand(6, 5, 1), torch.zeros(6))
    assert gradient_reach(network, task, data) == pytest.approx([0.5**4, 0.5**3, 0.5**2, 0.5, 1.0])


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_reach_has_a_number_a_step(tiny, kind):
    task, samples = tiny.task(kind), tiny.samples(kind)
    data = training_split(samples, samples.folds[0].train[:16], CPU)
    network = new_network(task, tiny.model("gru"), data, 0)
    torch.nn.init.normal_(next(network.head.parameters()))
    found = gradient_reach(network, task, data)
    assert len(found) == task.steps
    assert all(norm > 0 for norm in found)
