"""Attention: what of a sequence a decoder looks at."""

import torch
from torch import Tensor, nn

Memory = tuple[Tensor, ...]
"""What a decoder may look at in every step: () or (values, keys, valid)."""


class AdditiveAttention(nn.Module):
    """A weighted mean of a sequence, the weights told by a small network from the query and each step.

    Args:
        query_size: Features of the query.
        value_size: Features of a step.
        size: Of the hidden layer.

    Source: Bahdanau, Cho & Bengio 2015 (arXiv 1409.0473), section 3.1 and appendix A.1.2.
    """

    def __init__(self, query_size: int, value_size: int, size: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_size, size, bias=False)
        self.key = nn.Linear(value_size, size)
        self.score = nn.Linear(size, 1, bias=False)

    def memory(self, values: Tensor, valid: Tensor) -> Memory:
        """What is computed once a sequence: values [batch, time, feature], keys [batch, time, size], valid."""
        return values, self.key(values), valid

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Attends.

        Args:
            query: float32 [batch, beam, query_size].
            memory: Of `memory`; valid is bool [batch, time].

        Returns:
            Context float32 [batch, beam, value_size] and weights float32 [batch, beam, time], which sum to 1 over the
            valid steps.
        """
        values, keys, valid = memory
        hidden = torch.tanh(self.query(query).unsqueeze(2) + keys.unsqueeze(1))  # [batch, beam, time, size]
        scores = self.score(hidden).squeeze(-1).masked_fill(~valid.unsqueeze(1), -1e9)
        weights = scores.softmax(-1)
        return weights @ values, weights
