"""An LSTM layer over right-padded sequences on the CPU, without packing.

oneDNN runs unpacked sequences only, and takes half the time of torch's own loop over packed ones.
"""

import torch
from torch import Tensor, nn

from unroll.models.cells import State
from unroll.models.padding import reverse_steps, valid_steps

_SATURATED = 1e4
"""Adds to a gate until its sigmoid is exactly 0 or 1."""


def run_padded(lstm: nn.LSTM, inputs: Tensor, lengths: Tensor, state: State | None) -> tuple[Tensor, State]:
    """Run one layer, as on packed sequences.

    Args:
        lstm: One layer, one-way or bidirectional.
        inputs: float32 [batch, time, feature].
        lengths: int64 [batch], each at least 1.
        state: Initial hidden state and cell state, each [direction, batch, unit]; None for zeros.

    Returns:
        Outputs [batch, time, direction × unit], zero beyond each length, and hidden state and cell state after each
        sequence's last valid step.
    """
    padding = ~valid_steps(inputs, lengths).unsqueeze(-1)
    last = (lengths - 1).view(-1, 1, 1).expand(-1, 1, lstm.hidden_size)
    marked = torch.cat([inputs.masked_fill(padding, 0.0), padding.to(inputs.dtype)], -1)
    outputs, hidden, cell_state = [], [], []
    for direction, suffix in enumerate(["", "_reverse"][: 2 if lstm.bidirectional else 1]):
        weight, *others = (
            lstm.get_parameter(f"{name}_l0{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        if state is None:
            before = inputs.new_zeros((2, 1, len(inputs), lstm.hidden_size)).unbind()
        else:
            before = tuple(part[direction : direction + 1] for part in state)
        steps = reverse_steps(marked, lengths) if direction else marked
        parameters = [torch.cat([weight, _hold(weight)], 1), *others]
        output, _, after = torch.lstm(steps, before, parameters, True, 1, 0.0, lstm.training, False, True)
        hidden.append(output.gather(1, last).squeeze(1))
        cell_state.append(after[0])
        outputs.append(reverse_steps(output, lengths) if direction else output)
    return torch.cat(outputs, -1).masked_fill(padding, 0.0), (torch.stack(hidden), torch.stack(cell_state))


def _hold(weight: Tensor) -> Tensor:
    """Return weights of the padding mark: it closes the input gate and opens the forget gate; the cell state stays."""
    gates = weight.new_tensor([-_SATURATED, _SATURATED, 0.0, 0.0])  # torch's order: i, f, g, o
    return gates.repeat_interleave(len(weight) // 4).unsqueeze(1)
