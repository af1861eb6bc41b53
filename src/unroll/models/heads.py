"""Heads: from an encoding to what the loss sees, and the loss of tokens."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unroll.models.embedding import IGNORED

_ROWS = 256
"""Steps whose logits are made, used and forgotten at once: few enough to stay in a processor's cache."""


class LinearHead(nn.Linear):
    """One linear map, shared by all time steps where the encoding has them.

    Args:
        input_size: Features of the encoding.
        output_size: Features of the output.
        start_at_zero: Begins with an output of exactly zero: for residual forecasts, which then begin as persistence.
    """

    def __init__(self, input_size: int, output_size: int, *, start_at_zero: bool = False) -> None:
        super().__init__(input_size, output_size)
        if start_at_zero:
            nn.init.zeros_(self.weight)
            nn.init.zeros_(self.bias)

    def loss(self, encoding: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of `forward`'s logits for targets int64 [batch, time], in nats."""
        return token_loss(encoding, targets, self.weight, self.bias)


class MonotoneQuantileHead(nn.Module):
    """Quantiles that cannot cross: a median, and positive steps away from it on both sides.

    Args:
        input_size: Features of the encoding.
        levels: Rising quantile levels, symmetric about 0.5 and containing it.

    At the start the outputs are the quantiles of the standard normal distribution.

    Example:
        Levels 0.1, 0.5, 0.9: the linear map gives (a, m, b) and the quantiles are
        (m − softplus(a), m, m + softplus(b)).
    """

    def __init__(self, input_size: int, levels: tuple[float, ...]) -> None:
        super().__init__()
        self.middle = levels.index(0.5)
        self.linear = nn.Linear(input_size, len(levels))
        normal = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(levels))
        steps = normal.diff()
        with torch.no_grad():
            nn.init.zeros_(self.linear.weight)
            self.linear.bias.zero_()
            # The inverse of softplus, so that the first outputs are `normal`.
            self.linear.bias[: self.middle] = torch.log(torch.expm1(steps[: self.middle]))
            self.linear.bias[self.middle + 1 :] = torch.log(torch.expm1(steps[self.middle :]))

    def forward(self, encoding: Tensor) -> Tensor:
        """float32 [batch, input_size] → float32 [batch, level], rising along the last axis."""
        raw = self.linear(encoding)
        median = raw[:, self.middle : self.middle + 1]
        below = F.softplus(raw[:, : self.middle])
        above = F.softplus(raw[:, self.middle + 1 :])
        # Steps below are summed from the median outwards, so from right to left.
        lower = median - below.flip(1).cumsum(1).flip(1)
        return torch.cat([lower, median, median + above.cumsum(1)], dim=1)


def token_loss(features: Tensor, targets: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Mean cross-entropy of linear(features, weight, bias) in nats, without keeping these logits.

    A vocabulary's logits, their softmax and both gradients are the largest tensors of training by far; on a CPU,
    reading and writing them takes as long as the matrix products. So the gradient is computed with the loss, some
    rows at a time, and for padding neither.

    Args:
        features: float32 [batch, time, feature].
        targets: int64 [batch, time]; IGNORED ones are left out.
        weight: float32 [token, feature].
        bias: float32 [token].
    """
    if features.device.type != "cpu":
        logits = F.linear(features, weight, bias).float()
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
    there = targets != IGNORED
    loss: Tensor = _TokenLoss.apply(  # type: ignore[no-untyped-call]
        features[there], targets[there], weight, bias
    )
    return loss


class _TokenLoss(torch.autograd.Function):
    """Cross-entropy of [row, feature]; its gradient is softmax − one-hot, through the linear map."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, targets: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        total = features.new_zeros(())
        of_features, of_weight, of_bias = torch.empty_like(features), torch.zeros_like(weight), torch.zeros_like(bias)
        parts = (part.split(_ROWS) for part in (features, targets, of_features))
        for rows, those, gradient in zip(*parts, strict=True):
            chosen = those.unsqueeze(1)
            logs = torch.addmm(bias, rows, weight.T).log_softmax(1)
            total -= logs.gather(1, chosen).sum()
            of_logits = logs.exp_().scatter_add_(1, chosen, -torch.ones_like(chosen, dtype=logs.dtype))
            torch.mm(of_logits, weight, out=gradient)
            of_weight.addmm_(of_logits.T, rows)
            of_bias += of_logits.sum(0)
        ctx.save_for_backward(of_features, of_weight, of_bias)
        ctx.rows = len(features)
        return total / len(features)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
        of_features, of_weight, of_bias = (part * (gradient / ctx.rows) for part in ctx.saved_tensors)
        return of_features, None, of_weight, of_bias
