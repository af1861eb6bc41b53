"""`unroll::recurrent` in ONNX: one `LSTM`, `GRU`, `RNN` or `Scan` node a layer, time axis and batch left free.

The exporter's own translations freeze the time axis of bidirectional and plain RNN layers, and packed sequences do not
export at all; `sequence_lens` replaces packing.
"""

from collections.abc import Callable
from typing import Any

import torch
from onnx import TensorProto
from onnxscript import FLOAT, graph, script
from onnxscript import opset18 as op

_STATE = FLOAT["batch", "unit"]


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
    elif nonlinearity == "relu":
        outputs, final = op.RNN(*arguments, hidden_size=units, direction=direction, activations=["Relu"] * directions)
        final_cell_state = op.Identity(final)
    else:
        outputs, final = _tanh_rnn(*arguments)
        final_cell_state = op.Identity(final)
    # [time, direction, batch, unit] → [batch, time, direction × unit]
    outputs = op.Reshape(op.Transpose(outputs, perm=[2, 0, 1, 3]), op.Constant(value_ints=[0, 0, -1]))
    return outputs, final, final_cell_state


def _tanh_rnn(
    steps: Any, input_weights: Any, recurrent_weights: Any, biases: Any, lengths: Any, hidden: Any
) -> tuple[Any, Any]:
    """Return what `RNN` returns, in a quarter of its time on batches: onnxruntime's takes each tanh by itself."""
    directions, units, _ = (int(size) for size in recurrent_weights.shape)
    time, batch = op.Shape(steps, start=0, end=1), op.Shape(steps, start=1, end=2)
    valid = op.Expand(time, batch) if lengths is None else op.Cast(lengths, to=TensorProto.INT64)
    if hidden is None:
        shape = op.Concat(op.Constant(value_ints=[directions]), batch, op.Constant(value_ints=[units]), axis=0)
        hidden = op.ConstantOfShape(shape)
    biases = op.ReduceSum(op.Reshape(biases, [directions, 2, units]), [1], keepdims=0)
    outputs, finals = [], []
    for direction in range(directions):
        weights, recurrent, bias, initial = (
            op.Gather(part, direction, axis=0) for part in (input_weights, recurrent_weights, biases, hidden)
        )
        read = op.ReverseSequence(steps, valid, batch_axis=1, time_axis=0) if direction else steps
        # The inputs' share is one product for all steps.
        shares = op.Add(op.MatMul(read, op.Transpose(weights, perm=[1, 0])), bias)
        states, final = _scan(shares, recurrent, initial)
        backwards = op.ReverseSequence(states, valid, batch_axis=1, time_axis=0)
        finals.append(final if lengths is None else op.Gather(backwards, 0, axis=0))
        outputs.append(op.Unsqueeze(backwards if direction else states, [1]))
        finals[-1] = op.Unsqueeze(finals[-1], [0])
    joined, final = op.Concat(*outputs, axis=1), op.Concat(*finals, axis=0)
    if lengths is not None:
        inside = op.Less(op.Range(0, op.Squeeze(time), 1), op.Unsqueeze(valid, [1]))  # [batch, time]
        joined = op.Where(op.Unsqueeze(op.Transpose(inside, perm=[1, 0]), [1, 3]), joined, 0.0)
    return joined, final


@script(default_opset=op)  # type: ignore[untyped-decorator]
def _scan(shares: FLOAT, recurrent: FLOAT, initial: FLOAT) -> tuple[FLOAT, FLOAT]:
    """Return the states [time, batch, unit] and the last one, given the inputs' share of each."""

    @graph()  # type: ignore[untyped-decorator]
    def step(before: _STATE, share: _STATE):  # type: ignore[no-untyped-def, valid-type]
        after = op.Tanh(op.Gemm(before, recurrent, share, transB=1))
        return after, op.Identity(after)

    final, states = op.Scan(initial, shares, body=step, num_scan_inputs=1)
    return states, final


def translation_table() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return the translations of unroll's own operators, for `torch.onnx.export`."""
    return {torch.ops.unroll.recurrent.default: _translate}
