"""Sequences of varying length: padding is never seen, whatever the cell, direction and depth."""

import pytest
import torch

from unroll.models.heads import LinearHead
from unroll.models.network import SequenceNetwork
from unroll.models.preprocessing import PriceLevels
from unroll.models.recurrent import RecurrentEncoder

STACKS = {
    "rnn": [("rnn", 6)],
    "gru": [("gru", 6)],
    "lstm": [("lstm", 6)],
    "rnn-rnn": [("rnn", 5), ("rnn", 6)],
    "gru-gru": [("gru", 5), ("gru", 6)],
    "lstm-lstm": [("lstm", 5), ("lstm", 6)],
    "rnn-gru-lstm": [("rnn", 4), ("gru", 5), ("lstm", 6)],
    "lstm-rnn-gru": [("lstm", 4), ("rnn", 5), ("gru", 6)],
}
LENGTHS = [9, 1, 4, 6]

every_stack = pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
both_ways = pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "bidirectional"])
with_norm = pytest.mark.parametrize("layer_norm", [False, True], ids=["plain", "norm"])


def made(stack, bidirectional, **options):
    torch.manual_seed(3)
    return RecurrentEncoder(3, stack, bidirectional=bidirectional, **options).eval()


def sequences(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(LENGTHS), max(LENGTHS), 3, generator=generator), torch.tensor(LENGTHS)


def flat(states):
    return [part for state in states for part in state]


@every_stack
@both_ways
@with_norm
@pytest.mark.parametrize("more", [1, 3, 11])
def test_more_padding_changes_nothing(stack, bidirectional, layer_norm, more):
    encoder = made(stack, bidirectional, layer_norm=layer_norm)
    inputs, lengths = sequences()
    padded = torch.cat([inputs, torch.full((len(LENGTHS), more, 3), 1e3)], dim=1)

    outputs, states = encoder(inputs, lengths)
    wider, same = encoder(padded, lengths)

    assert wider.shape == (len(LENGTHS), max(LENGTHS) + more, encoder.output_size)
    torch.testing.assert_close(wider[:, : max(LENGTHS)], outputs, rtol=0, atol=1e-6)
    assert not wider[:, max(LENGTHS) :].any()
    for found, expected in zip(flat(same), flat(states), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@every_stack
@both_ways
@with_norm
def test_what_stands_in_the_padding_is_never_read(stack, bidirectional, layer_norm):
    encoder = made(stack, bidirectional, layer_norm=layer_norm)
    inputs, lengths = sequences()
    spoilt = inputs.clone()
    for row, length in enumerate(LENGTHS):
        spoilt[row, length:] = float("nan")

    outputs, states = encoder(inputs, lengths)
    found, found_states = encoder(spoilt, lengths)

    assert torch.equal(found, outputs)
    assert all(torch.equal(one, other) for one, other in zip(flat(found_states), flat(states), strict=True))


@every_stack
@both_ways
@with_norm
def test_outputs_beyond_a_length_are_zero(stack, bidirectional, layer_norm):
    encoder = made(stack, bidirectional, layer_norm=layer_norm)
    # A relative of zero would hide here if biases were zero, as they are at the start.
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "bias" in name:
                parameter.fill_(0.7)
    inputs, lengths = sequences()
    outputs, _ = encoder(inputs, lengths)
    for row, length in enumerate(LENGTHS):
        assert not outputs[row, length:].any()
        assert outputs[row, :length].abs().sum(-1).all()


@every_stack
@both_ways
def test_each_sequence_is_what_it_is_alone(stack, bidirectional):
    """Length 1, full length and those between: a batch is a way to compute, no more."""
    encoder = made(stack, bidirectional)
    inputs, lengths = sequences()
    outputs, states = encoder(inputs, lengths)
    for row, length in enumerate(LENGTHS):
        alone, alone_states = encoder(inputs[row : row + 1, :length])
        torch.testing.assert_close(outputs[row, :length], alone[0], rtol=0, atol=1e-6)
        for found, expected in zip(flat(states), flat(alone_states), strict=True):
            torch.testing.assert_close(found[:, row], expected[:, 0], rtol=0, atol=1e-6)


@every_stack
@both_ways
def test_batch_order_does_not_matter(stack, bidirectional):
    encoder = made(stack, bidirectional)
    inputs, lengths = sequences()
    order = torch.tensor([2, 0, 3, 1])
    outputs, states = encoder(inputs, lengths)
    found, found_states = encoder(inputs[order], lengths[order])
    torch.testing.assert_close(found, outputs[order], rtol=0, atol=1e-6)
    for one, other in zip(flat(found_states), flat(states), strict=True):
        torch.testing.assert_close(one, other[:, order], rtol=0, atol=1e-6)


@every_stack
@both_ways
def test_state_handed_on_is_the_last_valid_steps(stack, bidirectional):
    encoder = made(stack, bidirectional)
    inputs, lengths = sequences()
    outputs, states = encoder(inputs, lengths)
    hidden, units = states[-1][0], stack[-1][1]
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(hidden[0, row], outputs[row, length - 1, :units], rtol=0, atol=1e-6)
        if bidirectional:
            # A backward layer ends at the sequence's beginning.
            torch.testing.assert_close(hidden[1, row], outputs[row, 0, units:], rtol=0, atol=1e-6)


@every_stack
@both_ways
def test_full_lengths_are_no_lengths(stack, bidirectional):
    encoder = made(stack, bidirectional)
    inputs, _ = sequences()
    outputs, states = encoder(inputs)
    found, found_states = encoder(inputs, torch.full((len(LENGTHS),), max(LENGTHS)))
    torch.testing.assert_close(found, outputs, rtol=0, atol=1e-6)
    for one, other in zip(flat(found_states), flat(states), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


@every_stack
def test_a_sequence_in_two_parts_is_the_whole(stack):
    encoder = made(stack, bidirectional=False)
    inputs, _ = sequences()
    whole, end = encoder(inputs)
    first, state = encoder(inputs[:, :4])
    second, state = encoder(inputs[:, 4:], None, state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole, rtol=0, atol=1e-6)
    for one, other in zip(flat(state), flat(end), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


@every_stack
@both_ways
def test_padding_gets_no_gradient_and_gives_none(stack, bidirectional):
    encoder = made(stack, bidirectional)
    inputs, lengths = sequences()
    inputs.requires_grad_()
    outputs, states = encoder(inputs, lengths)
    (outputs.square().sum() + sum(part.square().sum() for part in flat(states))).backward()
    for row, length in enumerate(LENGTHS):
        assert not inputs.grad[row, length:].any()
        assert inputs.grad[row, :length].abs().sum(-1).all()


@every_stack
@both_ways
@pytest.mark.parametrize("every_step", [False, True], ids=["last state", "every step"])
def test_a_whole_network_sees_no_padding(stack, bidirectional, every_step):
    encoder = made(stack, bidirectional)
    network = SequenceNetwork(PriceLevels(3, 0), encoder, LinearHead(encoder.output_size, 1), every_step=every_step)
    network.eval()
    inputs, lengths = sequences()
    padded = torch.cat([inputs, torch.full((len(LENGTHS), 5, 3), 1e3)], dim=1)
    found, expected = network(padded, lengths), network(inputs, lengths)
    if every_step:
        found = found[:, : max(LENGTHS)]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@every_stack
@both_ways
def test_shapes_are_the_docstrings(stack, bidirectional):
    encoder = made(stack, bidirectional)
    directions = 2 if bidirectional else 1
    outputs, states = encoder(*sequences())
    assert encoder.output_size == stack[-1][1] * directions
    assert outputs.shape == (len(LENGTHS), max(LENGTHS), encoder.output_size)
    assert outputs.dtype == torch.float32
    assert len(states) == len(stack)
    for (cell, units), state in zip(stack, states, strict=True):
        assert len(state) == (2 if cell == "lstm" else 1)
        assert all(part.shape == (directions, len(LENGTHS), units) for part in state)
