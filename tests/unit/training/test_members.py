"""The networks of an experiment, and how far their gradients reach."""

import pytest
import torch
from small_trainings import CPU, KINDS

from unroll.training.gradients import gradient_reach
from unroll.training.loop import Batches
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
