"""Attention of a decoder over the encoder's outputs."""

import torch
from torch import Tensor, nn

Memory = tuple[Tensor, ...]
"""What a decoder attends to in every step: (values, keys, padding), or () without attention."""

_PADDING = -1e9
"""Added to the scores of padding, whose weights are then zero."""


class AdditiveAttention(nn.Module):
    """A weighted mean over time, with weights from a small network of the query and each step.

    Args:
        query_size: Features of the query.
        value_size: Features of a step.
        size: Size of the hidden layer.

    Source: Bahdanau, Cho & Bengio 2015 (arXiv 1409.0473), section 3.1 and appendix A.1.2.
    """

    def __init__(self, query_size: int, value_size: int, size: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_size, size, bias=False)
        self.key = nn.Linear(value_size, size)
        self.score = nn.Linear(size, 1, bias=False)

    def memory(self, values: Tensor, valid: Tensor) -> Memory:
        """Compute what all steps share.

        Args:
            values: float32 [batch, time, feature].
            valid: bool [batch, time].

        Returns:
            The values, keys float32 [batch, time, size], and what is added to the scores, float32 [batch, time].
        """
        return values, self.key(values), torch.where(valid, 0.0, _PADDING)

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Attend to the memory.

        Args:
            query: float32 [batch, beam, query_size].
            memory: From `memory`.

        Returns:
            Context float32 [batch, beam, value_size] and weights float32 [batch, beam, time], which sum to 1 over the
            valid steps.
        """
        values, keys, padding = memory
        hidden = torch.tanh(self.query(query).unsqueeze(2) + keys.unsqueeze(1))  # [batch, beam, time, size]
        scores = self.score(hidden).squeeze(-1) + padding.unsqueeze(1)
        weights = scores.softmax(-1)
        return weights @ values, weights


class DotAttention(nn.Module):
    """A weighted mean over time, with weights from the product of the query and a linear map of each step.

    Args:
        query_size: Features of the query.
        value_size: Features of a step.

    Source: Luong, Pham & Manning 2015 (arXiv 1508.04025), the score that they call "general".
    """

    def __init__(self, query_size: int, value_size: int) -> None:
        super().__init__()
        self.key = nn.Linear(value_size, query_size, bias=False)

    def memory(self, values: Tensor, valid: Tensor) -> Memory:
        """See `AdditiveAttention.memory`."""
        return values, self.key(values), torch.where(valid, 0.0, _PADDING)

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """See `AdditiveAttention.forward`."""
        values, keys, padding = memory
        weights = (query @ keys.transpose(1, 2) + padding.unsqueeze(1)).softmax(-1)
        return weights @ values, weights
