"""A recurrent layer over right-padded sequences on the CPU, without packing.

Torch runs packed sequences a step at a time, in a batch that shrinks. Unpacked ones take half the time or less: an LSTM
is then one operator of oneDNN, and GRU and RNN layers multiply all steps by their input weights at once.
"""

import torch
from torch import Tensor, nn

from unroll.models.cells import State
from unroll.models.padding import reverse_steps, valid_steps

_OPERATORS = {"GRU": torch.gru, "RNN_TANH": torch.rnn_tanh, "RNN_RELU": torch.rnn_relu}
_SATURATED = 1e4
"""Adds to a gate until its sigmoid is exactly 0 or 1."""


def run_padded(rnn: nn.RNNBase, inputs: Tensor, lengths: Tensor, state: State | None) -> tuple[Tensor, State]:
    """Run one layer, as on packed sequences.

    Args:
        rnn: One layer, one-way or bidirectional.
        inputs: float32 [batch, time, feature].
        lengths: int64 [batch], each at least 1.
        state: Initial state, each tensor [direction, batch, unit]; None for zeros.

    Returns:
        Outputs [batch, time, direction × unit], zero beyond each length, and the state after each sequence's last valid
        step.
    """
    padding = ~valid_steps(inputs, lengths).unsqueeze(-1)
    last = (lengths - 1).view(-1, 1, 1).expand(-1, 1, rnn.hidden_size)
    gated = isinstance(rnn, nn.LSTM)
    steps = inputs.masked_fill(padding, 0.0)
    if gated:
        steps = torch.cat([steps, padding.to(inputs.dtype)], -1)
    outputs, after = [], []
    for direction, suffix in enumerate(["", "_reverse"][: 2 if rnn.bidirectional else 1]):
        weight, *others = (
            rnn.get_parameter(f"{name}_l0{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        if state is None:
            before = inputs.new_zeros((2 if gated else 1, 1, len(inputs), rnn.hidden_size)).unbind()
        else:
            before = tuple(part[direction : direction + 1] for part in state)
        read = reverse_steps(steps, lengths) if direction else steps
        options = (
            True,
            1,
            0.0,
            rnn.training,
            False,
            True,
        )  # biases, layers, dropout, training, directions, batch first
        if gated:
            output, _, cell_state = torch.lstm(read, before, [torch.cat([weight, _hold(weight)], 1), *others], *options)
        else:
            output, _ = _OPERATORS[rnn.mode](read, before[0], [weight, *others], *options)
        hidden = output.gather(1, last).squeeze(1)
        after.append((hidden, cell_state[0]) if gated else (hidden,))
        outputs.append(reverse_steps(output, lengths) if direction else output)
    final = tuple(torch.stack(parts) for parts in zip(*after, strict=True))
    return torch.cat(outputs, -1).masked_fill(padding, 0.0), final


def _hold(weight: Tensor) -> Tensor:
    """Return weights of the padding mark: it closes the input gate and opens the forget gate; the cell state stays."""
    gates = weight.new_tensor([-_SATURATED, _SATURATED, 0.0, 0.0])  # torch's order: i, f, g, o
    return gates.repeat_interleave(len(weight) // 4).unsqueeze(1)
