"""`unroll::recurrent` in ONNX: one `RNN`, `GRU` or `LSTM` node a layer, time axis and batch left free.

The exporter's own translations freeze the time axis of bidirectional and plain-RNN layers, and packed sequences do not
export at all; `sequence_lens` says the same with one input.
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
    memory: Any,
    lengths: Any,
    cell: str,
    nonlinearity: str,
) -> Any:
    directions, _, units = (int(size) for size in recurrent_weights.shape)
    direction = "bidirectional" if directions == 2 else "forward"
    # onnxruntime's CPU kernels know time-major sequences alone.
    steps = op.Transpose(inputs, perm=[1, 0, 2])
    arguments = (steps, input_weights, recurrent_weights, biases, lengths, hidden)
    if cell == "lstm":
        outputs, end, end_memory = op.LSTM(*arguments, memory, hidden_size=units, direction=direction)
    elif cell == "gru":
        # Torch's GRU applies the reset gate after the recurrent product.
        outputs, end = op.GRU(*arguments, hidden_size=units, direction=direction, linear_before_reset=1)
        end_memory = op.Identity(end)
    else:
        activation = {"tanh": "Tanh", "relu": "Relu"}[nonlinearity]
        outputs, end = op.RNN(*arguments, hidden_size=units, direction=direction, activations=[activation] * directions)
        end_memory = op.Identity(end)
    # [time, direction, batch, unit] → [batch, time, direction × unit]
    outputs = op.Reshape(op.Transpose(outputs, perm=[2, 0, 1, 3]), op.Constant(value_ints=[0, 0, -1]))
    return outputs, end, end_memory


def translation_table() -> dict[Callable[..., Any], Callable[..., Any]]:
    """What `torch.onnx.export` needs to know of unroll's own operators."""
    return {torch.ops.unroll.recurrent.default: _translate}
