"""Our layers against the equations of the textbooks, written out in numpy."""

import numpy as np
import pytest
import torch

from unroll.models.recurrent import RecurrentEncoder, RecurrentLayer


def _sigmoid(values):
    return 1 / (1 + np.exp(-values))


def rnn(x, state, w_ih, w_hh, b_ih, b_hh, activation):
    (h,) = state
    return (activation(x @ w_ih.T + b_ih + h @ w_hh.T + b_hh),)


def lstm(x, state, w_ih, w_hh, b_ih, b_hh, _):
    h, c = state
    gates = x @ w_ih.T + b_ih + h @ w_hh.T + b_hh
    i, f, g, o = np.split(gates, 4, axis=1)
    c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
    return _sigmoid(o) * np.tanh(c), c


def gru(x, state, w_ih, w_hh, b_ih, b_hh, _):
    (h,) = state
    from_input = np.split(x @ w_ih.T + b_ih, 3, axis=1)
    from_state = np.split(h @ w_hh.T + b_hh, 3, axis=1)
    r, z = (_sigmoid(a + b) for a, b in zip(from_input[:2], from_state[:2], strict=True))
    n = np.tanh(from_input[2] + r * from_state[2])
    return ((1 - z) * n + z * h,)


STEPS = {"rnn": rnn, "lstm": lstm, "gru": gru}
ACTIVATIONS = {"tanh": np.tanh, "relu": lambda values: np.maximum(values, 0)}


def unroll(layer, inputs, lengths, start=None):
    """One layer by hand, sequence by sequence: outputs [batch, time, direction × unit] and the states at the ends."""
    batch, time, _ = inputs.shape
    parts = 2 if layer.cell == "lstm" else 1
    outputs = np.zeros((batch, time, layer.directions * layer.units))
    ends = np.zeros((parts, layer.directions, batch, layer.units))
    for direction in range(layer.directions):
        suffix = "_reverse" if direction else ""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weights = [getattr(layer.rnn, f"{name}_l0{suffix}").detach().numpy() for name in names]
        columns = slice(direction * layer.units, (direction + 1) * layer.units)
        for row in range(batch):
            state = tuple(
                np.zeros((1, layer.units)) if start is None else start[part][direction, row : row + 1].numpy()
                for part in range(parts)
            )
            order = range(lengths[row])
            for step in reversed(order) if direction else order:
                x = inputs[row, step][None]
                state = STEPS[layer.cell](x, state, *weights, ACTIVATIONS[layer.nonlinearity])
                outputs[row, step, columns] = state[0][0]
            for part in range(parts):
                ends[part, direction, row] = state[part][0]
    return outputs, ends


def randomised(layer):
    """Biases begin at zero; a forgotten or doubled one would not be seen."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0, 0.6)
    return layer.double().eval()


def test_the_classic_example():
    """Two time steps, three inputs, five tanh neurons, four instances: Y1 = tanh(X1·Wx + Y0·Wy + b)."""
    x0 = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 0, 1]], float)
    x1 = np.array([[9, 8, 7], [0, 0, 0], [6, 5, 4], [3, 2, 1]], float)
    encoder = randomised(RecurrentEncoder(3, [("rnn", 5)]))
    cell = encoder.layers[0].rnn
    wx, wy = cell.weight_ih_l0.detach().numpy().T, cell.weight_hh_l0.detach().numpy().T
    bias = (cell.bias_ih_l0 + cell.bias_hh_l0).detach().numpy()
    y0 = np.tanh(x0 @ wx + bias)
    y1 = np.tanh(x1 @ wx + y0 @ wy + bias)

    outputs, state = encoder(torch.from_numpy(np.stack([x0, x1], axis=1)))

    assert outputs.shape == (4, 2, 5)
    np.testing.assert_allclose(outputs[:, 0].detach(), y0, atol=1e-12)
    np.testing.assert_allclose(outputs[:, 1].detach(), y1, atol=1e-12)
    np.testing.assert_allclose(state[0][0][0].detach(), y1, atol=1e-12)


CELLS = [("rnn", "tanh"), ("rnn", "relu"), ("gru", "tanh"), ("lstm", "tanh")]


@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "bidirectional"])
@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
@pytest.mark.parametrize("lengths", [None, [7, 1, 4], [3, 7, 7]], ids=str)
@pytest.mark.parametrize("given_state", [False, True], ids=["zeros", "given state"])
def test_layer_follows_the_equations(cell, nonlinearity, bidirectional, lengths, given_state):
    layer = randomised(RecurrentLayer(cell, 3, 5, bidirectional=bidirectional, nonlinearity=nonlinearity))
    inputs = torch.randn(3, 7, 3, dtype=torch.float64)
    parts = 2 if cell == "lstm" else 1
    start = tuple(torch.randn(layer.directions, 3, 5, dtype=torch.float64) for _ in range(parts))
    start = start if given_state else None

    outputs, state = layer(inputs, None if lengths is None else torch.tensor(lengths), start)

    expected, ends = unroll(layer, inputs.numpy(), lengths or [7, 7, 7], start)
    np.testing.assert_allclose(outputs.detach(), expected, atol=1e-12)
    assert len(state) == parts
    for found, end in zip(state, ends, strict=True):
        np.testing.assert_allclose(found.detach(), end, atol=1e-12)


STACKS = [["rnn", "gru", "lstm"], ["lstm", "lstm"], ["gru", "rnn"], ["lstm", "gru", "gru", "rnn"]]


@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "bidirectional"])
@pytest.mark.parametrize("layer_norm", [False, True], ids=["plain", "norm"])
@pytest.mark.parametrize("cells", STACKS, ids="-".join)
def test_stack_feeds_each_layer_with_the_one_below(cells, bidirectional, layer_norm):
    stack = RecurrentEncoder(
        3, [(cell, 3 + rank) for rank, cell in enumerate(cells)], bidirectional=bidirectional, layer_norm=layer_norm
    )
    encoder = randomised(stack)
    inputs, lengths = torch.randn(4, 6, 3, dtype=torch.float64), [6, 2, 1, 5]

    outputs, states = encoder(inputs, torch.tensor(lengths))

    values = inputs.numpy()
    for rank, layer in enumerate(encoder.layers):
        if rank and layer_norm:
            norm = encoder.between[rank - 1][0]
            mean, variance = values.mean(-1, keepdims=True), values.var(-1, keepdims=True)
            scaled = (values - mean) / np.sqrt(variance + norm.eps)
            values = scaled * norm.weight.detach().numpy() + norm.bias.detach().numpy()
        values, ends = unroll(layer, values, lengths)
        for found, end in zip(states[rank], ends, strict=True):
            np.testing.assert_allclose(found.detach(), end, atol=1e-12)
    np.testing.assert_allclose(outputs.detach(), values, atol=1e-12)
    assert encoder.output_size == values.shape[-1]


def test_layer_norm_stands_between_layers_alone():
    encoder = RecurrentEncoder(3, [("gru", 4), ("gru", 4), ("gru", 4)], layer_norm=True)
    assert sum(isinstance(module, torch.nn.LayerNorm) for module in encoder.modules()) == 2
    plain = RecurrentEncoder(3, [("gru", 4), ("gru", 4)])
    assert not any(isinstance(module, torch.nn.LayerNorm) for module in plain.modules())


@pytest.mark.parametrize("cell", ["LSTM", "elman", ""])
def test_unknown_cell_is_named_with_the_choices(cell):
    with pytest.raises(ValueError, match="rnn, gru or lstm") as caught:
        RecurrentLayer(cell, 3, 4)
    assert repr(cell) in str(caught.value)
