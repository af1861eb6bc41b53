"""Sequences of varying length through whole networks: padding, batch and order are ways to compute, no more."""

import itertools

import pytest
import torch
from small_networks import (
    CELLS,
    LENGTHS,
    captioner,
    images,
    language_model,
    padded,
    randomised,
    reader,
    sequences,
    writer,
)

from unroll.features.special_tokens import IGNORE_INDEX, PAD
from unroll.models.decoding import decode
from unroll.models.network import Classifier, Ensemble, TokenClassifier
from unroll.models.preprocessing import Frames

INPUTS = ["tokens", "characters", "frames", "frames normalized", "frames deltas", "frames normalized deltas"]
STACKS = [(cell,) for cell in CELLS] + [("rnn", "gru", "lstm")]
ORDER = torch.tensor([2, 0, 3, 1])

every_input = pytest.mark.parametrize("kind", INPUTS)
every_stack = pytest.mark.parametrize("cells", STACKS, ids="-".join)
every_cell = pytest.mark.parametrize("cell", CELLS)
both_ways = pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "both-ways"])


def close(found, expected):
    # Of float32, whose numbers above 1 lie 1.2e-7 apart and more: on some processors 1e-6 alone is 9 roundings.
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def spoilt(inputs, lengths):
    """What stands in the padding is wrong."""
    inside = torch.arange(inputs.shape[1]) < lengths[:, None]
    inside = inside.view(*inside.shape, *[1] * (inputs.dim() - 2))
    return torch.where(inside, inputs, float("nan") if inputs.is_floating_point() else 7)


# Many to one


@every_input
@every_stack
@both_ways
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_many_to_one(kind, cells, bidirectional, pooling):
    network = reader(kind, cells, bidirectional, pooling=pooling)
    inputs, lengths = sequences(kind)
    with torch.no_grad():
        expected = network(inputs, lengths)
        assert len({tuple(row.tolist()) for row in expected}) == len(LENGTHS)
        for more in (1, 6):
            close(network(padded(inputs, more), lengths), expected)
        close(network(spoilt(padded(inputs, 2), lengths), lengths), expected)
        close(network(inputs[ORDER], lengths[ORDER]), expected[ORDER])
        for row, length in enumerate(LENGTHS):
            close(network(inputs[row : row + 1, :length]), expected[row : row + 1])
            close(network(inputs[row : row + 1], lengths[row : row + 1]), expected[row : row + 1])


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_poolings_by_hand(pooling):
    network = reader("frames", ["gru"], bidirectional=True, pooling=pooling)
    network.head = torch.nn.Identity()
    inputs, lengths = sequences("frames")
    with torch.no_grad():
        found, _ = network.output(inputs, lengths)
        outputs, _ = network.encoder(network.preprocessing.prepare(inputs, lengths), lengths)
    for row, length in enumerate(LENGTHS):
        valid = outputs[row, :length]
        expected = {
            "last": torch.cat([valid[-1, :5], valid[0, 5:]]),
            "mean": valid.mean(0),
            "max": valid.max(0).values,
        }[pooling]
        close(found[row], expected)


def test_the_greatest_output_may_be_negative():
    """Zeros beyond a sequence's end are not among what is compared."""
    network = reader("frames", ["rnn"], pooling="max")
    network.head = torch.nn.Identity()
    with torch.no_grad():
        for name, parameter in network.encoder.named_parameters():
            parameter.fill_(-0.2 if "bias" in name else 0.0)
    inputs, lengths = sequences("frames")
    assert (network.output(inputs, lengths)[0] < 0).all()


@every_cell
def test_a_classifier_of_several_networks(cell):
    networks = [randomised(reader("tokens", [cell], pooling="mean"), seed) for seed in (1, 2)]
    model = Classifier(Ensemble(networks)).eval()
    inputs, lengths = sequences("tokens")
    labels, probabilities = model(inputs, lengths)
    found = model(padded(inputs, 5, 7), lengths)
    assert torch.equal(found[0], labels)
    close(found[1], probabilities)


# Many to many in step


@every_input
@every_stack
@both_ways
def test_many_to_many_in_step(kind, cells, bidirectional):
    model = TokenClassifier(Ensemble([reader(kind, cells, bidirectional, every_step=True)])).eval()
    inputs, lengths = sequences(kind)
    with torch.no_grad():
        labels, scores = model(inputs, lengths)
        for row, length in enumerate(LENGTHS):
            # Beyond a sequence's length there is nothing.
            assert not labels[row, length:].any()
            assert not scores[row, length:].any()
            assert (scores[row, :length] > 0.25).all()
            alone = model(inputs[row : row + 1, :length])
            assert torch.equal(alone[0][0], labels[row, :length])
            close(alone[1][0], scores[row, :length])
        for wider in (padded(inputs, 1), padded(inputs, 6), spoilt(padded(inputs, 2), lengths)):
            found, found_scores = model(wider, lengths)
            assert torch.equal(found[:, : max(LENGTHS)], labels)
            close(found_scores[:, : max(LENGTHS)], scores)
            assert not found[:, max(LENGTHS) :].any()
            assert not found_scores[:, max(LENGTHS) :].any()
        found, found_scores = model(inputs[ORDER], lengths[ORDER])
        assert torch.equal(found, labels[ORDER])
        close(found_scores, scores[ORDER])


@pytest.mark.parametrize("kind", ["tokens", "frames normalized deltas"])
@every_stack
@both_ways
def test_the_state_handed_on_is_that_of_the_last_valid_step(kind, cells, bidirectional):
    network = reader(kind, cells, bidirectional, every_step=True)
    inputs, lengths = sequences(kind)
    with torch.no_grad():
        _, state = network.output(padded(inputs, 3), lengths)
        for row, length in enumerate(LENGTHS):
            _, alone = network.output(inputs[row : row + 1, :length])
            for layer, own in zip(state, alone, strict=True):
                for part, other in zip(layer, own, strict=True):
                    close(part[:, row], other[:, 0])


@every_stack
def test_a_network_goes_on_from_a_state(cells):
    network = reader("tokens", cells, every_step=True)
    inputs, _ = sequences("tokens", [9, 9])
    with torch.no_grad():
        whole, _ = network.output(inputs)
        first, state = network.output(inputs[:, :4])
        second, _ = network.output(inputs[:, 4:], state=state)
    close(torch.cat([first, second], 1), whole)


# Units of frames


@pytest.mark.parametrize(("normalize", "deltas"), list(itertools.product([False, True], repeat=2)))
def test_prepared_frames_see_no_padding(normalize, deltas):
    units = randomised(Frames(3, normalize=normalize, deltas=deltas))
    inputs, lengths = sequences("frames")
    found = units.prepare(spoilt(padded(inputs, 4), lengths), lengths)
    for row, length in enumerate(LENGTHS):
        close(found[row, :length], units.prepare(inputs[row : row + 1, :length])[0])
        assert not found[row, length:].any()


# Sequence to sequence

WRITERS = [
    (cell, read, attention, bidirectional, reverse)
    for cell, read in zip(CELLS, (("lstm",), ("rnn",), ("gru", "lstm")), strict=True)
    for attention, bidirectional, reverse in itertools.product([False, True], repeat=3)
]


@pytest.mark.parametrize(
    ("cell", "read", "attention", "bidirectional", "reverse"),
    WRITERS,
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else str(value),
)
def test_sequence_to_sequence(cell, read, attention, bidirectional, reverse):
    network = writer(cell, read, attention=attention, bidirectional=bidirectional, reverse=reverse)
    inputs, lengths = sequences("tokens")
    targets = sequences("tokens", [3, 5, 1, 2], seed=5)[0]
    targets[targets == PAD] = IGNORE_INDEX
    settings = {"max_length": 6, "beams": 3}
    with torch.no_grad():
        logits, _ = network.output(inputs, lengths, targets)
        tokens, scores = decode(network, inputs, lengths, **settings)
        for wider in (padded(inputs, 1), padded(inputs, 6), spoilt(padded(inputs, 2), lengths)):
            close(network.output(wider, lengths, targets)[0], logits)
            found, found_scores = decode(network, wider, lengths, **settings)
            assert torch.equal(found, tokens)
            close(found_scores, scores)
        # More padding of the targets changes nothing where there was something to write.
        longer, _ = network.output(inputs, lengths, padded(targets, 3, IGNORE_INDEX))
        close(longer[:, :5], logits)
        found, found_scores = decode(network, inputs[ORDER], lengths[ORDER], **settings)
        assert torch.equal(found, tokens[ORDER])
        close(found_scores, scores[ORDER])
        for row, length in enumerate(LENGTHS):
            own = inputs[row : row + 1, :length]
            close(network.output(own, None, targets[row : row + 1])[0], logits[row : row + 1])
            found, found_scores = decode(network, own, **settings)
            assert torch.equal(found[0], tokens[row, :, : found.shape[2]])
            assert not tokens[row, :, found.shape[2] :].any()
            close(found_scores[0], scores[row])


@every_cell
def test_what_attention_looks_at_is_no_padding(cell):
    network = writer(cell, attention=True, bidirectional=True)
    inputs, lengths = sequences("tokens")
    targets = sequences("tokens", [4] * 4, seed=5)[0]
    with torch.no_grad():
        weights = network.attention(padded(inputs, 2, 7), lengths, targets)
    assert weights.shape == (4, 4, max(LENGTHS) + 2)
    for row, length in enumerate(LENGTHS):
        assert not weights[row, :, length:].any()
        assert (weights[row, :, :length] > 0).all()
    close(weights.sum(-1), torch.ones(4, 4))


@every_cell
def test_a_reversed_source_is_read_from_its_end(cell):
    """Not from the end of its padding."""
    network, forward = writer(cell, reverse=True), writer(cell)
    inputs, lengths = sequences("tokens")
    turned = inputs.clone()
    for row, length in enumerate(LENGTHS):
        turned[row, :length] = inputs[row, :length].flip(0)
    targets = sequences("tokens", [3] * 4, seed=5)[0]
    with torch.no_grad():
        close(network.output(inputs, lengths, targets)[0], forward.output(turned, lengths, targets)[0])
        assert not torch.allclose(
            network.output(inputs, lengths, targets)[0], forward.output(inputs, lengths, targets)[0]
        )


# One to many


@every_cell
def test_captions_do_not_depend_on_the_batch(cell):
    network, inputs = captioner(cell), images()
    tokens, scores = decode(network, inputs, max_length=6, beams=3)
    found, found_scores = decode(network, inputs[ORDER], max_length=6, beams=3)
    assert torch.equal(found, tokens[ORDER])
    close(found_scores, scores[ORDER])


@every_stack
@pytest.mark.parametrize("tie_weights", [False, True])
def test_prompts_of_a_language_model(cells, tie_weights):
    network = language_model(*cells, tie_weights=tie_weights)
    inputs, lengths = sequences("tokens")
    uniforms = torch.rand(4, 2, 6, generator=torch.Generator().manual_seed(0))
    for settings in ({"beams": 3}, {"beams": 2, "temperature": 0.7, "uniforms": uniforms}):
        tokens, scores = decode(network, inputs, lengths, max_length=6, **settings)
        for wider in (padded(inputs, 1), padded(inputs, 6), spoilt(padded(inputs, 2), lengths)):
            found, found_scores = decode(network, wider, lengths, max_length=6, **settings)
            assert torch.equal(found, tokens)
            close(found_scores, scores)
        for row, length in enumerate(LENGTHS):
            own = settings | ({"uniforms": uniforms[row : row + 1]} if "uniforms" in settings else {})
            found, found_scores = decode(network, inputs[row : row + 1, :length], max_length=6, **own)
            assert torch.equal(found[0], tokens[row, :, : found.shape[2]])
            close(found_scores[0], scores[row])


@every_stack
def test_a_language_models_figures_see_no_padding(cells):
    network = language_model(*cells)
    inputs, lengths = sequences("tokens")
    targets = sequences("tokens", seed=4)[0]
    targets[targets == PAD] = IGNORE_INDEX
    with torch.no_grad():
        logs, _ = network.log_probabilities(inputs, targets, lengths)
        wider, _ = network.log_probabilities(padded(inputs, 4, 7), padded(targets, 4, IGNORE_INDEX), lengths)
        close(wider[:, : max(LENGTHS)], logs)
        assert not wider[:, max(LENGTHS) :].any()
        for row, length in enumerate(LENGTHS):
            alone, _ = network.log_probabilities(inputs[row : row + 1, :length], targets[row : row + 1, :length])
            close(alone[0], logs[row, :length])
            assert not logs[row, length:].any()
