"""The training loop: it learns, it repeats, it keeps the right weights, and it says when it cannot go on."""

import math

import pytest
import torch
from small_trainings import CELLS, CPU, FORECASTS, KINDS, WRITERS, same

from unroll.errors import TrainingError
from unroll.training.loop import train
from unroll.training.members import new_network, training_split

READS = ("text_class", "tags", "language_model", "translation")

# It learns


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", FORECASTS)
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


OVERFITTED = {
    "text_class": ("gru", {}, 12, 12),
    "recording_class": ("lstm", {"pooling": "max", "bidirectional": True}, 12, 12),
    "strip_columns": ("gru", {}, 3, 3),
    "tags": ("lstm", {"bidirectional": True}, 12, 12),
    # Four steps an epoch, the state carried from one to the next.
    "language_model": ("lstm", {"tie_weights": True}, 12, 3),
    "translation": ("gru", {"reverse_source": True}, 6, 6),
    "strip_captions": ("lstm", {}, 6, 6),
}


@pytest.mark.parametrize("kind", OVERFITTED)
def test_one_batch_of_sequences_can_be_overfitted(job, tiny, kind):
    cell, options, rows, size = OVERFITTED[kind]
    settings = {
        "epochs": 80 if kind in WRITERS else 50,
        "batch_size": size,
        "learning_rate": 0.03,
        "schedule": "one_cycle",
    }
    model = tiny.model_for(kind, cell, units=32, **{"embedding": {"size": 12}} if kind in READS else {}, **options)
    history = job(kind=kind, model=model, rows=rows, validated=False, settings=settings).run().history
    assert history[-1]["train_loss"] < 0.1 * history[0]["train_loss"]


@pytest.mark.parametrize("kind", KINDS)
def test_training_changes_every_parameter_of_every_task(job, tiny, kind):
    reads = {"embedding": {"size": 5}} if kind in READS else {}
    model = None if kind in WRITERS else tiny.model("rnn", "gru", "lstm", layer_norm=True, **reads)
    one = job(kind=kind, model=model, settings={"keep": "last"})
    trained = one.run()
    before = dict(one.fresh().named_parameters())
    assert not [name for name, value in before.items() if torch.equal(value, trained.weights[name])]


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "one_cycle"])
def test_every_optimizer_with_every_schedule_learns(job, optimizer, schedule):
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
        start = one.fresh().named_parameters()
        distance = sum(float((weights[key] - value.detach()).square().sum()) for key, value in start)
        moved[name] = math.sqrt(distance)
    assert free.reported[0]["gradient_norm"] == pytest.approx(clipped.reported[0]["gradient_norm"], rel=1e-5)
    assert moved["clipped"] == pytest.approx(0.001, rel=1e-2)
    assert moved["free"] == pytest.approx(free.reported[0]["gradient_norm"], rel=1e-2)


def test_a_step_without_clipping_is_the_gradients(job):
    """Of a batch that is the whole split: its order does not matter."""
    settings = {"epochs": 1, "batch_size": 64, "optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.1}
    one = job(kind="price", settings={**settings, "clip_norm": None, "keep": "last"})
    weights = one.run().weights
    fresh = one.fresh()
    target = fresh.preprocessing.encode_target(one.data.targets, one.data.inputs)
    one.task.loss(fresh.output(one.data.inputs)[0], target).backward()
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
    data = training_split(samples, one.tiny.task("price"), samples.folds[0].train[:32], CPU)
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


def test_a_validation_loss_that_is_not_finite(job):
    """The last step's own loss was still finite; what came of it is not, and must not be kept in silence."""
    settings = {"epochs": 1, "batch_size": 64, "optimizer": "sgd", "learning_rate": 3e38, "clip_norm": None}
    with pytest.raises(TrainingError, match="validation"):
        job(kind="price", settings=settings).run()
