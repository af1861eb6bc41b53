"""Embeddings, attention, heads, networks and generators: values computed by hand, and steps against wholes."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from small_networks import CELLS, VOCABULARY, close, language_model, randomized, sequences, translator

from unroll.domains.task import ctc_loss, step_loss
from unroll.features.special_tokens import BOS, IGNORE_INDEX, PAD
from unroll.models.attention import AdditiveAttention, DotAttention
from unroll.models.decoding import decode
from unroll.models.embedding import TokenEmbedding
from unroll.models.encoders import RecurrentEncoder
from unroll.models.generators import shift_right, target_log_probabilities
from unroll.models.heads import MonotoneQuantileHead

every_cell = pytest.mark.parametrize("cell", CELLS)


# Heads


def test_quantiles_start_as_the_normals_and_rise_with_any_weights():
    levels = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
    head = MonotoneQuantileHead(4, levels)
    np.testing.assert_allclose(head(torch.randn(3, 4)).detach(), np.tile(norm.ppf(levels), (3, 1)), atol=2e-6)
    (head(torch.randn(5, 4)) - 3).square().sum().backward()
    assert head.linear.weight.grad.abs().sum(1).all()
    for std in (0.1, 30.0):
        assert (randomized(head, std=std)(torch.randn(200, 4)).diff(dim=1) >= 0).all()


def test_quantiles():
    head = MonotoneQuantileHead(1, (0.1, 0.3, 0.5, 0.7, 0.9))
    with torch.no_grad():
        head.linear.weight.zero_()
        head.linear.bias.copy_(torch.tensor([1.0, 2.0, 0.5, -1.0, 3.0]))
    a, b, c, d = (math.log1p(math.exp(value)) for value in (1.0, 2.0, -1.0, 3.0))
    expected = torch.tensor([[0.5 - b - a, 0.5 - b, 0.5, 0.5 + c, 0.5 + c + d]])
    torch.testing.assert_close(head(torch.ones(1, 1)).detach(), expected)


# Encoders


def test_convolutions_shorten_the_time():
    # A rectifier may pass no gradient on with other weights.
    torch.manual_seed(0)
    encoder = RecurrentEncoder(7, [("lstm", 6)], bidirectional=True, convolutions=[(5, 3, 2), (4, 5, 3)])
    inputs = torch.rand(2, 70, 7, requires_grad=True)
    outputs, _ = encoder(inputs)
    assert outputs.shape == (2, 12, 12)
    # The first output of the second convolution reads two outputs of the first beyond it, and these one step more.
    (gradient,) = torch.autograd.grad(encoder.convolutions(inputs.transpose(1, 2))[:, :, 0].sum(), inputs)
    assert gradient[:, :6].abs().sum() > 0
    assert not gradient[:, 6:].any()


# Losses


def test_ctc_is_the_probability_of_all_paths_to_the_targets():
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 3, dtype=torch.float64)
    targets = torch.tensor([[1, 1], [2, IGNORE_INDEX]])
    wanted = []
    for row, target in zip(logits.log_softmax(-1), ([1, 1], [2]), strict=True):
        paths = [
            path
            for path in itertools.product(range(3), repeat=5)
            if [symbol for symbol, _ in itertools.groupby(path) if symbol] == target
        ]
        total = torch.stack([sum(row[step, symbol] for step, symbol in enumerate(path)) for path in paths]).logsumexp(0)
        wanted.append(-total / len(target))
    torch.testing.assert_close(ctc_loss(logits, targets), torch.stack(wanted).mean())


# Embeddings


def test_vectors_of_tokens():
    embedding = TokenEmbedding(4, 2)
    with torch.no_grad():
        embedding.tokens.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    inputs = torch.tensor([[3, 1, PAD]])
    assert embedding(inputs).tolist() == [[[5.0, 6.0], [1.0, 2.0], [0.0, 0.0]]]
    assert torch.equal(embedding(inputs.unsqueeze(-1)), embedding(inputs))
    weight = TokenEmbedding(2000, 128).tokens.weight.detach()
    assert float(weight[1:].square().sum(1).mean()) == pytest.approx(1, rel=0.05)


def test_features_of_characters():
    """The maximum over windows of three characters: of abc, the windows 0ab, abc and bc0."""
    embedding = TokenEmbedding(5, 2, characters=3, character_vocab_size=6)
    with torch.no_grad():
        embedding.characters.weight.copy_(torch.arange(6.0)[:, None].expand(-1, 30))
        embedding.convolution.weight.fill_(1 / 30)
        embedding.convolution.bias.fill_(0.5)
    found = embedding(torch.tensor([[[3, 1, 5, 2], [4, 2, PAD, PAD]]]))
    assert torch.equal(found[0, :, :2], embedding.tokens.weight[[3, 4]])
    torch.testing.assert_close(found[0, :, 2:], torch.tensor([[8.5], [2.5]]).expand(-1, 30))


@pytest.mark.parametrize("tie_weights", [False, True])
def test_a_sampled_softmax_estimates_the_whole_one(tie_weights):
    first, others = 4, VOCABULARY - 4
    inputs, _ = sequences("tokens")
    targets = sequences("tokens", seed=3)[0]
    targets[targets == PAD] = IGNORE_INDEX
    losses = {}
    for part in (None, (first, others), (first, 3)):
        network = language_model("gru", tie_weights=tie_weights, sampled_softmax=part).train()
        values = []
        for _ in range(500 if part == (first, 3) else 1):
            output, _ = network.output(inputs, None, targets)
            values.append(step_loss(output, network.encode_target(targets, inputs)))
        losses[part] = torch.stack(values).mean()
        assert network.eval().output(inputs, None, targets)[0].shape[-1] == VOCABULARY
    torch.testing.assert_close(losses[first, others], losses[None])
    torch.testing.assert_close(losses[first, 3], losses[None], rtol=0.1, atol=0)


@pytest.mark.parametrize("tie_weights", [False, True])
def test_the_vector_of_padding_is_never_read(tie_weights):
    """With tied weights it is trained as an output weight, and not zero."""
    network = language_model("gru", tie_weights=tie_weights)
    inputs, lengths = sequences("tokens")
    tokens, scores = decode(network, inputs, lengths, max_length=8, beams=3)
    assert (tokens == PAD).any()
    # The head keeps the vectors as they were.
    network.embedding = copy.deepcopy(network.embedding)
    with torch.no_grad():
        network.embedding.tokens.weight[PAD] = 9.0
    found, found_scores = decode(network, inputs, lengths, max_length=8, beams=3)
    assert torch.equal(found, tokens)
    close(found_scores, scores)


@pytest.mark.parametrize("freeze", [False, True])
def test_pretrained_vectors(freeze):
    embedding = TokenEmbedding(4, 2)
    before, nan = embedding.tokens.weight.detach().clone(), float("nan")
    embedding.load_pretrained(torch.tensor([[7.0, 7.0], [nan, nan], [1.0, 2.0], [nan, 3.0]]), freeze=freeze)
    weight = embedding.tokens.weight
    assert weight[[PAD, 2]].tolist() == [[0, 0], [1, 2]]
    assert torch.equal(weight[[1, 3]], before[[1, 3]])
    assert weight.requires_grad is not freeze


# Attention


def test_additive_attention():
    """score = v · tanh(W q + U k + b), weights = softmax over the valid steps, context = weighted mean of values."""
    attention = AdditiveAttention(1, 2, 1)
    with torch.no_grad():
        attention.query.weight.fill_(2.0)
        attention.key.weight.copy_(torch.tensor([[1.0, -1.0]]))
        attention.key.bias.fill_(0.1)
        attention.score.weight.fill_(3.0)
    values = torch.tensor([[[0.5, 0.2], [0.1, 0.4], [9.0, 9.0]]])
    memory = attention.memory(values, torch.tensor([[True, True, False]]))
    context, weights = attention(torch.tensor([[[0.3]]]), memory)
    scores = [3 * math.tanh(2 * 0.3 + 0.5 - 0.2 + 0.1), 3 * math.tanh(2 * 0.3 + 0.1 - 0.4 + 0.1)]
    shares = [math.exp(score) / sum(map(math.exp, scores)) for score in scores]
    torch.testing.assert_close(weights, torch.tensor([[[*shares, 0.0]]]))
    mean = [shares[0] * 0.5 + shares[1] * 0.1, shares[0] * 0.2 + shares[1] * 0.4]
    torch.testing.assert_close(context, torch.tensor([[mean]]))


def test_dot_attention():
    """score = q · K u."""
    attention = DotAttention(2, 1)
    with torch.no_grad():
        attention.key.weight.copy_(torch.tensor([[2.0], [-1.0]]))
    memory = attention.memory(torch.tensor([[[0.5], [0.1], [9.0]]]), torch.tensor([[True, True, False]]))
    context, weights = attention(torch.tensor([[[0.3, 0.4]]]), memory)
    shares = [math.exp(value * (2 * 0.3 - 0.4)) for value in (0.5, 0.1)]
    torch.testing.assert_close(weights, torch.tensor([[[*shares, 0.0]]]) / sum(shares))
    assert context.item() == pytest.approx((shares[0] * 0.5 + shares[1] * 0.1) / sum(shares))


# Networks


def test_targets_and_what_is_read_before_them():
    targets = torch.tensor([[7, 8, 5], [9, 5, IGNORE_INDEX]])
    assert shift_right(targets).tolist() == [[BOS, 7, 8], [BOS, 9, 5]]
    assert shift_right(torch.tensor([[7, IGNORE_INDEX, IGNORE_INDEX]])).tolist() == [[BOS, 7, PAD]]
    logits = torch.log(torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.9, 0.05, 0.05]]]))
    found = target_log_probabilities(logits, torch.tensor([[1, 2, IGNORE_INDEX]]))
    torch.testing.assert_close(found, torch.log(torch.tensor([[0.25, 0.7, 1.0]])))


@every_cell
@pytest.mark.parametrize(
    ("attention", "source"), [("none", ("lstm",)), ("additive", ("gru",)), ("dot", ("rnn", "lstm"))]
)
def test_teacher_forcing_is_stepping(cell, attention, source):
    network = translator(cell, source, attention=attention, bidirectional=True)
    inputs, lengths = sequences("tokens")
    targets, _ = sequences("tokens", [5] * 4, seed=3)
    with torch.no_grad():
        logits, _ = network.output(inputs, lengths, targets)
        tokens, state, memory = network.start(inputs, lengths, torch.arange(2))
        tokens, state = tokens.flatten(), tuple(part.flatten(0, 1) for part in state)
        for step in range(5):
            found, state = network.step(tokens, state, memory)
            # A step adds up the same products in another order.
            torch.testing.assert_close(found, logits[:, step].repeat_interleave(2, 0), rtol=1e-5, atol=1e-5)
            tokens = targets[:, step].repeat_interleave(2)


@pytest.mark.parametrize(("cell", "source"), [("lstm", "lstm"), ("lstm", "gru"), ("rnn", "lstm")])
def test_the_initial_state_is_made_of_all_final_states(cell, source):
    """Of both directions, and of an LSTM also the cell states."""
    network = translator(cell, (source,), bidirectional=True)
    inputs, lengths = sequences("tokens")
    with torch.no_grad():
        found, _ = network.encode(inputs, lengths)
        _, after = network.encoder(network.embedding(inputs), lengths)
        final = torch.cat([torch.cat([part[0], part[1]], -1) for part in after[-1]], -1)
        linear = final @ network.decoder.bridge.weight.T + network.decoder.bridge.bias
    close(found[0], torch.tanh(linear[:, :5]))
    assert len(found) == (2 if cell == "lstm" else 1)
    if cell == "lstm":
        close(found[1], linear[:, 5:])
    assert all(part.is_contiguous() for part in found)  # which cuDNN needs


def test_attention_weights_are_those_of_the_steps():
    network = translator("gru", attention="additive", reverse=True)
    inputs, lengths = sequences("tokens", [7] * 4)
    targets, _ = sequences("tokens", [3] * 4, seed=3)
    with torch.no_grad():
        weights = network.attention(inputs, lengths, targets)
        state, memory = network.encode(inputs, lengths)
        _, first = network.decoder.attention(state[0].unsqueeze(1), memory)
    close(weights[:, :1], first.flip(-1))
    assert translator("gru").attention(inputs, lengths, targets).shape == (4, 3, 0)
