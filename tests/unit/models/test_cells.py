"""Recurrent layers and stacks against the textbook equations in numpy; single steps against whole layers."""

import numpy as np
import pytest
import torch
from small_networks import close, randomized

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
