"""Heads: from an encoding to what the loss compares."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unroll.models.embedding import TokenEmbedding


class LinearHead(nn.Linear):
    """One linear map, applied to every step where the encoding has steps.

    Args:
        input_size: Features of the encoding.
        output_size: Features of the output.
        start_at_zero: Start with an output of exactly zero, so that a residual forecast starts as persistence.
    """

    def __init__(self, input_size: int, output_size: int, *, start_at_zero: bool = False) -> None:
        super().__init__(input_size, output_size)
        if start_at_zero:
            nn.init.zeros_(self.weight)
            nn.init.zeros_(self.bias)

    def project(self, encoding: Tensor) -> Tensor:
        """Return what the output weights are applied to: the encoding itself."""
        return encoding


class TiedHead(nn.Module):
    """Logits of tokens, with the embedding's vectors as output weights.

    Args:
        input_size: Features of the encoding.
        embedding: Embedding whose vectors are used.

    Source: Press & Wolf 2017 (arXiv 1608.05859).
    """

    def __init__(self, input_size: int, embedding: TokenEmbedding) -> None:
        super().__init__()
        size = embedding.output_size
        self.embedding = embedding
        self.projection = nn.Identity() if input_size == size else nn.Linear(input_size, size)
        self.dropout = nn.Dropout(embedding.dropout.p)
        self.bias = nn.Parameter(torch.zeros(embedding.tokens.num_embeddings))

    @property
    def weight(self) -> Tensor:
        """Output weights, float32 [vocabulary, embedding size]."""
        return self.embedding.tokens.weight

    def project(self, encoding: Tensor) -> Tensor:
        """Map float32 [..., input_size] to float32 [..., embedding size]."""
        if isinstance(self.projection, nn.Identity):
            return encoding
        projected: Tensor = self.dropout(self.projection(encoding))
        return projected

    def forward(self, encoding: Tensor) -> Tensor:
        """Map float32 [..., input_size] to float32 [..., vocabulary]."""
        return F.linear(self.project(encoding), self.weight, self.bias)


class MonotoneQuantileHead(nn.Module):
    """Quantiles that cannot cross: a median, and positive steps away from it on both sides.

    Args:
        input_size: Features of the encoding.
        levels: Rising quantile levels, symmetric about 0.5 and containing it.
        outputs: Numbers whose quantiles are given; None for one, without an axis of its own.

    The initial outputs are the quantiles of the standard normal distribution.

    Example:
        Levels 0.1, 0.5, 0.9: the linear map gives (a, m, b) and the quantiles are
        (m − softplus(a), m, m + softplus(b)).
    """

    def __init__(self, input_size: int, levels: tuple[float, ...], outputs: int | None = None) -> None:
        super().__init__()
        self.middle, self.outputs = levels.index(0.5), outputs
        self.linear = nn.Linear(input_size, len(levels) * (outputs or 1))
        normal = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(levels))
        steps = normal.diff()
        with torch.no_grad():
            nn.init.zeros_(self.linear.weight)
            self.linear.bias.zero_()
            # The inverse of softplus, so that the initial outputs are `normal`.
            bias = self.linear.bias.view(-1, len(levels))
            bias[:, : self.middle] = torch.log(torch.expm1(steps[: self.middle]))
            bias[:, self.middle + 1 :] = torch.log(torch.expm1(steps[self.middle :]))

    def forward(self, encoding: Tensor) -> Tensor:
        """Map float32 [batch, input_size] to float32 [batch, (output,) level], rising along the last axis."""
        raw = self.linear(encoding)
        if self.outputs is not None:
            raw = raw.unflatten(1, (self.outputs, -1))
        median = raw[..., self.middle : self.middle + 1]
        below = F.softplus(raw[..., : self.middle])
        above = F.softplus(raw[..., self.middle + 1 :])
        # Steps below are summed from the median outwards, so from right to left.
        lower = median - below.flip(-1).cumsum(-1).flip(-1)
        return torch.cat([lower, median, median + above.cumsum(-1)], dim=-1)


def sampled_logits(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, first: int, sampled: int) -> Tensor:
    """Return the logits of a part of the tokens, to train with a large vocabulary.

    The softmax's denominator contains all of the first tokens, which are the most frequent ones; a random sample of the
    other tokens stands for all of these.

    Args:
        hidden: float32 [batch, time, feature].
        weight: Output weights, float32 [vocabulary, feature].
        bias: float32 [vocabulary].
        targets: int64 [batch, time].
        first: Number of tokens with a logit of their own.
        sampled: Number of other tokens to sample.

    Returns:
        float32 [batch, time, first + 1 + sampled]. The logit after those of the first tokens is the target's own
        if the target is not one of them.

    Source: Jean et al. 2015 (arXiv 1412.2007, section 3), with strata.
    """
    others = len(bias) - first
    sample = first + torch.randperm(others, device=hidden.device)[:sampled]
    known = F.linear(hidden, weight[:first], bias[:first])
    # Each sampled token stands for so many.
    drawn = F.linear(hidden, weight[sample], bias[sample] + math.log(others / sampled))
    drawn = drawn.masked_fill(sample == targets.unsqueeze(-1), -torch.inf)
    chosen = targets.clamp_min(0)
    own = (hidden * weight[chosen]).sum(-1, keepdim=True) + bias[chosen].unsqueeze(-1)
    return torch.cat([known, own.masked_fill((targets < first).unsqueeze(-1), -torch.inf), drawn], -1)
