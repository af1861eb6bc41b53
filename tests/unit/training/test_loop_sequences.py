"""Training on sequences: every target counts alike, and a stream's state is carried on, its gradient not."""

import pytest
import torch
from small_trainings import CPU

from unroll.features.special_tokens import IGNORE_INDEX
from unroll.models.generators import chosen_log_probabilities
from unroll.training.batches import Batches
from unroll.training.loop import train
from unroll.training.members import new_network, training_split

STANDING_STILL = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 1e-30, "epochs": 1, "keep": "last"}


@pytest.mark.parametrize("size", [1, 5, 16, 200])
@pytest.mark.parametrize("kind", ["translation", "tags", "strip_captions", "text_class", "recording_class"])
def test_the_reported_loss_is_the_mean_over_all_targets(job, kind, size):
    """However many of them a batch has, and however they are ordered and padded."""
    one = job(kind=kind, rows=25, validated=False, settings={**STANDING_STILL, "batch_size": size})
    found = one.run().history[0]["train_loss"]
    network, data = one.fresh().eval(), one.data
    with torch.no_grad():
        output, _ = network.output(data.inputs, data.lengths, data.targets)
        expected = float(one.task.loss(output, data.targets))
    assert found == pytest.approx(expected, rel=1e-5)


def stream(tiny, rows=13):
    """Windows of running text, the last one with padding, as in a split of any text."""
    task, samples = tiny.task("language_model"), tiny.samples("language_model")
    data = training_split(samples, task, samples.folds[0].train[-rows:], CPU)
    assert bool((data.targets[-1] == IGNORE_INDEX).any())
    return task, data


def trained(tiny, task, data, network, tmp_path, **settings):
    options = {"optimizer": "sgd", "momentum": 0.0, "keep": "last", "clip_norm": None, **settings}
    return train(
        network,
        task.loss,
        data,
        tiny.training(**options),
        seed=0,
        validate=None,
        better=task.metrics.is_better,
        on_epoch=lambda row, seconds: None,
        checkpoint=tmp_path / "checkpoint",
    )


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_windows_with_carried_state_are_the_whole_stream(tiny, tmp_path, cell):
    task, data = stream(tiny)
    network = new_network(task, tiny.model(cell, cell, embedding={"size": 5}), data, 0)
    with torch.no_grad():
        output, _ = network.eval().output(data.inputs.view(1, -1))
        expected = float(task.loss(output, data.targets.view(1, -1)))
    found = trained(tiny, task, data, network, tmp_path, learning_rate=1e-30, epochs=1, batch_size=1)
    assert found.history[0]["train_loss"] == pytest.approx(expected, rel=1e-5)
    # Windows that each begin without a state are told otherwise.
    with torch.no_grad():
        output, _ = network.output(data.inputs)
    assert float(task.loss(output, data.targets)) != pytest.approx(expected, rel=1e-4)


def test_readers_side_by_side_are_two_streams(tiny, tmp_path):
    task, data = stream(tiny, 12)
    network = new_network(task, tiny.model("gru", embedding={"size": 5}), data, 0)
    with torch.no_grad():
        output, _ = network.eval().output(data.inputs.view(2, -1))
        expected = float(task.loss(output, data.targets.view(2, -1)))
    found = trained(tiny, task, data, network, tmp_path, learning_rate=1e-30, epochs=1, batch_size=2)
    assert found.history[0]["train_loss"] == pytest.approx(expected, rel=1e-5)


def test_every_epoch_begins_without_a_state(tiny, tmp_path):
    task, data = stream(tiny)
    network = new_network(task, tiny.model("lstm", embedding={"size": 5}), data, 0)
    history = trained(tiny, task, data, network, tmp_path, learning_rate=1e-30, epochs=2, batch_size=3).history
    assert history[0]["train_loss"] == pytest.approx(history[1]["train_loss"], rel=1e-6)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_the_gradient_ends_where_a_window_begins(tiny, tmp_path, cell):
    """Two steps by hand: the second begins with the first one's state, as numbers alone."""
    task, data = stream(tiny, 2)
    model = tiny.model(cell, embedding={"size": 5}, tie_weights=True)
    network, by_hand = (new_network(task, model, data, 0) for _ in range(2))
    trained(tiny, task, data, network, tmp_path, learning_rate=0.5, epochs=1, batch_size=1)
    state = None
    for window in range(2):
        inputs, targets = data.inputs[window : window + 1], data.targets[window : window + 1]
        output, after = by_hand.output(inputs, state=state)
        by_hand.zero_grad()
        task.loss(output, targets).backward()
        with torch.no_grad():
            for parameter in by_hand.parameters():
                parameter -= 0.5 * parameter.grad
        state = [tuple(part.detach() for part in layer) for layer in after]
    for (name, one), other in zip(by_hand.state_dict().items(), network.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_windows_that_are_not_carried_begin_anew(tiny, tmp_path, cell):
    task, data = stream(tiny)
    data = Batches(data.inputs, data.targets)
    network = new_network(task, tiny.model(cell, embedding={"size": 5}), data, 0)
    with torch.no_grad():
        logs = chosen_log_probabilities(network.eval().output(data.inputs)[0], data.targets)
    expected = -float(logs.sum() / (data.targets != IGNORE_INDEX).sum())
    found = trained(tiny, task, data, network, tmp_path, learning_rate=1e-30, epochs=1, batch_size=1)
    assert found.history[0]["train_loss"] == pytest.approx(expected, rel=1e-5)


def test_bucketed_and_padded_batches_train_the_same(tiny, tmp_path):
    """A batch's own length is a way to compute, no more: with all rows in one batch, both ways are one step."""
    task, samples = tiny.task("translation"), tiny.samples("translation")
    data = training_split(samples, task, samples.folds[0].train[:20], CPU)
    wide = Batches(
        torch.nn.functional.pad(data.inputs, (0, 9)),
        torch.nn.functional.pad(data.targets, (0, 4), value=IGNORE_INDEX),
        data.lengths,
        data.target_lengths,
    )
    model = tiny.writer("gru", "lstm", attention=True)
    weights = [
        trained(
            tiny,
            task,
            one,
            new_network(task, model, data, 0),
            tmp_path / name,
            learning_rate=0.5,
            epochs=2,
            batch_size=20,
        ).weights
        for name, one in (("narrow", data), ("wide", wide))
    ]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=0, atol=1e-5, msg=name)
