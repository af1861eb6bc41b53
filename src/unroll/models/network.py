"""Whole networks that read: preprocessing, embedding, encoder and head; several of them averaged; what they decide."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unroll.models.dense import DenseEncoder
from unroll.models.embedding import TokenEmbedding
from unroll.models.preprocessing import ByteImages, EwmaReturns, Frames, LogReturns, PriceLevels, Tokens, valid_steps
from unroll.models.recurrent import RecurrentEncoder, State

Preprocessing = ByteImages | PriceLevels | LogReturns | EwmaReturns | Tokens | Frames
States = Sequence[State]


class SequenceNetwork(nn.Module):
    """From raw inputs to raw outputs.

    Args:
        preprocessing: Raw units ↔ what the network learns from.
        encoder: Recurrent or dense.
        head: From the encoding to the output.
        embedding: Of tokens; None where inputs are numbers.
        every_step: Many to many in step: the head reads every step.
        pooling: Otherwise it reads the `last` valid state of each direction, or the `mean` or `max` of the valid
            outputs.
        dropout: Share of the encoding's features dropped before the head.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        encoder: RecurrentEncoder | DenseEncoder,
        head: nn.Module,
        *,
        embedding: TokenEmbedding | None = None,
        every_step: bool = False,
        pooling: str = "last",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.preprocessing, self.embedding, self.encoder, self.head = preprocessing, embedding, encoder, head
        self.every_step, self.pooling = every_step, pooling
        self.dropout = nn.Dropout(dropout)

    def output(
        self,
        inputs: Tensor,
        lengths: Tensor | None = None,
        targets: Tensor | None = None,
        state: States | None = None,
    ) -> tuple[Tensor, States | None]:
        """What the loss compares.

        Args:
            inputs: Raw, [batch, time, …].
            lengths: int64 [batch]; None where no sequence is padded.
            targets: Of networks that write alone: what they are to write, for teacher forcing.
            state: Each layer's state to begin with; None for zeros.

        Returns:
            [batch, (time,) output], and each layer's state after the last valid step.
        """
        return self.read(self.preprocessing.prepare(inputs, lengths), lengths, state)

    def read(
        self, features: Tensor, lengths: Tensor | None = None, state: States | None = None
    ) -> tuple[Tensor, States | None]:
        """As `output`, from prepared features, float32 [batch, time, feature]."""
        if isinstance(self.encoder, DenseEncoder):
            return self.head(self.dropout(self.encoder(features))), None
        embedded = features if self.embedding is None else self.embedding(features)
        outputs, after = self.encoder(embedded, lengths, state)
        encoding = outputs if self.every_step else pooled(outputs, after, lengths, self.pooling)
        return self.head(self.dropout(encoding)), after

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Raw inputs [batch, time, feature] → raw outputs, in the task's unit."""
        output, _ = self.output(inputs, lengths)
        return self.preprocessing.decode(output, inputs)


def pooled(outputs: Tensor, state: States, lengths: Tensor | None, pooling: str) -> Tensor:
    """One vector a sequence.

    Args:
        outputs: The top layer's, float32 [batch, time, direction × unit], zero beyond each length.
        state: Each layer's, after the last valid step.
        lengths: int64 [batch], or None where no sequence is padded.
        pooling: `last`: each direction's last valid state, forward first; `mean` or `max`: of the valid outputs.
    """
    if pooling == "last":
        return last_state(state[-1][0])
    valid = valid_steps(outputs, lengths).unsqueeze(-1)
    if pooling == "mean":
        return outputs.sum(1) / valid.sum(1)
    return torch.where(valid, outputs, -torch.inf).amax(1)


def last_state(hidden: Tensor) -> Tensor:
    """[direction, batch, unit] → [batch, direction × unit]: forward state first."""
    return hidden.transpose(0, 1).flatten(1)


class TiedHead(nn.Module):
    """Logits of tokens by the vectors that they are read with.

    Args:
        input_size: Features of the encoding.
        embedding: Whose vectors are used.

    Source: Press & Wolf 2017 (arXiv 1608.05859).
    """

    def __init__(self, input_size: int, embedding: TokenEmbedding) -> None:
        super().__init__()
        size = embedding.output_size
        self.embedding = embedding
        self.projection = nn.Identity() if input_size == size else nn.Linear(input_size, size)
        self.dropout = nn.Dropout(embedding.dropout.p)
        self.bias = nn.Parameter(torch.zeros(embedding.tokens.num_embeddings))

    def forward(self, encoding: Tensor) -> Tensor:
        """float32 [..., input_size] → float32 [..., vocabulary]."""
        projected = self.projection(encoding)
        if not isinstance(self.projection, nn.Identity):
            projected = self.dropout(projected)
        return F.linear(projected, self.embedding.tokens.weight, self.bias)


class Ensemble(nn.Module):
    """The mean of several networks' raw outputs: what is exported."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """As `SequenceNetwork.forward`."""
        outputs = [member(inputs, lengths) for member in self.members]
        return outputs[0] if len(outputs) == 1 else torch.stack(outputs).mean(0)


class Classifier(nn.Module):
    """An ensemble of classifiers with its decision: the most probable class."""

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.ensemble = ensemble

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Raw inputs → (class int64 [batch], probabilities float32 [batch, class])."""
        probabilities = self.ensemble(inputs, lengths)
        return probabilities.argmax(-1), probabilities


class TokenClassifier(nn.Module):
    """An ensemble that labels every step, with its decisions."""

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.ensemble = ensemble

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Raw inputs → (labels int64 [batch, time], their probabilities float32 [batch, time]), 0 beyond lengths."""
        scores, labels = self.ensemble(inputs, lengths).max(-1)
        valid = valid_steps(inputs, lengths)
        return torch.where(valid, labels, 0), torch.where(valid, scores, 0.0)
