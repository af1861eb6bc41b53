"""The training loop and its optimizers: it learns, repeats exactly, keeps the right weights, and reports failures."""

import math
from itertools import pairwise

import pytest
import torch
from small_trainings import CPU, fit, new_network, same

from unroll.errors import TrainingError
from unroll.features.special_tokens import IGNORE_INDEX
from unroll.training.batches import Batches, make_batches
from unroll.training.optimizers import learning_rate_factor, make_optimizer

OVERFITTED = {
    "digits": ("gru", {}, 12, 12),
    "price_steps": ("lstm", {}, 12, 12),
    "return_quantiles": ("gru", {}, 12, 12),
    "text_class": ("gru", {}, 12, 12),
    "recording_class": ("lstm", {"pooling": "max", "bidirectional": True}, 12, 12),
    "strip_columns": ("gru", {}, 3, 3),
    "tags": ("lstm", {"bidirectional": True}, 12, 12),
    # Four steps an epoch, with the state passed on from one to the next.
    "language_model": ("lstm", {"tie_weights": True}, 12, 3),
    "translation": ("gru", {"reverse_source": True}, 6, 6),
    "strip_captions": ("lstm", {}, 6, 6),
}
TOKENS = ("text_class", "tags", "language_model", "translation")


@pytest.mark.parametrize("kind", OVERFITTED)
def test_one_batch_of_every_task_can_be_overfitted(job, tiny, kind):
    cell, options, rows, size = OVERFITTED[kind]
    if kind in TOKENS:
        options = {**options, "embedding": {"size": 12}}
    settings = {"epochs": 80, "batch_size": size, "learning_rate": 0.03, "schedule": "one_cycle", "keep": "last"}
    one = job(
        kind=kind,
        model=tiny.model_for(kind, cell, units=32, **options),
        rows=rows,
        validated=False,
        settings=settings,
    )
    trained = one.run()
    # The gradient of a pinball loss does not shrink near its minimum.
    limit = 0.3 if kind == "return_quantiles" else 0.1
    assert trained.history[-1]["train_loss"] < limit * trained.history[0]["train_loss"]
    assert not [name for name, value in one.fresh().named_parameters() if torch.equal(value, trained.weights[name])]


def test_equal_seeds_give_equal_bits(job, tiny):
    model = tiny.model("lstm", "gru", dropout=0.3)
    one = job(model=model, seed=5).run()
    torch.randn(1000)
    again, other = job(model=model, seed=5).run(), job(model=model, seed=6).run()
    assert same(one.weights, again.weights)
    assert one.history == again.history
    assert not same(one.weights, other.weights)


# What is kept, and when training stops


@pytest.mark.parametrize(
    ("kind", "scores", "best"),
    [
        ("return_quantiles", [0.9, 0.5, 0.7, 0.6], 2),
        ("digits", [0.5, 0.9, 0.7], 2),  # accuracy: higher is better
        ("return_quantiles", [0.5, 0.5, 0.5], 1),
    ],
)
def test_the_first_best_weights_are_kept(job, kind, scores, best):
    kept = job(kind=kind, scores=scores, settings={"epochs": len(scores)}).run()
    expected = job(kind=kind, scores=scores, settings={"epochs": best, "keep": "last"}).run()
    assert same(kept.weights, expected.weights)
    assert [row["valid_metric"] for row in kept.history] == scores


def test_without_validation_the_last_weights_are_kept(job):
    one = job(validated=False, settings={"epochs": 3})
    trained = one.run()
    assert same(trained.weights, {name: value.detach() for name, value in one.network.state_dict().items()})
    assert trained.history == one.reported
    assert [(row["epoch"], row["valid_metric"]) for row in trained.history] == [(1, None), (2, None), (3, None)]
    assert trained.samples == 3 * 64


SGD = {"optimizer": "sgd", "momentum": 0.0, "keep": "last", "clip_norm": None}
STILL = {**SGD, "learning_rate": 1e-30}


def test_a_step_is_the_gradient_times_the_learning_rate(job):
    """Of a batch that is the whole split, whose order does not matter."""
    one = job(kind="price", settings={**SGD, "epochs": 1, "batch_size": 64, "learning_rate": 0.1})
    weights = one.run().weights
    fresh = one.fresh()
    target = fresh.preprocessing.encode_target(one.data.targets, one.data.inputs)
    one.task.loss(fresh.output(one.data.inputs)[0], target).backward()
    for name, value in fresh.named_parameters():
        torch.testing.assert_close(weights[name], (value - 0.1 * value.grad).detach(), rtol=0, atol=1e-6)


def test_clipping_bounds_the_step_but_not_the_reported_norm(job):
    settings = {**SGD, "epochs": 1, "batch_size": 64, "learning_rate": 1.0}
    free, clipped = (job(kind="price", settings={**settings, "clip_norm": clip}) for clip in (None, 0.001))
    moved = []
    for one in (free, clipped):
        weights = one.run().weights
        squares = [(weights[key] - value.detach()).square().sum() for key, value in one.fresh().named_parameters()]
        moved.append(math.sqrt(sum(squares)))
    norm = free.reported[0]["gradient_norm"]
    assert clipped.reported[0]["gradient_norm"] == pytest.approx(norm, rel=1e-5)
    assert moved == pytest.approx([norm, 0.001], rel=1e-2)


# Sequences: every target counts alike, and a stream's state is passed on without its gradient


@pytest.mark.parametrize(
    ("kind", "size"), [("translation", 5), ("tags", 16), ("strip_captions", 1), ("text_class", 200)]
)
def test_the_reported_loss_is_the_mean_over_all_targets(job, kind, size):
    settings = {**STILL, "epochs": 1, "batch_size": size}
    one = job(kind=kind, rows=25, validated=False, settings=settings)
    found = one.run().history[0]["train_loss"]
    with torch.no_grad():
        output, _ = one.fresh().eval().output(one.data.inputs, one.data.lengths, one.data.targets)
    assert found == pytest.approx(float(one.task.loss(output, one.data.targets)), rel=1e-5)


def stream(tiny, rows):
    """The last windows of a text, with padding at the end."""
    task, samples = tiny.task("language_model"), tiny.samples("language_model")
    data = make_batches(samples, task, samples.shipped.train[-rows:], CPU)
    assert bool((data.targets[-1] == IGNORE_INDEX).any())
    return task, data


@pytest.mark.parametrize(("cell", "readers"), [("rnn", 1), ("gru", 2), ("lstm", 3)])
def test_readers_with_passed_on_state_read_whole_streams(tiny, tmp_path, cell, readers):
    """In every epoch: none starts from the state of the one before."""
    task, data = stream(tiny, 12)
    network = new_network(task, tiny.model(cell, cell, embedding={"size": 5}), data)
    with torch.no_grad():
        output, _ = network.eval().output(data.inputs.view(readers, -1))
    expected = float(task.loss(output, data.targets.view(readers, -1)))
    history = fit(tiny, task, network, data, tmp_path / "a", **STILL, epochs=2, batch_size=readers).history
    assert [row["train_loss"] for row in history] == pytest.approx([expected] * 2, rel=1e-5)
    unconnected = Batches(data.inputs, data.targets)
    other = fit(tiny, task, network, unconnected, tmp_path / "b", **STILL, epochs=1, batch_size=readers).history
    assert other[0]["train_loss"] != pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_the_gradient_ends_where_a_window_begins(tiny, tmp_path, cell):
    """Two steps with a plain loop: the second starts from the first one's state, detached."""
    task, data = stream(tiny, 2)
    model = tiny.model(cell, embedding={"size": 5}, tie_weights=True)
    network, plain = (new_network(task, model, data) for _ in range(2))
    fit(tiny, task, network, data, tmp_path / "a", **{**SGD, "learning_rate": 0.5, "epochs": 1, "batch_size": 1})
    state = None
    for window in range(2):
        output, after = plain.output(data.inputs[window : window + 1], state=state)
        plain.zero_grad()
        task.loss(output, data.targets[window : window + 1]).backward()
        with torch.no_grad():
            for parameter in plain.parameters():
                parameter -= 0.5 * parameter.grad
        state = [tuple(part.detach() for part in layer) for layer in after]
    for (name, one), other in zip(plain.state_dict().items(), network.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6, msg=name)


# Failures


def test_a_loss_that_is_not_finite(job):
    one = job(kind="price", settings={**SGD, "learning_rate": 1e30, "epochs": 2})
    with pytest.raises(TrainingError) as caught:
        one.run()
    for part in ("epoch 1 at step", "of 4", "learning_rate below 1e+30", "gradient norm", "clip_norm", "orthogonal"):
        assert part in str(caught.value)


def test_a_validation_loss_that_is_not_finite(job):
    """The last step's own loss was still finite."""
    settings = {"epochs": 1, "batch_size": 64, "optimizer": "sgd", "learning_rate": 3e38, "clip_norm": None}
    with pytest.raises(TrainingError, match="validation"):
        job(kind="price", settings=settings).run()


POINTS = {
    "constant": {0.0: 1.0, 0.7: 1.0},
    "linear": {0.0: 1.0, 0.25: 0.75, 1.0: 0.0},
    "cosine": {0.0: 1.0, 0.25: 0.5 * (1 + math.sqrt(0.5)), 0.5: 0.5, 1.0: 0.0},
    "one_cycle": {0.0: 0.04, 0.15: 0.52, 0.3: 1.0, 0.65: 0.500005, 1.0: 1e-5},
}


@pytest.mark.parametrize("schedule", POINTS)
def test_schedules(schedule):
    for progress, factor in POINTS[schedule].items():
        assert learning_rate_factor(schedule, progress) == pytest.approx(factor, abs=1e-9)
    peak = 0.3 if schedule == "one_cycle" else 0.0
    factors = [(step / 100, learning_rate_factor(schedule, step / 100)) for step in range(101)]
    for (progress, before), (_, after) in pairwise(factors):
        assert after > before if progress < peak else after <= before


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adam", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
        ("sgd", torch.optim.SGD),
        ("rmsprop", torch.optim.RMSprop),
    ],
)
def test_settings_reach_the_optimizer(tiny, name, kind):
    settings = tiny.training(optimizer=name, learning_rate=0.025, weight_decay=0.125, momentum=0.75)
    optimizer = make_optimizer(torch.nn.Linear(2, 2).parameters(), settings)
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.025, 0.125)
    if name == "sgd":
        assert group["momentum"] == 0.75
