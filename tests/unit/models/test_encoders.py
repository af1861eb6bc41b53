"""Initial weights, truncated backpropagation through time, dropout and autocast of recurrent encoders."""

import math

import pytest
import torch
from small_networks import CELLS, close

from unroll.models.encoders import RecurrentEncoder

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


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")]
        ),
    ],
)
def test_autocast_keeps_recurrent_layers_in_float32(device):
    torch.manual_seed(0)
    encoder = RecurrentEncoder(3, [("lstm", 5), ("gru", 4)]).to(device)
    inputs, lengths = torch.randn(2, 6, 3, device=device).to(torch.bfloat16), torch.tensor([6, 4])
    expected, _ = encoder(inputs.float(), lengths)
    with torch.autocast(device, torch.bfloat16):
        outputs, states = encoder(inputs, lengths)
    assert {part.dtype for state in states for part in state} == {outputs.dtype} == {torch.float32}
    assert torch.equal(outputs, expected)
