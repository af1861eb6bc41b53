"""Weights at the start, gradients on their way back, and a step of training."""

import math

import pytest
import torch

from unroll.models.recurrent import RecurrentEncoder, RecurrentLayer, initialize

CELLS = ["rnn", "gru", "lstm"]
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
every_cell = pytest.mark.parametrize("cell", CELLS)
both_ways = pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "bidirectional"])


def parameters(layer, start):
    return [value for name, value in layer.rnn.named_parameters() if name.startswith(start)]


@every_cell
@both_ways
def test_orthogonal_gate_by_gate(cell, bidirectional):
    encoder = RecurrentEncoder(7, [(cell, 12)], bidirectional=bidirectional)
    layer = encoder.layers[0]
    found = parameters(layer, "weight_hh")
    assert len(found) == (2 if bidirectional else 1)
    for weight in found:
        gates = weight.split(12)
        assert len(gates) == GATES[cell]
        for gate in gates:
            torch.testing.assert_close(gate @ gate.T, torch.eye(12), rtol=0, atol=1e-5)


@every_cell
@both_ways
@pytest.mark.parametrize("rule", ["orthogonal", "xavier", "he"])
def test_uniform_rules_keep_their_bounds(cell, bidirectional, rule):
    inputs, units = 30, 50
    torch.manual_seed(0)
    layer = RecurrentEncoder(inputs, [(cell, units)], bidirectional=bidirectional, initialization=rule).layers[0]

    def bound(fan_in, fan_out):
        return math.sqrt(6 / fan_in) if rule == "he" else math.sqrt(6 / (fan_in + fan_out))

    for weight in parameters(layer, "weight_ih"):
        for gate in weight.split(units):
            limit = bound(inputs, units)
            assert 0.9 * limit < gate.abs().max() <= limit
    if rule != "orthogonal":
        for weight in parameters(layer, "weight_hh"):
            for gate in weight.split(units):
                limit = bound(units, units)
                assert 0.9 * limit < gate.abs().max() <= limit


@every_cell
@both_ways
def test_uniform_is_torchs_own(cell, bidirectional):
    torch.manual_seed(5)
    layer = RecurrentLayer(cell, 4, 9, bidirectional=bidirectional)
    before = {name: value.clone() for name, value in layer.named_parameters()}
    initialize(layer, "uniform", 1.0)
    for name, value in layer.named_parameters():
        kept = torch.ones_like(value, dtype=torch.bool)
        if cell == "lstm" and "bias" in name:
            kept[9:18] = False
        assert torch.equal(value[kept], before[name][kept])
        assert value.abs()[kept].max() <= 1 / 3


@both_ways
@pytest.mark.parametrize("rule", ["orthogonal", "xavier", "he", "uniform"])
@pytest.mark.parametrize("wanted", [0.0, 1.0, 2.5])
def test_forget_bias_stands_exactly_once(bidirectional, rule, wanted):
    encoder = RecurrentEncoder(3, [("lstm", 5)], bidirectional=bidirectional, initialization=rule, forget_bias=wanted)
    for suffix in ["", "_reverse"][: 1 + bidirectional]:
        cell = encoder.layers[0].rnn
        both = getattr(cell, f"bias_ih_l0{suffix}") + getattr(cell, f"bias_hh_l0{suffix}")
        forget = both[5:10]
        assert torch.equal(forget, torch.full((5,), wanted))
        if rule != "uniform":
            others = torch.cat([both[:5], both[10:]])
            assert not others.any()


@pytest.mark.parametrize("cell", ["rnn", "gru"])
def test_cells_without_a_forget_gate_have_no_bias_at_the_start(cell):
    layer = RecurrentEncoder(3, [(cell, 5)], forget_bias=1.0).layers[0]
    assert not any(bias.any() for bias in parameters(layer, "bias"))


def test_unknown_initialization_is_named_with_the_choices():
    with pytest.raises(ValueError, match="unknown initialization 'orthogonl': use orthogonal, xavier, he or uniform"):
        RecurrentEncoder(3, [("gru", 4)], initialization="orthogonl")


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("rule", ["orthogonal", "xavier", "he", "uniform"])
@pytest.mark.parametrize("layer_norm", [False, True], ids=["plain", "norm"])
@both_ways
@pytest.mark.parametrize("cells", [["rnn"], ["gru"], ["lstm"], ["rnn", "gru", "lstm"], ["lstm", "lstm"]], ids="-".join)
def test_one_step_changes_every_parameter(cells, bidirectional, layer_norm, rule, optimizer):
    torch.manual_seed(0)
    encoder = RecurrentEncoder(
        3, [(cell, 5) for cell in cells], bidirectional=bidirectional, layer_norm=layer_norm, initialization=rule
    )
    before = {name: value.detach().clone() for name, value in encoder.named_parameters()}
    step = optimizer(encoder.parameters(), lr=0.1)
    outputs, _ = encoder(torch.randn(8, 6, 3), torch.tensor([6, 5, 4, 3, 2, 1, 6, 6]))
    (outputs - 0.3).square().mean().backward()
    step.step()
    unchanged = [name for name, value in encoder.named_parameters() if torch.equal(value, before[name])]
    assert not unchanged


# Truncated backpropagation through time.

STACKS = {"rnn": ["rnn"], "gru": ["gru"], "lstm": ["lstm"], "mixed": ["lstm", "rnn", "gru"]}
every_stack = pytest.mark.parametrize("cells", STACKS.values(), ids=STACKS)


def pair(cells, tbptt_steps, **options):
    """The same weights, truncated and not."""
    stack = [(cell, 5) for cell in cells]
    torch.manual_seed(2)
    short = RecurrentEncoder(3, stack, tbptt_steps=tbptt_steps, **options)
    full = RecurrentEncoder(3, stack, **options)
    full.load_state_dict(short.state_dict())
    return short, full


@every_stack
@pytest.mark.parametrize("lengths", [None, [11, 1, 4, 5, 8]], ids=["whole", "lengths"])
@pytest.mark.parametrize("tbptt_steps", [1, 4, 5, 11, 30])
@pytest.mark.parametrize("given_state", [False, True], ids=["zeros", "given state"])
def test_truncation_changes_no_value(cells, lengths, tbptt_steps, given_state):
    short, full = pair(cells, tbptt_steps)
    inputs = torch.randn(5, 11, 3)
    lengths = None if lengths is None else torch.tensor(lengths)
    state = [
        tuple(torch.randn(1, 5, 5) for _ in range(2 if cell == "lstm" else 1)) for cell in cells
    ] if given_state else None  # fmt: skip
    outputs, states = short(inputs, lengths, state)
    expected, expected_states = full(inputs, lengths, state)
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-6)
    for found, wanted in zip(states, expected_states, strict=True):
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


@every_stack
def test_no_gradient_crosses_a_boundary(cells):
    short, full = pair(cells, 4)
    for encoder, reaches in ((short, False), (full, True)):
        inputs = torch.randn(2, 11, 3, requires_grad=True)
        outputs, _ = encoder(inputs)
        outputs[:, -1].sum().backward()
        # 11 steps in pieces of 4: the last one has steps 8, 9 and 10.
        assert bool(inputs.grad[:, :8].any()) is reaches
        assert inputs.grad[:, 8:].abs().sum(-1).all()


@every_stack
def test_no_gradient_crosses_a_boundary_with_lengths(cells):
    short, _ = pair(cells, 4)
    inputs = torch.randn(3, 11, 3, requires_grad=True)
    _, states = short(inputs, torch.tensor([11, 6, 3]))
    states[-1][0].sum().backward()
    # The state of a sequence that ended in an earlier piece is only carried along, and carried without gradient.
    assert not inputs.grad[0, :8].any()
    assert inputs.grad[0, 8:].abs().sum(-1).all()
    assert not inputs.grad[1, :4].any()
    assert not inputs.grad[2, 3:].any()


@every_stack
def test_gradient_within_a_piece_is_that_of_the_piece_alone(cells):
    short, full = pair(cells, 4)
    inputs = torch.randn(2, 8, 3)
    outputs, _ = short(inputs)
    outputs[:, -1].sum().backward()
    with torch.no_grad():
        _, state = full(inputs[:, :4])
    outputs, _ = full(inputs[:, 4:], None, state)
    outputs[:, -1].sum().backward()
    for one, other in zip(short.parameters(), full.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-6)


@every_stack
@pytest.mark.parametrize("tbptt_steps", [1, 3, 7])
def test_a_long_truncation_trains_every_parameter(cells, tbptt_steps):
    short, _ = pair(cells, tbptt_steps)
    outputs, _ = short(torch.randn(4, 7, 3), torch.tensor([7, 2, 1, 5]))
    outputs.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in short.parameters())


def test_dropout_stands_between_layers_alone():
    torch.manual_seed(0)
    inputs = torch.randn(2, 5, 3)
    deep = RecurrentEncoder(3, [("gru", 6), ("gru", 6)], dropout=0.5)
    assert not torch.equal(deep(inputs)[0], deep(inputs)[0])
    deep.eval()
    assert torch.equal(deep(inputs)[0], deep(inputs)[0])
    shallow = RecurrentEncoder(3, [("gru", 6)], dropout=0.5)
    assert torch.equal(shallow(inputs)[0], shallow(inputs)[0])


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")]
        ),
    ],
)
def test_autocast_leaves_recurrent_layers_as_they_are(device, cell, padded):
    torch.manual_seed(0)
    encoder = RecurrentEncoder(3, [(cell, 5), (cell, 4)]).to(device)
    inputs, lengths = torch.randn(2, 6, 3, device=device), torch.tensor([6, 4]) if padded else None
    plain, _ = encoder(inputs, lengths)
    with torch.autocast(device, torch.bfloat16):
        outputs, states = encoder(inputs.to(torch.bfloat16).float(), lengths)
        rounded, _ = encoder(inputs.to(torch.bfloat16), lengths)
    assert {part.dtype for state in states for part in state} == {outputs.dtype} == {torch.float32}
    assert torch.equal(outputs, rounded)
    assert torch.allclose(outputs, plain, atol=0.02)
    assert torch.equal(outputs, encoder(inputs.to(torch.bfloat16).float(), lengths)[0])
