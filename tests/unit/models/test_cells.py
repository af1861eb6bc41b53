"""Recurrent layers and stacks against the textbook equations in numpy; initial weights, truncation, dropout."""

import math

import numpy as np
import pytest
import torch
from small_networks import CELLS, close, randomized

from unroll.models.encoders import DenseEncoder, RecurrentEncoder
from unroll.models.recurrent import RecurrentLayer

KINDS = [("rnn", "tanh"), ("rnn", "relu"), ("gru", "tanh"), ("lstm", "tanh")]


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def rnn(x, state, w_ih, w_hh, b_ih, b_hh, activation):
    (h,) = state
    return (activation(x @ w_ih.T + b_ih + h @ w_hh.T + b_hh),)


def lstm(x, state, w_ih, w_hh, b_ih, b_hh, _):
    h, c = state
    i, f, g, o = np.split(x @ w_ih.T + b_ih + h @ w_hh.T + b_hh, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru(x, state, w_ih, w_hh, b_ih, b_hh, _):
    (h,) = state
    from_input, from_hidden = np.split(x @ w_ih.T + b_ih, 3, axis=1), np.split(h @ w_hh.T + b_hh, 3, axis=1)
    r, z = (sigmoid(a + b) for a, b in zip(from_input[:2], from_hidden[:2], strict=True))
    n = np.tanh(from_input[2] + r * from_hidden[2])
    return ((1 - z) * n + z * h,)


STEPS = {"rnn": rnn, "lstm": lstm, "gru": gru}
ACTIVATIONS = {"tanh": np.tanh, "relu": lambda values: np.maximum(values, 0)}


def unroll(layer, inputs, lengths, initial=None):
    """One layer, sequence by sequence: outputs [batch, time, direction × unit] and final states."""
    batch, time, _ = inputs.shape
    outputs = np.zeros((batch, time, layer.directions * layer.units))
    finals = np.zeros((layer.states, layer.directions, batch, layer.units))
    for direction in range(layer.directions):
        suffix = "_reverse" if direction else ""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weights = [getattr(layer.rnn, f"{name}_l0{suffix}").detach().numpy() for name in names]
        columns = slice(direction * layer.units, (direction + 1) * layer.units)
        for row in range(batch):
            state = tuple(
                np.zeros((1, layer.units)) if initial is None else initial[part][direction, row : row + 1].numpy()
                for part in range(layer.states)
            )
            order = range(lengths[row])
            for step in reversed(order) if direction else order:
                state = STEPS[layer.cell](inputs[row, step][None], state, *weights, ACTIVATIONS[layer.nonlinearity])
                outputs[row, step, columns] = state[0][0]
            finals[:, direction, row] = [part[0] for part in state]
    return outputs, finals


def drawn(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


@pytest.mark.parametrize(("cell", "nonlinearity"), KINDS)
@pytest.mark.parametrize(
    ("bidirectional", "lengths", "given_state"),
    [(False, None, False), (False, [3, 7, 7], True), (True, None, True), (True, [7, 1, 4], False)],
)
def test_a_layer_follows_the_equations(cell, nonlinearity, bidirectional, lengths, given_state):
    layer = randomized(RecurrentLayer(cell, 3, 5, bidirectional=bidirectional, nonlinearity=nonlinearity)).double()
    inputs = drawn(3, 7, 3, dtype=torch.float64)
    initial = tuple(drawn(layer.directions, 3, 5, dtype=torch.float64) for _ in range(layer.states))
    initial = initial if given_state else None

    outputs, state = layer(inputs, None if lengths is None else torch.tensor(lengths), initial)

    expected, finals = unroll(layer, inputs.numpy(), lengths or [7, 7, 7], initial)
    np.testing.assert_allclose(outputs.detach(), expected, atol=1e-12)
    assert len(state) == layer.states
    for found, final in zip(state, finals, strict=True):
        np.testing.assert_allclose(found.detach(), final, atol=1e-12)


@pytest.mark.parametrize(
    ("cells", "bidirectional", "layer_norm"),
    [(["rnn", "gru", "lstm"], True, True), (["lstm", "lstm"], False, True), (["lstm", "gru", "rnn"], True, False)],
)
def test_a_stack_feeds_each_layer_with_the_one_below(cells, bidirectional, layer_norm):
    layers = [(cell, 3 + rank) for rank, cell in enumerate(cells)]
    encoder = randomized(RecurrentEncoder(3, layers, bidirectional=bidirectional, layer_norm=layer_norm)).double()
    inputs, lengths = drawn(4, 6, 3, dtype=torch.float64), [6, 2, 1, 5]

    outputs, states = encoder(inputs, torch.tensor(lengths))

    values = inputs.numpy()
    for rank, layer in enumerate(encoder.layers):
        if rank and layer_norm:
            norm = encoder.between[rank - 1][0]
            mean, variance = values.mean(-1, keepdims=True), values.var(-1, keepdims=True)
            scaled = (values - mean) / np.sqrt(variance + norm.eps)
            values = scaled * norm.weight.detach().numpy() + norm.bias.detach().numpy()
        values, finals = unroll(layer, values, lengths)
        for found, final in zip(states[rank], finals, strict=True):
            np.testing.assert_allclose(found.detach(), final, atol=1e-12)
    np.testing.assert_allclose(outputs.detach(), values, atol=1e-12)
    assert encoder.output_size == values.shape[-1]


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_steps_of_a_stack_are_the_stack_over_time(nonlinearity):
    layers = [("rnn", 5), ("gru", 5), ("lstm", 5)]
    encoder = randomized(RecurrentEncoder(3, layers, layer_norm=True, dropout=0.5, nonlinearity=nonlinearity))
    inputs = drawn(4, 6, 3)
    state = [tuple(torch.zeros(4, 5) for _ in range(count)) for count in encoder.states]
    with torch.no_grad():
        outputs, _ = encoder(inputs)
        for step in range(6):
            output, state = encoder.step(inputs[:, step], state)
            close(output, outputs[:, step])


@pytest.mark.parametrize(("units", "nonlinearity"), [((4,), "relu"), ((8, 8, 4), "tanh")])
def test_a_dense_encoder(units, nonlinearity):
    encoder = DenseEncoder(6, units, nonlinearity=nonlinearity, dropout=0.3).eval()
    inputs = drawn(5, 2, 3)
    values = inputs.reshape(5, 6)
    for layer in (module for module in encoder.modules() if isinstance(module, torch.nn.Linear)):
        values = getattr(torch, nonlinearity)(values @ layer.weight.T + layer.bias)
    torch.testing.assert_close(encoder(inputs), values)
    assert encoder.output_size == units[-1]


GATES = {"rnn": 1, "gru": 3, "lstm": 4}
STACKS = {"gru": ["gru"], "lstm": ["lstm"], "mixed": ["lstm", "rnn", "gru"]}
every_stack = pytest.mark.parametrize("cells", STACKS.values(), ids=STACKS)


def parameters(layer, start):
    return [value for name, value in layer.rnn.named_parameters() if name.startswith(start)]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", ["orthogonal", "xavier", "he"])
def test_rules_apply_to_the_matrix_of_all_gates(cell, name):
    """As in Keras: fan-out is gates × units, and the columns of the recurrent matrix are orthonormal."""
    inputs, units = 30, 50
    torch.manual_seed(0)
    layer = RecurrentEncoder(inputs, [(cell, units)], bidirectional=True, initialization=name).layers[0]

    def bound(fan_in):
        return math.sqrt(6 / fan_in) if name == "he" else math.sqrt(6 / (fan_in + GATES[cell] * units))

    for weight in parameters(layer, "weight_ih"):
        assert 0.95 * bound(inputs) < weight.abs().max() <= bound(inputs)
    for weight in parameters(layer, "weight_hh"):
        if name == "orthogonal":
            torch.testing.assert_close(weight.T @ weight, torch.eye(units), rtol=0, atol=1e-5)
        else:
            assert 0.95 * bound(units) < weight.abs().max() <= bound(units)


@pytest.mark.parametrize("name", ["orthogonal", "uniform"])
def test_the_forget_bias_is_set_once(name):
    encoder = RecurrentEncoder(3, [("lstm", 5)], bidirectional=True, initialization=name, forget_bias=2.5)
    for suffix in ("", "_reverse"):
        cell = encoder.layers[0].rnn
        both = getattr(cell, f"bias_ih_l0{suffix}") + getattr(cell, f"bias_hh_l0{suffix}")
        assert both[5:10].tolist() == [2.5] * 5
        assert bool(torch.cat([both[:5], both[10:]]).any()) is (name == "uniform")


def pair(cells, tbptt_steps):
    """Two encoders of the same weights, truncated and not."""
    torch.manual_seed(2)
    stack = [(cell, 5) for cell in cells]
    short, full = RecurrentEncoder(3, stack, tbptt_steps=tbptt_steps), RecurrentEncoder(3, stack)
    full.load_state_dict(short.state_dict())
    return short, full


@every_stack
@pytest.mark.parametrize(
    ("lengths", "tbptt_steps", "given_state"),
    [(None, 4, True), ([11, 1, 4, 5, 8], 1, False), ([11, 1, 4, 5, 8], 5, True), (None, 30, False)],
)
def test_truncation_changes_no_value(cells, lengths, tbptt_steps, given_state):
    short, full = pair(cells, tbptt_steps)
    inputs, lengths = torch.randn(5, 11, 3), None if lengths is None else torch.tensor(lengths)
    state = [tuple(torch.randn(1, 5, 5) for _ in range(count)) for count in full.states] if given_state else None
    outputs, states = short(inputs, lengths, state)
    expected, expected_states = full(inputs, lengths, state)
    close(outputs, expected)
    for found, wanted in zip(states, expected_states, strict=True):
        for one, other in zip(found, wanted, strict=True):
            close(one, other)


@every_stack
def test_no_gradient_crosses_a_boundary(cells):
    for encoder, crosses in zip(pair(cells, 4), (False, True), strict=True):
        inputs = torch.randn(3, 11, 3, requires_grad=True)
        _, states = encoder(inputs, torch.tensor([11, 6, 3]))
        states[-1][0].sum().backward()
        # In chunks of 4 steps, the last valid steps are in the third, second and first chunk.
        assert inputs.grad[0, 8:].abs().sum(-1).all()
        for row, first in enumerate((8, 4, 0)):
            assert bool(inputs.grad[row, :first].any()) is (crosses and first > 0)


def test_dropout_is_applied_between_layers_in_training():
    inputs = torch.randn(2, 5, 3)
    deep, shallow = (RecurrentEncoder(3, [("gru", 6)] * layers, dropout=0.5) for layers in (2, 1))
    assert not torch.equal(deep(inputs)[0], deep(inputs)[0])
    assert torch.equal(deep.eval()(inputs)[0], deep(inputs)[0])
    assert torch.equal(shallow(inputs)[0], shallow(inputs)[0])


def test_autocast_runs_lstm_layers_in_bfloat16_on_the_cpu():
    torch.manual_seed(0)
    encoder = RecurrentEncoder(3, [("lstm", 5), ("gru", 4)])
    inputs, lengths = torch.randn(2, 6, 3), torch.tensor([6, 4])
    expected, _ = encoder(inputs, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, states = encoder(inputs, lengths)
    assert {part.dtype for state in states for part in state} == {outputs.dtype} == {torch.float32}
    assert not torch.equal(outputs, expected)
    torch.testing.assert_close(outputs, expected, atol=0.02, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_autocast_keeps_recurrent_layers_in_float32_on_cuda():
    torch.manual_seed(0)
    encoder = RecurrentEncoder(3, [("lstm", 5), ("gru", 4)]).to("cuda")
    inputs, lengths = torch.randn(2, 6, 3, device="cuda").to(torch.bfloat16), torch.tensor([6, 4])
    expected, _ = encoder(inputs.float(), lengths)
    with torch.autocast("cuda", torch.bfloat16):
        outputs, states = encoder(inputs, lengths)
    assert {part.dtype for state in states for part in state} == {outputs.dtype} == {torch.float32}
    assert torch.equal(outputs, expected)
