"""Heads: from an encoding to what the loss sees."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
