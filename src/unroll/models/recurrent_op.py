"""One recurrent layer as a single operator, for export.

`torch.export` does not handle packed sequences and freezes the time axis of bidirectional layers. While a model is
exported, `RecurrentLayer` therefore calls this operator, which `unroll.export.recurrent` translates to ONNX. It
has no implementation and no gradient.
"""

import torch
from torch import Tensor


@torch.library.custom_op("unroll::recurrent", mutates_args=())
def recurrent(
    inputs: Tensor,
    input_weights: Tensor,
    recurrent_weights: Tensor,
    biases: Tensor,
    hidden: Tensor | None,
    cell_state: Tensor | None,
    lengths: Tensor | None,
    cell: str,
    nonlinearity: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run one layer over right-padded sequences, with weights in ONNX's layout.

    Args:
        inputs: float32 [batch, time, feature].
        input_weights: float32 [direction, gate × unit, feature]; ONNX's order of gates.
        recurrent_weights: float32 [direction, gate × unit, unit].
        biases: float32 [direction, 2 × gate × unit]; input biases first.
        hidden: float32 [direction, batch, unit], or None for zeros.
        cell_state: Cell state of an LSTM, as `hidden`.
        lengths: int32 [batch], or None where no sequence is padded.
        cell: `rnn`, `gru` or `lstm`.
        nonlinearity: `tanh` or `relu`, of the plain RNN.

    Returns:
        Outputs [batch, time, direction × unit], last hidden state and last cell state [direction, batch, unit]; for
        other cells than the LSTM, the hidden state again.
    """
    raise NotImplementedError("unroll::recurrent exists while a model is exported, not to compute with")


@recurrent.register_fake
def _(
    inputs: Tensor,
    input_weights: Tensor,
    recurrent_weights: Tensor,
    biases: Tensor,
    hidden: Tensor | None,
    cell_state: Tensor | None,
    lengths: Tensor | None,
    cell: str,
    nonlinearity: str,
) -> tuple[Tensor, Tensor, Tensor]:
    directions, _, units = recurrent_weights.shape
    batch, time = inputs.shape[0], inputs.shape[1]
    outputs = inputs.new_empty((batch, time, directions * units))
    return outputs, inputs.new_empty((directions, batch, units)), inputs.new_empty((directions, batch, units))
