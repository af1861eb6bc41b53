"""An encoder without recurrence: what a network reaches that sees the whole input at once."""

from collections.abc import Sequence

from torch import Tensor, nn


class DenseEncoder(nn.Module):
    """Fully connected layers over a flattened input of fixed size.

    Args:
        input_size: Features of the flattened input.
        units: Width of each layer, from the input up.
        nonlinearity: `relu` or `tanh`.
        dropout: Share of features dropped between layers.
    """

    def __init__(
        self, input_size: int, units: Sequence[int], *, nonlinearity: str = "relu", dropout: float = 0.0
    ) -> None:
        super().__init__()
        activation = {"relu": nn.ReLU, "tanh": nn.Tanh}[nonlinearity]
        stages: list[nn.Module] = [nn.Flatten()]
        size = input_size
        for index, width in enumerate(units):
            if index:
                stages.append(nn.Dropout(dropout))
            stages += [nn.Linear(size, width), activation()]
            size = width
        self.layers = nn.Sequential(*stages)
        self.output_size = size

    def forward(self, inputs: Tensor) -> Tensor:
        """float32 [batch, time, feature] → float32 [batch, output_size]."""
        encoded: Tensor = self.layers(inputs)
        return encoded
