"""Padding, batch and order change nothing: encoders, and whole networks of every topology."""

import pytest
import torch
from small_networks import LENGTHS, close, encoder, garbled, padded, randomized, reader, sequences, translator
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from unroll.features.special_tokens import IGNORE_INDEX, PAD
from unroll.models.decoding import decode
from unroll.models.network import Classifier, Ensemble, TokenClassifier
from unroll.models.padded import run_padded
from unroll.models.padding import reverse_steps

STACKS = [("rnn",), ("gru",), ("lstm",), ("rnn", "gru", "lstm")]
ORDER = torch.tensor([2, 0, 3, 1])
every_stack = pytest.mark.parametrize("cells", STACKS, ids="-".join)
both_ways = pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "bidirectional"])


@every_stack
@both_ways
def test_an_encoder_never_reads_padding(cells, bidirectional):
    stack = randomized(encoder(3, cells, bidirectional, layer_norm=len(cells) > 1))
    inputs, lengths = sequences("frames")
    inputs.requires_grad_()
    outputs, states = stack(inputs, lengths)
    found, found_states = stack(garbled(inputs, lengths), lengths)
    assert torch.equal(found[:, : max(LENGTHS)], outputs)
    assert not found[:, max(LENGTHS) :].any()
    for row, length in enumerate(LENGTHS):
        assert not outputs[row, length:].any()
        alone, alone_states = stack(inputs[row : row + 1, :length])
        close(outputs[row, :length], alone[0])
        for layer, other, own in zip(states, found_states, alone_states, strict=True):
            for part, same, expected in zip(layer, other, own, strict=True):
                assert torch.equal(part, same)
                close(part[:, row], expected[:, 0])
    (outputs.square().sum() + states[0][0].square().sum()).backward()
    for row, length in enumerate(LENGTHS):
        assert not inputs.grad[row, length:].any()
        assert inputs.grad[row, :length].abs().sum(-1).all()


@every_stack
def test_a_sequence_in_two_parts_is_the_whole(cells):
    network = reader("tokens", cells, every_step=True)
    inputs, _ = sequences("tokens", [9, 9])
    with torch.no_grad():
        whole, _ = network.output(inputs)
        first, state = network.output(inputs[:, :4])
        second, _ = network.output(inputs[:, 4:], state=state)
    close(torch.cat([first, second], 1), whole)


# Kind of inputs, cells, bidirectional, pooling: pairs instead of the full product.
READERS = [
    ("tokens", ("gru",), True, "last"),
    ("tokens", ("rnn", "gru", "lstm"), False, "max"),
    ("characters", ("lstm",), True, "mean"),
    ("characters", ("rnn",), False, "last"),
    ("frames", ("gru",), True, "max"),
    ("frames", ("rnn", "gru", "lstm"), True, "last"),
    ("frames", ("lstm",), False, "mean"),
]


@pytest.mark.parametrize(("kind", "cells", "bidirectional", "pooling"), READERS)
def test_many_to_one(kind, cells, bidirectional, pooling):
    network = reader(kind, cells, bidirectional, pooling=pooling)
    inputs, lengths = sequences(kind)
    with torch.no_grad():
        expected = network(inputs, lengths)
        assert len({tuple(row.tolist()) for row in expected}) == len(LENGTHS)
        close(network(padded(inputs, 6), lengths), expected)
        close(network(garbled(inputs, lengths), lengths), expected)
        close(network(inputs[ORDER], lengths[ORDER]), expected[ORDER])
        for row, length in enumerate(LENGTHS):
            close(network(inputs[row : row + 1, :length]), expected[row : row + 1])
        label, probabilities = Classifier(Ensemble([network]))(garbled(inputs, lengths), lengths)
        close(probabilities, expected)
        assert torch.equal(label, expected.argmax(1))


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_pooling_is_over_valid_outputs(pooling):
    network = reader("frames", ["gru"], bidirectional=True, pooling=pooling)
    network.head = torch.nn.Identity()
    inputs, lengths = sequences("frames")
    with torch.no_grad():
        found, _ = network.output(inputs, lengths)
        outputs, _ = network.encoder(network.preprocessing.prepare(inputs, lengths), lengths)
    for row, length in enumerate(LENGTHS):
        valid = outputs[row, :length]
        last = torch.cat([valid[-1, :5], valid[0, 5:]])
        expected = {"last": last, "mean": valid.mean(0), "max": valid.max(0).values}[pooling]
        close(found[row], expected)


@pytest.mark.parametrize(("kind", "cells", "bidirectional"), [one[:3] for one in READERS])
def test_many_to_many_in_step(kind, cells, bidirectional):
    model = TokenClassifier(Ensemble([reader(kind, cells, bidirectional, every_step=True)])).eval()
    inputs, lengths = sequences(kind)
    with torch.no_grad():
        labels, scores = model(inputs, lengths)
        found, found_scores = model(garbled(inputs, lengths), lengths)
        assert torch.equal(found, padded(labels, 2))
        close(found_scores, padded(scores, 2))
        for row, length in enumerate(LENGTHS):
            assert not labels[row, length:].any()
            assert not scores[row, length:].any()
            alone = model(inputs[row : row + 1, :length])
            assert torch.equal(alone[0][0], labels[row, :length])
            close(alone[1][0], scores[row, :length])


TRANSLATORS = [
    ("rnn", ("lstm",), "none", True, True),
    ("gru", ("rnn",), "dot", False, True),
    ("gru", ("gru",), "additive", True, False),
    ("lstm", ("gru", "lstm"), "dot", True, True),
    ("lstm", ("lstm",), "none", False, False),
]


@pytest.mark.parametrize(("cell", "source", "attention", "bidirectional", "reverse"), TRANSLATORS)
def test_sequence_to_sequence(cell, source, attention, bidirectional, reverse):
    network = translator(cell, source, attention=attention, bidirectional=bidirectional, reverse=reverse)
    inputs, lengths = sequences("tokens")
    targets = sequences("tokens", [3, 5, 1, 2], seed=5)[0]
    targets[targets == PAD] = IGNORE_INDEX
    with torch.no_grad():
        logits, _ = network.output(inputs, lengths, targets)
        tokens, scores = decode(network, inputs, lengths, max_length=6, beams=3)
        close(network.output(garbled(inputs, lengths), lengths, targets)[0], logits)
        found, found_scores = decode(network, garbled(inputs, lengths), lengths, max_length=6, beams=3)
        assert torch.equal(found, tokens)
        close(found_scores, scores)
        close(network.output(inputs, lengths, padded(targets, 3, IGNORE_INDEX))[0][:, :5], logits)
        for row, length in enumerate(LENGTHS):
            own = inputs[row : row + 1, :length]
            close(network.output(own, None, targets[row : row + 1])[0], logits[row : row + 1])
            found, found_scores = decode(network, own, max_length=6, beams=3)
            assert torch.equal(found[0], tokens[row, :, : found.shape[2]])
            close(found_scores[0], scores[row])


def test_a_reversed_source_is_read_from_its_end():
    """Not from the end of its padding."""
    network, forward = translator("gru", reverse=True), translator("gru")
    inputs, lengths = sequences("tokens")
    targets = sequences("tokens", [3] * 4, seed=5)[0]
    with torch.no_grad():
        expected = forward.output(reverse_steps(inputs, lengths), lengths, targets)[0]
        close(network.output(inputs, lengths, targets)[0], expected)


@both_ways
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("stateful", [False, True], ids=["", "stateful"])
def test_a_padded_layer_equals_a_packed_one(kind, bidirectional, stateful):
    torch.manual_seed(0)
    layer = kind(3, 5, batch_first=True, bidirectional=bidirectional)
    inputs, lengths = sequences("frames")
    count = 2 if kind is nn.LSTM else 1
    states = [torch.rand(2 if bidirectional else 1, len(lengths), 5) for _ in range(count)] if stateful else None
    results = []
    for run in (run_padded, packed):
        layer.zero_grad()
        read = inputs.clone().requires_grad_()
        outputs, after = run(layer, read, lengths, states)
        (outputs.square().mean() + sum(part.square().mean() for part in after)).backward()
        gradients = [weight.grad.clone() for weight in layer.parameters()]
        results.append([outputs, *after, read.grad, *gradients])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def packed(layer, inputs, lengths, state):
    state = state[0] if state is not None and len(state) == 1 else state
    outputs, after = layer(pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False), state)
    after = after if isinstance(after, tuple) else (after,)
    return pad_packed_sequence(outputs, batch_first=True, total_length=inputs.shape[1])[0], after
