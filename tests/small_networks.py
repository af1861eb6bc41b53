"""Small networks of every topology with weights of chance, and inputs of varying length for them."""

import torch

from unroll.models.decoder import Decoder
from unroll.models.dense import DenseEncoder
from unroll.models.embedding import TokenEmbedding
from unroll.models.generators import EncoderDecoder, LanguageModel
from unroll.models.heads import LinearHead
from unroll.models.network import SequenceNetwork, TiedHead
from unroll.models.preprocessing import ByteImages, Frames, Tokens
from unroll.models.recurrent import RecurrentEncoder

CELLS = ["rnn", "gru", "lstm"]
VOCABULARY = 11
LETTERS = 9
"""Size of the vocabulary of characters, of which each token has three."""
FEATURES = 3
LENGTHS = [7, 1, 4, 6]


def randomised(network, seed=1, spread=0.5):
    """In evaluation mode, with all weights and biases by chance: none of them zero, but for padding's vector."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
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
    """A network that reads tokens, tokens with characters, or frames; its head gives four numbers."""
    embedding = None
    if kind.startswith("frames"):
        units = Frames(FEATURES, normalize="normalized" in kind, deltas="deltas" in kind)
        size = FEATURES * (2 if units.deltas else 1)
    else:
        units, characters = Tokens(), 3 if kind == "characters" else 0
        embedding = TokenEmbedding(VOCABULARY, 4, characters=characters, character_vocab_size=LETTERS)
        size = embedding.output_size
    stack = encoder(size, cells, bidirectional)
    head = LinearHead(stack.output_size, 4)
    return randomised(SequenceNetwork(units, stack, head, embedding=embedding, **options))


def writer(cell, read=("gru",), *, attention=False, bidirectional=False, reverse=False, seed=1):
    """An encoder of tokens, and a decoder."""
    embedding = TokenEmbedding(VOCABULARY, 4)
    stack = encoder(4, read, bidirectional)
    states = 2 if read[-1] == "lstm" else 1
    value_size = stack.output_size if attention else 0
    decoder = Decoder(cell, 5, embedding, states * stack.output_size, value_size=value_size)
    return randomised(EncoderDecoder(Tokens(), stack, decoder, embedding=embedding, reverse_source=reverse), seed, 0.8)


def captioner(cell):
    """A dense encoder of images of 4 × 3 pixels, and a decoder."""
    decoder = Decoder(cell, 5, TokenEmbedding(VOCABULARY, 4), 6)
    return randomised(EncoderDecoder(ByteImages(), DenseEncoder(12, (6,)), decoder), spread=0.8)


def language_model(*cells, tie_weights=False, seed=1):
    embedding = TokenEmbedding(VOCABULARY, 4)
    stack = encoder(4, cells)
    head = TiedHead(stack.output_size, embedding) if tie_weights else LinearHead(stack.output_size, VOCABULARY)
    return randomised(LanguageModel(Tokens(), embedding, stack, head), seed, 0.8)


def sequences(kind, lengths=LENGTHS, seed=0):
    """Inputs [sample, time, …] with padding after each length, and the lengths."""
    generator = torch.Generator().manual_seed(seed)
    steps, count = max(lengths), len(lengths)
    if kind.startswith("frames"):
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


def padded(inputs, more, fill=None):
    """More steps on the right: zeros, or what must never be looked at."""
    shape = (len(inputs), more, *inputs.shape[2:])
    return torch.cat([inputs, inputs.new_full(shape, 0 if fill is None else fill)], dim=1)


def images(count=4, seed=0):
    return torch.randint(0, 256, (count, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
