"""Networks that generate tokens: a language model, and an encoder with a decoder.

Both have `start` and `step`, which `unroll.models.decoding` searches or samples with and `unroll.export.decoding` puts
into a loop of the graph.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unroll.features.special_tokens import BOS, IGNORE_INDEX
from unroll.models.attention import Memory
from unroll.models.cells import State
from unroll.models.decoder import Decoder
from unroll.models.embedding import TokenEmbedding
from unroll.models.encoders import DenseEncoder, RecurrentEncoder
from unroll.models.heads import LinearHead, TiedHead, sampled_logits
from unroll.models.network import SequenceNetwork, States
from unroll.models.padding import join_directions, reverse_steps, valid_steps
from unroll.models.preprocessing import Preprocessing


def _encode_target(self: "LanguageModel | EncoderDecoder", targets: Tensor, inputs: Tensor) -> Tensor:
    """See `SequenceNetwork.encode_target`; targets are positions among the sampled logits where these are used."""
    encoded = self.preprocessing.encode_target(targets, inputs)
    return encoded.clamp_max(self.sampled_softmax[0]) if self.training and self.sampled_softmax else encoded


class LanguageModel(SequenceNetwork):
    """A one-way network that predicts each next token from those before it; it continues a prompt.

    Args:
        preprocessing: Leaves token numbers as they are.
        embedding: Embedding of the tokens.
        encoder: One-way.
        head: From the encoding to logits.
        dropout: Share of the encoding's features dropped before the head.
        sampled_softmax: (first, sampled) of `unroll.models.heads.sampled_logits`, which training then uses.
    """

    embedding: TokenEmbedding
    encoder: RecurrentEncoder
    head: LinearHead | TiedHead

    def __init__(
        self,
        preprocessing: Preprocessing,
        embedding: TokenEmbedding,
        encoder: RecurrentEncoder,
        head: LinearHead | TiedHead,
        *,
        dropout: float = 0.0,
        sampled_softmax: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(preprocessing, encoder, head, embedding=embedding, every_step=True, dropout=dropout)
        self.sampled_softmax = sampled_softmax

    def output(
        self,
        inputs: Tensor,
        lengths: Tensor | None = None,
        targets: Tensor | None = None,
        state: States | None = None,
    ) -> tuple[Tensor, States | None]:
        """Do the same as `SequenceNetwork.output`, but ignore `lengths`, which is faster.

        Padding on the right cannot change what a one-way network predicts before it. Targets mask the outputs there,
        and the state is that after the last step, padded or not.
        """
        if not self.training or self.sampled_softmax is None or targets is None:
            return super().output(inputs, None, targets, state)
        outputs, after = self.encoder(self.embedding(self.preprocessing.prepare(inputs, None)), None, state)
        hidden = self.head.project(self.dropout(outputs))
        return sampled_logits(hidden, self.head.weight, self.head.bias, targets, *self.sampled_softmax), after

    encode_target = _encode_target

    def start(self, inputs: Tensor, lengths: Tensor | None, ranks: Tensor) -> tuple[Tensor, State, Memory]:
        """Read a prompt up to its last token, which the first step reads.

        Args:
            inputs: int64 [batch, time], each at least one token.
            lengths: int64 [batch]; None where no prompt is padded.
            ranks: int64 [beam]: 0, 1, …; only its size matters.

        Returns:
            The last token of each hypothesis int64 [batch, beam], the state, tensors float32 [batch, beam, unit], and
            no memory.
        """
        lengths = torch.full_like(inputs[:, 0], inputs.shape[1]) if lengths is None else lengths.to(inputs.device)
        last = inputs.gather(1, (lengths - 1).unsqueeze(1)).expand(-1, ranks.shape[0])
        _, after = self.encoder(self.embedding(inputs), (lengths - 1).clamp_min(1))
        # A prompt of one token leaves nothing to read before it.
        alone = (lengths == 1).view(-1, 1)
        parts = [torch.where(alone, 0.0, part[0]) for layer in after for part in layer]
        return last, tuple(part.unsqueeze(1).expand(-1, ranks.shape[0], -1) for part in parts), ()

    def step(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        """Read `tokens`, int64 [row], with a state of tensors float32 [row, unit], where a row is a hypothesis.

        Returns:
            Logits float32 [row, vocabulary] and the new state.
        """
        parts = iter(state)
        layers = [tuple(itertools.islice(parts, count)) for count in self.encoder.states]
        output, after = self.encoder.step(self.embedding(tokens), layers)
        return self.head(self.dropout(output)), tuple(part for one in after for part in one)


class EncoderDecoder(nn.Module):
    """A network that reads a sequence or an image and writes tokens.

    Args:
        preprocessing: Raw inputs → features, or token numbers.
        encoder: Recurrent or dense.
        decoder: Writes.
        embedding: Embedding of the source tokens; None where inputs are numbers.
        reverse_source: Read the source from its end, so that what is written first was read last.
        sampled_softmax: As in `LanguageModel`.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        encoder: RecurrentEncoder | DenseEncoder,
        decoder: Decoder,
        *,
        embedding: TokenEmbedding | None = None,
        reverse_source: bool = False,
        sampled_softmax: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.preprocessing, self.embedding, self.encoder, self.decoder = preprocessing, embedding, encoder, decoder
        self.reverse_source, self.sampled_softmax = reverse_source, sampled_softmax

    def encode(self, inputs: Tensor, lengths: Tensor | None) -> tuple[State, Memory]:
        """Return the decoder's initial state and what it attends to."""
        features = self.preprocessing.prepare(inputs, lengths)
        if isinstance(self.encoder, DenseEncoder):
            return self.decoder.initial_state(self.encoder(features)), ()
        if self.reverse_source:
            features = reverse_steps(features, lengths)
        embedded = features if self.embedding is None else self.embedding(features)
        outputs, after = self.encoder(embedded, lengths)
        state = self.decoder.initial_state(torch.cat([join_directions(part) for part in after[-1]], -1))
        attention = self.decoder.attention
        return state, () if attention is None else attention.memory(outputs, valid_steps(outputs, lengths))

    def output(
        self,
        inputs: Tensor,
        lengths: Tensor | None = None,
        targets: Tensor | None = None,
        state: States | None = None,
    ) -> tuple[Tensor, None]:
        """Return logits float32 [batch, time, vocabulary] for targets int64 [batch, time], by teacher forcing."""
        if targets is None:
            raise ValueError("a decoder is trained on targets: without them, use `unroll.models.decoding.decode`")
        hidden, _ = self.decoder(shift_right(targets), *self.encode(inputs, lengths))
        if not self.training or self.sampled_softmax is None:
            return self.decoder.logits(hidden), None
        return sampled_logits(hidden, self.decoder.weight, self.decoder.bias, targets, *self.sampled_softmax), None

    encode_target = _encode_target

    def attention(self, inputs: Tensor, lengths: Tensor | None, targets: Tensor) -> Tensor:
        """Return attention weights float32 [batch, target, source] while `targets` are written."""
        weights: Tensor = self.decoder(shift_right(targets), *self.encode(inputs, lengths))[1]
        if not self.reverse_source:
            return weights
        # The encoder's outputs are in the order in which it read.
        return reverse_steps(weights.transpose(1, 2), lengths).transpose(1, 2)

    def start(self, inputs: Tensor, lengths: Tensor | None, ranks: Tensor) -> tuple[Tensor, State, Memory]:
        """See `LanguageModel.start`; the first step reads `<bos>`."""
        state, memory = self.encode(inputs, lengths)
        beams = ranks.shape[0]
        tokens = torch.full((inputs.shape[0], beams), BOS, dtype=torch.int64, device=inputs.device)
        state = tuple(part.unsqueeze(1).expand(-1, beams, -1) for part in state)
        return tokens, state, self.decoder.step_memory(memory)

    def step(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        """See `LanguageModel.step`."""
        return self.decoder.step(tokens, state, memory)


Generator = LanguageModel | EncoderDecoder
Network = SequenceNetwork | EncoderDecoder


def target_log_probabilities(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the log probability of each target, float32 [batch, time] in nats, 0 where it is padding."""
    chosen = logits.log_softmax(-1).gather(-1, targets.clamp_min(0).unsqueeze(-1)).squeeze(-1)
    return torch.where(targets == IGNORE_INDEX, 0.0, chosen)


def shift_right(targets: Tensor) -> Tensor:
    """Convert targets int64 [batch, time] to what is read before each: `<bos>`, then the previous target."""
    return F.pad(targets[:, :-1].clamp_min(0), (1, 0), value=BOS)
