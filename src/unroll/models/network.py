"""A whole network: units, encoder and head; and several of them averaged."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unroll.models.dense import DenseEncoder
from unroll.models.recurrent import RecurrentEncoder
from unroll.models.units import ByteImages, EwmaReturns, LogReturns, PriceLevels

Units = ByteImages | PriceLevels | LogReturns | EwmaReturns


class SequenceNetwork(nn.Module):
    """From raw inputs to raw outputs.

    Args:
        units: Raw units ↔ what the network learns from.
        encoder: Recurrent or dense.
        head: From the encoding to the output.
        every_step: Many to many in step: the head reads every step; otherwise it reads the last valid state of each
            direction.
        dropout: Share of the encoding's features dropped before the head.
    """

    def __init__(
        self,
        units: Units,
        encoder: RecurrentEncoder | DenseEncoder,
        head: nn.Module,
        *,
        every_step: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.units, self.encoder, self.head = units, encoder, head
        self.every_step = every_step
        self.dropout = nn.Dropout(dropout)

    def output(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Raw inputs [batch, time, feature] → what the loss compares, [batch, (time,) output]."""
        return self.read(self.units.prepare(inputs), lengths)

    def read(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """As `output`, from prepared features, float32 [batch, time, feature]."""
        if isinstance(self.encoder, DenseEncoder):
            encoding = self.encoder(features)
        else:
            outputs, state = self.encoder(features, lengths)
            encoding = outputs if self.every_step else last_state(state[-1][0])
        result: Tensor = self.head(self.dropout(encoding))
        return result

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Raw inputs [batch, time, feature] → raw outputs, in the task's unit."""
        return self.units.decode(self.output(inputs, lengths), inputs)


def last_state(hidden: Tensor) -> Tensor:
    """[direction, batch, unit] → [batch, direction × unit]: forward state first."""
    return hidden.transpose(0, 1).flatten(1)


class Ensemble(nn.Module):
    """The mean of several networks' raw outputs: what is exported."""

    def __init__(self, members: Sequence[SequenceNetwork]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, inputs: Tensor) -> Tensor:
        """As `SequenceNetwork.forward`."""
        outputs = [member(inputs) for member in self.members]
        return outputs[0] if len(outputs) == 1 else torch.stack(outputs).mean(0)


class Classifier(nn.Module):
    """An ensemble of classifiers with its decision: the most probable class."""

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.ensemble = ensemble

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Raw inputs → (class int64 [batch], probabilities float32 [batch, class])."""
        probabilities = self.ensemble(inputs)
        return probabilities.argmax(-1), probabilities
