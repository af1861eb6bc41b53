"""Small networks of every topology with random weights, and inputs of variable length for them."""

import torch

from unroll.models.decoder import Decoder
from unroll.models.embedding import TokenEmbedding
from unroll.models.encoders import RecurrentEncoder
from unroll.models.generators import EncoderDecoder, LanguageModel
from unroll.models.heads import LinearHead, TiedHead
from unroll.models.network import SequenceNetwork
from unroll.models.preprocessing import Frames, Tokens

CELLS = ["rnn", "gru", "lstm"]
VOCABULARY = 11
LETTERS = 9
"""Size of the vocabulary of characters, of which each token has three."""
FEATURES = 3
LENGTHS = [7, 1, 4, 6]


def randomized(network, seed=1, std=0.5):
    """Draw all weights and biases, so that none is zero but the vectors of padding; in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
        for module in network.modules():
            if isinstance(module, torch.nn.Embedding) and module.padding_idx is not None:
                module.weight[module.padding_idx] = 0
        for name, value in network.named_buffers():
            if name.endswith(("mean", "deviation")):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return network.eval()


def encoder(size, cells, bidirectional=False, units=5, **options):
    return RecurrentEncoder(size, [(cell, units) for cell in cells], bidirectional=bidirectional, **options)


def reader(kind, cells, bidirectional=False, **options):
    """A network that reads tokens, tokens with characters, or frames; its head has four outputs."""
    embedding = None
    if kind == "frames":
        preprocessing, size = Frames(FEATURES), 2 * FEATURES
    else:
        preprocessing, characters = Tokens(), 3 if kind == "characters" else 0
        embedding = TokenEmbedding(VOCABULARY, 4, characters=characters, character_vocab_size=LETTERS)
        size = embedding.output_size
    stack = encoder(size, cells, bidirectional)
    head = LinearHead(stack.output_size, 4)
    return randomized(SequenceNetwork(preprocessing, stack, head, embedding=embedding, **options))


def translator(cell, source=("gru",), *, attention="none", bidirectional=False, reverse=False, seed=1):
    """An encoder of tokens, and a decoder."""
    embedding = TokenEmbedding(VOCABULARY, 4)
    stack = encoder(4, source, bidirectional)
    decoder = Decoder(cell, 5, embedding, stack.state_size, attention=attention, value_size=stack.output_size)
    return randomized(EncoderDecoder(Tokens(), stack, decoder, embedding=embedding, reverse_source=reverse), seed, 0.8)


def language_model(*cells, tie_weights=False, seed=1, **options):
    embedding = TokenEmbedding(VOCABULARY, 4)
    stack = encoder(4, cells)
    head = TiedHead(stack.output_size, embedding) if tie_weights else LinearHead(stack.output_size, VOCABULARY)
    return randomized(LanguageModel(Tokens(), embedding, stack, head, **options), seed, 0.8)


def sequences(kind, lengths=LENGTHS, seed=0):
    """Inputs [sample, time, …], right-padded, and their lengths."""
    generator = torch.Generator().manual_seed(seed)
    steps, count = max(lengths), len(lengths)
    if kind == "frames":
        inputs = torch.randn(count, steps, FEATURES, generator=generator) * 3 + 5
    elif kind == "characters":
        letters = torch.randint(0, LETTERS, (count, steps, 3), generator=generator)
        tokens = torch.randint(1, VOCABULARY, (count, steps, 1), generator=generator)
        inputs = torch.cat([tokens, letters], -1)
    else:
        inputs = torch.randint(1, VOCABULARY, (count, steps), generator=generator)
    for row, length in enumerate(lengths):
        inputs[row, length:] = 0
    return inputs, torch.tensor(lengths)


def padded(inputs, more, fill=0):
    """More steps on the right."""
    return torch.cat([inputs, inputs.new_full((len(inputs), more, *inputs.shape[2:]), fill)], dim=1)


def garbled(inputs, lengths):
    """Two more steps, and garbage in the padding."""
    inputs = padded(inputs, 2)
    inside = torch.arange(inputs.shape[1]) < lengths[:, None]
    inside = inside.view(*inside.shape, *[1] * (inputs.dim() - 2))
    return torch.where(inside, inputs, float("nan") if inputs.is_floating_point() else 7)


def close(found, expected):
    # Relative, too: float32 numbers above 1 are 1.2e-7 apart and more.
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
