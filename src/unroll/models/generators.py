"""Networks that write: a language model, and an encoder with a decoder.

Both have `start` and `step`, which `unroll.models.decoding` searches or draws with and `unroll.export.decoding` puts
into a loop of the graph. Their states are tuples of float32 [batch, beam, unit].
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unroll.features.special_tokens import BOS, IGNORE_INDEX
from unroll.models.attention import Memory
from unroll.models.decoder import Decoder
from unroll.models.dense import DenseEncoder
from unroll.models.embedding import TokenEmbedding
from unroll.models.network import Preprocessing, SequenceNetwork, States, last_state
from unroll.models.preprocessing import valid_steps
from unroll.models.recurrent import RecurrentEncoder, State

Started = tuple[Tensor, State, Memory]
"""The last token of each hypothesis int64 [batch, beam], states, and what does not change from step to step."""


class LanguageModel(SequenceNetwork):
    """A one-way network that tells each next token from those before it; it goes on with a prompt.

    Args:
        preprocessing: Leaves token numbers as they are.
        embedding: Of the tokens.
        encoder: One-way.
        head: From the encoding to logits.
        dropout: Share of the encoding's features dropped before the head.
    """

    embedding: TokenEmbedding
    encoder: RecurrentEncoder

    def __init__(
        self,
        preprocessing: Preprocessing,
        embedding: TokenEmbedding,
        encoder: RecurrentEncoder,
        head: nn.Module,
        *,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(preprocessing, encoder, head, embedding=embedding, every_step=True, dropout=dropout)

    def output(
        self,
        inputs: Tensor,
        lengths: Tensor | None = None,
        targets: Tensor | None = None,
        state: States | None = None,
    ) -> tuple[Tensor, States | None]:
        """As `SequenceNetwork.output`, but `lengths` are not looked at, which is faster.

        What stands after a sequence's end cannot change what a one-way network tells before it; the outputs there are
        to be left out by the targets, and the state is that after the last step, padding or not.
        """
        return super().output(inputs, None, targets, state)

    def log_probabilities(
        self, inputs: Tensor, targets: Tensor, lengths: Tensor | None = None, state: States | None = None
    ) -> tuple[Tensor, States | None]:
        """Of each target, float32 [batch, time] in nats, 0 where it is padding; and the state after the last step."""
        output, after = self.output(inputs, lengths, state=state)
        return chosen_log_probabilities(output, targets), after

    def start(self, inputs: Tensor, lengths: Tensor | None, ranks: Tensor) -> Started:
        """Reads a prompt but for its last token, which the first step reads.

        Args:
            inputs: int64 [batch, time], each at least one token.
            lengths: int64 [batch]; None where no prompt is padded.
            ranks: int64 [beam]: 0, 1, …; its size is all that counts.
        """
        lengths = torch.full_like(inputs[:, 0], inputs.shape[1]) if lengths is None else lengths.to(inputs.device)
        last = inputs.gather(1, (lengths - 1).unsqueeze(1)).expand(-1, ranks.shape[0])
        _, after = self.encoder(self.embedding(inputs), (lengths - 1).clamp_min(1))
        # A prompt of one token leaves nothing to read before it.
        alone = (lengths == 1).view(-1, 1)
        parts = [torch.where(alone, 0.0, part[0]) for layer in after for part in layer]
        return last, tuple(part.unsqueeze(1).expand(-1, ranks.shape[0], -1) for part in parts), ()

    def step(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        """Logits float32 [batch, beam, vocabulary] of what follows `tokens`, int64 [batch, beam]; and the new state."""
        layers: list[State] = []
        left = list(state)
        for layer in self.encoder.layers:
            count = 2 if layer.cell == "lstm" else 1
            layers.append(tuple(left[:count]))
            left = left[count:]
        output, after = self.encoder.step(self.embedding(tokens), layers)
        return self.head(self.dropout(output)), tuple(part for one in after for part in one)


class EncoderDecoder(nn.Module):
    """A network that reads a sequence or an image and writes tokens.

    Args:
        preprocessing: Raw inputs → features, or token numbers.
        encoder: Recurrent or dense.
        decoder: Writes.
        embedding: Of the tokens that are read; None where inputs are numbers.
        reverse_source: Reads the source from its end, so that what is written first was read last.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        encoder: RecurrentEncoder | DenseEncoder,
        decoder: Decoder,
        *,
        embedding: TokenEmbedding | None = None,
        reverse_source: bool = False,
    ) -> None:
        super().__init__()
        self.preprocessing, self.embedding, self.encoder, self.decoder = preprocessing, embedding, encoder, decoder
        self.reverse_source = reverse_source

    def encode(self, inputs: Tensor, lengths: Tensor | None) -> tuple[State, Memory]:
        """The decoder's first state and what it may look at."""
        features = self.preprocessing.prepare(inputs, lengths)
        if isinstance(self.encoder, DenseEncoder):
            return self.decoder.start(self.encoder(features)), ()
        if self.reverse_source:
            features = reversed_steps(features, lengths)
        embedded = features if self.embedding is None else self.embedding(features)
        outputs, after = self.encoder(embedded, lengths)
        state = self.decoder.start(torch.cat([last_state(part) for part in after[-1]], -1))
        attention = self.decoder.attention
        return state, () if attention is None else attention.memory(outputs, valid_steps(inputs, lengths))

    def output(
        self,
        inputs: Tensor,
        lengths: Tensor | None = None,
        targets: Tensor | None = None,
        state: States | None = None,
    ) -> tuple[Tensor, None]:
        """Teacher forcing: logits float32 [batch, time, vocabulary] for targets int64 [batch, time]."""
        if targets is None:
            raise ValueError("a decoder is trained on targets: without them, use `unroll.models.decoding.decode`")
        logits, _ = self.decoder(shift_right(targets), *self.encode(inputs, lengths))
        return logits, None

    def attention(self, inputs: Tensor, lengths: Tensor | None, targets: Tensor) -> Tensor:
        """Attention weights float32 [batch, target, source] while `targets` are written."""
        weights: Tensor = self.decoder(shift_right(targets), *self.encode(inputs, lengths))[1]
        if not self.reverse_source:
            return weights
        # The encoder's outputs are in the order in which it read.
        return reversed_steps(weights.transpose(1, 2), lengths).transpose(1, 2)

    def start(self, inputs: Tensor, lengths: Tensor | None, ranks: Tensor) -> Started:
        """As `LanguageModel.start`; the first step reads `<bos>`."""
        state, memory = self.encode(inputs, lengths)
        beams = ranks.shape[0]
        tokens = torch.full((inputs.shape[0], beams), BOS, dtype=torch.int64, device=inputs.device)
        return tokens, tuple(part.unsqueeze(1).expand(-1, beams, -1) for part in state), memory

    def step(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        """As `LanguageModel.step`."""
        return self.decoder.step(tokens, state, memory)


Generator = LanguageModel | EncoderDecoder


def chosen_log_probabilities(logits: Tensor, targets: Tensor) -> Tensor:
    """Log probability of each target, float32 [batch, time] in nats, 0 where it is padding."""
    chosen = logits.log_softmax(-1).gather(-1, targets.clamp_min(0).unsqueeze(-1)).squeeze(-1)
    return torch.where(targets == IGNORE_INDEX, 0.0, chosen)


def shift_right(targets: Tensor) -> Tensor:
    """Targets int64 [batch, time] → what is read before each: `<bos>`, then the target before it."""
    return F.pad(targets[:, :-1].clamp_min(0), (1, 0), value=BOS)


def reversed_steps(inputs: Tensor, lengths: Tensor | None) -> Tensor:
    """Turns the valid steps of [batch, time, …] round; padding stays on the right.

    Example:
        (a, b, c, pad) of length 3 becomes (c, b, a, pad).
    """
    if lengths is None:
        return inputs.flip(1)
    steps = torch.arange(inputs.shape[1], device=inputs.device).expand(inputs.shape[0], -1)
    last = lengths.to(inputs.device).unsqueeze(1) - 1
    places = torch.where(steps <= last, last - steps, steps)
    if inputs.dim() == 2:
        return inputs.gather(1, places)
    return inputs.gather(1, places.unsqueeze(-1).expand(-1, -1, inputs.shape[2]))
