"""Right-padded sequences: which steps are valid, the last valid state, reversal. `lengths` is None without padding."""

import torch
from torch import Tensor


def valid_steps(inputs: Tensor, lengths: Tensor | None) -> Tensor:
    """Return which steps of [batch, time, …] are not padding, as bool [batch, time]."""
    if lengths is None:
        return torch.ones_like(inputs.flatten(2)[:, :, 0] if inputs.dim() > 2 else inputs, dtype=torch.bool)
    steps = torch.arange(inputs.shape[1], device=inputs.device)
    return steps < lengths.to(inputs.device).unsqueeze(1)


def reverse_steps(inputs: Tensor, lengths: Tensor | None) -> Tensor:
    """Reverse the valid steps of [batch, time, …]; padding stays on the right.

    Example:
        (a, b, c, pad) of length 3 becomes (c, b, a, pad).
    """
    if lengths is None:
        return inputs.flip(1)
    steps = torch.arange(inputs.shape[1], device=inputs.device).expand(inputs.shape[0], -1)
    last = lengths.to(inputs.device).unsqueeze(1) - 1
    positions = torch.where(steps <= last, last - steps, steps)
    if inputs.dim() == 2:
        return inputs.gather(1, positions)
    return inputs.gather(1, positions.unsqueeze(-1).expand(-1, -1, inputs.shape[2]))


def join_directions(state: Tensor) -> Tensor:
    """Convert [direction, batch, unit] to [batch, direction × unit], forward direction first."""
    return state.transpose(0, 1).flatten(1)
