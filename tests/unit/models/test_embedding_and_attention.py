"""Vectors of tokens and of their characters, and what attention makes of a sequence."""

import copy
import math

import pytest
import torch
from small_networks import VOCABULARY, language_model, randomised, reader, sequences, writer

from unroll.features import text
from unroll.features.special_tokens import PAD
from unroll.models import embedding as embedding_module
from unroll.models.attention import AdditiveAttention
from unroll.models.decoding import decode
from unroll.models.embedding import TokenEmbedding
from unroll.models.preprocessing import Tokens, valid_steps


@pytest.mark.parametrize("name", ["PAD", "UNK", "BOS", "EOS", "IGNORE_INDEX"])
def test_numbers_are_those_of_the_vocabularies(name):
    """Written twice, because models import nothing that is no torch."""
    assert getattr(embedding_module, name) == getattr(text, name)


def test_vectors_by_hand():
    embedding = TokenEmbedding(4, 2)
    with torch.no_grad():
        embedding.tokens.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    found = embedding(torch.tensor([[3, 1, PAD]]))
    assert found.tolist() == [[[5.0, 6.0], [1.0, 2.0], [0.0, 0.0]]]
    assert embedding.output_size == 2


def test_vectors_begin_as_long_as_one():
    """Of whatever size they are."""
    torch.manual_seed(0)
    for size in (8, 128):
        weight = TokenEmbedding(2000, size).tokens.weight.detach()
        assert float(weight[1:].square().sum(1).mean()) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("characters", [0, 3])
def test_paddings_vector_is_zero_and_stays_so(optimizer, characters):
    torch.manual_seed(0)
    embedding = TokenEmbedding(6, 4, characters=characters, character_vocab_size=5)
    step = optimizer(embedding.parameters(), lr=0.1, weight_decay=0.01)
    inputs = torch.randint(0, 5, (8, 7, 1 + characters) if characters else (8, 7))
    before = embedding.tokens.weight.detach().clone()
    for _ in range(5):
        step.zero_grad()
        (embedding(inputs) - 1).square().mean().backward()
        step.step()
    assert not embedding.tokens.weight[PAD].any()
    assert (embedding.tokens.weight[1:5] != before[1:5]).all()
    if characters:
        assert not embedding.characters.weight[PAD].any()


@pytest.mark.parametrize("tie_weights", [False, True])
def test_paddings_vector_is_read_by_nobody(tie_weights):
    """Where output weights are tied it is trained as one of them, and is no longer zero."""
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
    torch.testing.assert_close(found_scores, scores, rtol=0, atol=1e-6)


def test_a_tied_vector_of_padding_is_trained_as_an_output_weight():
    network = language_model("gru", tie_weights=True).train()
    inputs, _ = sequences("tokens")
    logits, _ = network.output(inputs)
    logits.log_softmax(-1)[:, :, 7].sum().backward()
    assert network.embedding.tokens.weight.grad[PAD].any()


def test_characters_by_hand():
    """Windows of three characters, the greatest of their sums: abc beside nothing is 0ab, abc and bc0."""
    embedding = TokenEmbedding(5, 2, characters=3, character_vocab_size=6)
    assert embedding.output_size == 32
    with torch.no_grad():
        embedding.characters.weight.copy_(torch.arange(6.0)[:, None].expand(-1, 30))
        embedding.convolution.weight.fill_(1 / 30)
        embedding.convolution.bias.fill_(0.5)
    found = embedding(torch.tensor([[[3, 1, 5, 2], [4, 2, PAD, PAD]]]))
    assert torch.equal(found[0, :, :2], embedding.tokens.weight[[3, 4]])
    torch.testing.assert_close(found[0, :, 2:], torch.tensor([[8.5], [2.5]]).expand(-1, 30))


def test_tokens_whose_characters_are_not_read():
    """[batch, time, 1], as tags have them without characters."""
    embedding = TokenEmbedding(5, 2)
    inputs = torch.tensor([[3, 1, PAD]])
    assert torch.equal(embedding(inputs.unsqueeze(-1)), embedding(inputs))


def test_characters_of_a_token_are_its_own():
    embedding = randomised(TokenEmbedding(5, 2, characters=3, character_vocab_size=6))
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 5, (4, 6, 4), generator=generator)
    changed = inputs.clone()
    changed[1, 2, 1:] = (changed[1, 2, 1:] + 1) % 5
    one, other = embedding(inputs), embedding(changed)
    differs = (one != other).any(-1)
    assert differs.nonzero().tolist() == [[1, 2]]


def test_dropout_reaches_the_vectors():
    embedding = TokenEmbedding(20, 50, dropout=0.5)
    inputs = torch.randint(1, 20, (4, 6))
    assert 0.4 < float((embedding(inputs) == 0).float().mean()) < 0.6
    assert not (embedding.eval()(inputs) == 0).any()


@pytest.mark.parametrize("freeze", [False, True])
def test_given_vectors(freeze):
    torch.manual_seed(0)
    embedding = TokenEmbedding(4, 2)
    before = embedding.tokens.weight.detach().clone()
    nothing = float("nan")
    embedding.load(torch.tensor([[7.0, 7.0], [nothing, nothing], [1.0, 2.0], [nothing, 3.0]]), freeze=freeze)
    weight = embedding.tokens.weight
    assert weight[2].tolist() == [1, 2]
    assert torch.equal(weight[[1, 3]], before[[1, 3]])
    assert not weight[PAD].any()
    assert weight.requires_grad is not freeze


def test_tokens_are_what_they_are():
    units = Tokens()
    inputs = torch.tensor([[3, 1]])
    units.fit(inputs, inputs)
    assert units.prepare(inputs, torch.tensor([1])) is inputs
    assert units.encode_target(inputs, inputs) is inputs
    torch.testing.assert_close(units.decode(torch.tensor([[0.0, math.log(3.0)]]), inputs), torch.tensor([[0.25, 0.75]]))
    assert not list(units.parameters())
    assert not list(units.buffers())


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 2), (3, 4, 2, 5)])
def test_valid_steps_by_hand(shape):
    expected = [[True, False, False, False], [True] * 4, [True, True, True, False]]
    inputs = torch.zeros(shape)
    assert valid_steps(inputs, torch.tensor([1, 4, 3])).tolist() == expected
    found = valid_steps(inputs, None)
    assert (found.dtype, found.shape) == (torch.bool, (3, 4))
    assert found.all()


# Attention


def test_attention_by_hand():
    """score = v · tanh(W q + U k + b), weights = softmax over the valid steps, context = their mean of values."""
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


@pytest.mark.parametrize("size", [0.1, 1.0, 30.0])
def test_weights_sum_to_one_over_the_valid_steps(size):
    attention = randomised(AdditiveAttention(4, 3, 5), spread=size)
    generator = torch.Generator().manual_seed(0)
    values, query = torch.randn(4, 6, 3, generator=generator), torch.randn(4, 2, 4, generator=generator)
    lengths = torch.tensor([6, 1, 3, 5])
    context, weights = attention(query, attention.memory(values, valid_steps(values, lengths)))
    assert context.shape == (4, 2, 3)
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, 2))
    for row, length in enumerate(lengths):
        assert not weights[row, :, length:].any()
        torch.testing.assert_close(context[row], weights[row, :, :length] @ values[row, :length])
    # One step is all there is to look at.
    assert weights[1, :, 0].tolist() == [1, 1]


def test_each_hypothesis_looks_by_itself():
    attention = randomised(AdditiveAttention(4, 3, 5))
    generator = torch.Generator().manual_seed(0)
    values, query = torch.randn(2, 6, 3, generator=generator), torch.randn(2, 3, 4, generator=generator)
    memory = attention.memory(values, torch.ones(2, 6, dtype=torch.bool))
    context, weights = attention(query, memory)
    for beam in range(3):
        own_context, own_weights = attention(query[:, beam : beam + 1], memory)
        torch.testing.assert_close(context[:, beam], own_context[:, 0])
        torch.testing.assert_close(weights[:, beam], own_weights[:, 0])


def test_attention_of_a_decoder_is_what_it_wrote_with():
    """The weights that are drawn are those of the steps: the first looks with the first state."""
    network = writer("gru", attention=True)
    inputs, lengths = sequences("tokens")
    targets, _ = sequences("tokens", [3] * 4, seed=3)
    with torch.no_grad():
        weights = network.attention(inputs, lengths, targets)
        state, memory = network.encode(inputs, lengths)
        _, first = network.decoder.attention(state[0].unsqueeze(1), memory)
    assert weights.shape == (4, 3, inputs.shape[1])
    torch.testing.assert_close(weights[:, :1], first)


def test_an_embedding_reads_tokens_with_characters_and_without():
    for kind in ("tokens", "characters"):
        network = reader(kind, ["gru"])
        inputs, lengths = sequences(kind)
        assert network.embedding(inputs).shape == (*inputs.shape[:2], network.embedding.output_size)
        assert network(inputs, lengths).shape == (4, 4)
    assert reader("tokens", ["gru"]).embedding.tokens.num_embeddings == VOCABULARY
