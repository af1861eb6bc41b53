"""Networks with one output per sequence or per step, and what is exported of them: their mean, and its decision."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unroll.models.cells import State
from unroll.models.embedding import TokenEmbedding
from unroll.models.encoders import DenseEncoder, RecurrentEncoder
from unroll.models.padding import join_directions, valid_steps
from unroll.models.preprocessing import Preprocessing

States = Sequence[State]
"""The state of each layer."""


class SequenceNetwork(nn.Module):
    """Preprocessing, embedding, encoder and head: from raw inputs to raw outputs.

    Args:
        preprocessing: Raw units ↔ what the network learns from.
        encoder: Recurrent or dense.
        head: From the encoding to the output.
        embedding: Embedding of the tokens; None where inputs are numbers.
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
        """Compute what the loss compares with the encoded targets.

        Args:
            inputs: Raw, [batch, time, …].
            lengths: int64 [batch]; None where no sequence is padded.
            targets: For teacher forcing, in networks with a decoder.
            state: Initial state of each layer; None for zeros.

        Returns:
            [batch, (time,) output], and each layer's state after the last valid step.
        """
        return self.from_features(self.preprocessing.prepare(inputs, lengths), lengths, state)

    def encode_target(self, targets: Tensor, inputs: Tensor) -> Tensor:
        """Return what `output` is compared with."""
        return self.preprocessing.encode_target(targets, inputs)

    def from_features(
        self, features: Tensor, lengths: Tensor | None = None, state: States | None = None
    ) -> tuple[Tensor, States | None]:
        """Compute `output` from prepared features, float32 [batch, time, feature]."""
        if isinstance(self.encoder, DenseEncoder):
            return self.head(self.dropout(self.encoder(features))), None
        embedded = features if self.embedding is None else self.embedding(features)
        outputs, after = self.encoder(embedded, lengths, state)
        encoding = outputs if self.every_step else pool(outputs, after, lengths, self.pooling)
        return self.head(self.dropout(encoding)), after

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map raw inputs [batch, time, feature] to raw outputs in the task's unit."""
        output, _ = self.output(inputs, lengths)
        return self.preprocessing.decode(output, inputs)


def pool(outputs: Tensor, state: States, lengths: Tensor | None, pooling: str) -> Tensor:
    """Return one vector per sequence, float32 [batch, direction × unit].

    Args:
        outputs: Outputs of the top layer, float32 [batch, time, direction × unit], zero beyond each length.
        state: State of each layer after the last valid step.
        lengths: int64 [batch], or None where no sequence is padded.
        pooling: `last`: each direction's last valid state, forward first; `mean` or `max`: of the valid outputs.
    """
    if pooling == "last":
        return join_directions(state[-1][0])
    valid = valid_steps(outputs, lengths).unsqueeze(-1)
    if pooling == "mean":
        return outputs.sum(1) / valid.sum(1)
    return torch.where(valid, outputs, -torch.inf).amax(1)


class Ensemble(nn.Module):
    """The mean of several networks' raw outputs."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """See `SequenceNetwork.forward`."""
        outputs = [member(inputs, lengths) for member in self.members]
        return outputs[0] if len(outputs) == 1 else torch.stack(outputs).mean(0)


class Classifier(nn.Module):
    """An ensemble with its decision: the most probable class."""

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.ensemble = ensemble

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map raw inputs to (class int64 [batch], probabilities float32 [batch, class])."""
        probabilities = self.ensemble(inputs, lengths)
        return probabilities.argmax(-1), probabilities


class TokenClassifier(nn.Module):
    """An ensemble with its decision for every step: the most probable label."""

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.ensemble = ensemble

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map raw inputs to (labels int64 [batch, time], probabilities float32 [batch, time]), 0 beyond lengths."""
        scores, labels = self.ensemble(inputs, lengths).max(-1)
        valid = valid_steps(inputs, lengths)
        return torch.where(valid, labels, 0), torch.where(valid, scores, 0.0)
