"""One builder for every task and every model."""

from pathlib import Path

import pytest
import torch

from unroll import params
from unroll.errors import DataError, ParameterError
from unroll.tasks import task_of
from unroll.training.build import build_model
from unroll.training.members import load_ensemble, save_weights

KINDS = ["digits", "price", "price_steps", "log_return", "return_quantiles"]
MODELS = [((), False)]
MODELS += [(cells, both) for cells in (("rnn",), ("gru",), ("lstm",), ("rnn", "gru", "lstm")) for both in (False, True)]
SHAPES = {
    "digits": (5, 10),
    "price": (5,),
    "price_steps": (5, 8),
    "log_return": (5,),
    "return_quantiles": (5, 5),
}


def batch(task, section, count=5):
    """Random raw inputs and targets, as the task's samples are."""
    torch.manual_seed(0)
    if section.kind == "digits":
        return torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8), torch.randint(0, 10, (count,))
    window = task.details["prices"]["window"]
    inputs = torch.exp(torch.cumsum(torch.randn(count, window, task.inputs.shape[2]) * 0.02, dim=1) + 4)
    if section.kind == "return_quantiles":
        return inputs, torch.randn(count) * 0.02
    last = inputs if task.every_step else inputs[:, -1]
    return inputs, last[..., 0] * 1.01


@pytest.mark.parametrize(
    ("cells", "bidirectional"),
    MODELS,
    ids=lambda value: (
        "-".join(value or ["dense"]) if isinstance(value, tuple) else ("both-ways" if value else "one-way")
    ),
)
@pytest.mark.parametrize("kind", KINDS)
def test_every_task_with_every_model(tiny, kind, cells, bidirectional):
    section, task = tiny.section(kind), tiny.task(kind)
    model = tiny.model(*cells, **({"bidirectional": True} if bidirectional else {}))
    if kind == "price_steps" and (bidirectional or not cells):
        with pytest.raises(ParameterError, match="price_steps"):
            build_model(task, model)
        return
    inputs, targets = batch(task, section)
    network = build_model(task, model)
    network.units.fit(inputs, targets)
    found = network(inputs)
    assert found.shape == SHAPES[kind]
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    loss = task.loss(network.output(inputs), network.units.encode_target(targets, inputs))
    assert loss.shape == ()
    assert torch.isfinite(loss)
    loss.backward()


def test_options_reach_the_encoder(tiny):
    options = {"initialisation": "xavier", "forget_bias": 2.0, "layer_norm": True, "dropout": 0.25, "truncate": 3}
    network = build_model(tiny.task("digits"), tiny.model("lstm", "rnn", nonlinearity="relu", **options))
    encoder = network.encoder
    assert encoder.truncate == 3
    assert encoder.layers[0].rnn.bias_ih_l0.detach()[6] == 2.0
    assert encoder.layers[1].rnn.nonlinearity == "relu"
    assert isinstance(encoder.between[0][0], torch.nn.LayerNorm)
    assert encoder.between[0][1].p == network.dropout.p == 0.25
    assert build_model(tiny.task("digits"), tiny.model("gru", "gru", bidirectional=True)).encoder.output_size == 12


REPO = params.load_all(Path(__file__).parents[3] / "params.yaml")


@pytest.mark.parametrize("name", REPO.experiments)
def test_every_experiment_of_the_repository_builds_and_takes_a_step(name):
    experiment = REPO.experiments[name]
    section = REPO.tasks[experiment.task]
    task = task_of(experiment.task, section)
    network = build_model(task, experiment.model)
    inputs, targets = batch(task, section, 4)
    network.units.fit(inputs, targets)
    before = [value.detach().clone() for value in network.parameters()]
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    # A head that begins at zero lets gradients through from the second step on.
    for _ in range(2):
        optimiser.zero_grad()
        task.loss(network.output(inputs), network.units.encode_target(targets, inputs)).backward()
        optimiser.step()
    assert all(not torch.equal(value, old) for value, old in zip(network.parameters(), before, strict=True))
    assert torch.isfinite(network.eval()(inputs)).all()


def test_weights_of_other_parameters_are_named(tiny, tmp_path):
    task, folder = tiny.task("price"), tmp_path / "gru-1" / "weights"
    folder.mkdir(parents=True)
    with pytest.raises(DataError, match="unroll train gru-1"):
        load_ensemble(task, tiny.model("gru"), folder, "all", (0,))
    save_weights(folder / "all-seed0.safetensors", build_model(task, tiny.model("lstm")).state_dict())
    with pytest.raises(DataError, match="does not fit the parameters of gru-1"):
        load_ensemble(task, tiny.model("gru"), folder, "all", (0,))
