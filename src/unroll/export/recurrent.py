"""`unroll::recurrent` in ONNX: one `RNN`, `GRU` or `LSTM` node a layer, time axis and batch left free.

The exporter's own translations freeze the time axis of bidirectional and plain RNN layers, and packed sequences do not
export at all; `sequence_lens` replaces packing.
"""

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset18 as op


def _translate(
    inputs: Any,
    input_weights: Any,
    recurrent_weights: Any,
    biases: Any,
    hidden: Any,
    cell_state: Any,
    lengths: Any,
    cell: str,
    nonlinearity: str,
) -> Any:
    directions, _, units = (int(size) for size in recurrent_weights.shape)
    direction = "bidirectional" if directions == 2 else "forward"
    # onnxruntime's CPU kernels support time-major sequences only.
    steps = op.Transpose(inputs, perm=[1, 0, 2])
    arguments = (steps, input_weights, recurrent_weights, biases, lengths, hidden)
    if cell == "lstm":
        outputs, final, final_cell_state = op.LSTM(*arguments, cell_state, hidden_size=units, direction=direction)
    elif cell == "gru":
        # torch's GRU applies the reset gate after the recurrent product.
        outputs, final = op.GRU(*arguments, hidden_size=units, direction=direction, linear_before_reset=1)
        final_cell_state = op.Identity(final)
    else:
        activation = {"tanh": "Tanh", "relu": "Relu"}[nonlinearity]
        outputs, final = op.RNN(
            *arguments, hidden_size=units, direction=direction, activations=[activation] * directions
        )
        final_cell_state = op.Identity(final)
    # [time, direction, batch, unit] → [batch, time, direction × unit]
    outputs = op.Reshape(op.Transpose(outputs, perm=[2, 0, 1, 3]), op.Constant(value_ints=[0, 0, -1]))
    return outputs, final, final_cell_state


def translation_table() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return the translations of unroll's own operators, for `torch.onnx.export`."""
    return {torch.ops.unroll.recurrent.default: _translate}
