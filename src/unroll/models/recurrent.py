"""One recurrent layer over right-padded sequences."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from unroll.models.cells import CELLS, State
from unroll.models.padded import run_padded
from unroll.models.recurrent_op import recurrent


class RecurrentLayer(nn.Module):
    """One RNN, GRU or LSTM layer, one-way or bidirectional.

    Args:
        cell: `rnn`, `gru` or `lstm`.
        input_size: Features of a time step.
        units: Size of the hidden state, in each direction.
        bidirectional: Read the sequence from its end, too.
        nonlinearity: `tanh` or `relu`, for the plain RNN; the gated cells have theirs built in.
    """

    def __init__(
        self, cell: str, input_size: int, units: int, *, bidirectional: bool = False, nonlinearity: str = "tanh"
    ) -> None:
        super().__init__()
        self.cell, self.units, self.nonlinearity = cell, units, nonlinearity
        self.directions = 2 if bidirectional else 1
        self.output_size = units * self.directions
        self.states = CELLS[cell].states
        options = {"nonlinearity": nonlinearity} if cell == "rnn" else {}
        self.rnn = CELLS[cell].layer(input_size, units, batch_first=True, bidirectional=bidirectional, **options)

    def forward(
        self, inputs: Tensor, lengths: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Run the layer.

        Args:
            inputs: float32 [batch, time, feature], right-padded.
            lengths: int64 [batch], each at least 1; None where no sequence is padded.
            state: Initial state; None for zeros.

        Returns:
            Outputs float32 [batch, time, direction × unit], zero beyond each length, and the state after each
            sequence's last valid step.
        """
        if torch.compiler.is_exporting():
            return self._export(inputs, lengths, state)
        device, dtype = inputs.device.type, self.input_parameters[0].dtype
        # Autocast would run cuDNN's recurrent layers in float16, whatever type it was asked for, and float16 needs loss
        # scaling: they stay in the type of their weights. On the CPU, oneDNN has an LSTM in bfloat16, and nothing else.
        allowed = device == "cpu" and isinstance(self.rnn, nn.LSTM)
        with torch.autocast(device, enabled=allowed and torch.is_autocast_enabled(device)):
            inputs = inputs.to(dtype)
            state = None if state is None else tuple(part.to(dtype) for part in state)
            initial = state[0] if state is not None and self.states == 1 else state
            if lengths is None:
                outputs, final = self.rnn(inputs, initial)
            elif device == "cpu":
                outputs, final = run_padded(self.rnn, inputs, lengths, state)
            else:
                packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
                packed_outputs, final = self.rnn(packed, initial)
                outputs, _ = pad_packed_sequence(packed_outputs, batch_first=True, total_length=inputs.shape[1])
        final = final if isinstance(final, tuple) else (final,)
        return outputs.to(dtype), tuple(part.to(dtype) for part in final)

    def step(self, inputs: Tensor, state: State) -> State:
        """Run a one-way layer for one time step.

        Args:
            inputs: float32 [..., feature].
            state: Each tensor float32 [..., unit].

        Returns:
            The state after the step; its first tensor, the hidden state, is also the output.
        """
        return self.step_from(F.linear(inputs, *self.input_parameters), state)

    def step_from(self, from_input: Tensor, state: State) -> State:
        """Do the same as `step`, given the input's share of the gates, float32 [..., gate × unit], bias included."""
        weight, bias = self.rnn.get_parameter("weight_hh_l0"), self.rnn.get_parameter("bias_hh_l0")
        return CELLS[self.cell].step(from_input, F.linear(state[0], weight, bias), state, self.nonlinearity)

    @property
    def input_parameters(self) -> tuple[Tensor, Tensor]:
        """Input weights [gate × unit, feature] and biases [gate × unit] of the forward direction."""
        return self.rnn.get_parameter("weight_ih_l0"), self.rnn.get_parameter("bias_ih_l0")

    def _export(self, inputs: Tensor, lengths: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        final: State
        outputs, *final = recurrent(
            inputs,
            self._onnx_parameter("weight_ih"),
            self._onnx_parameter("weight_hh"),
            torch.cat([self._onnx_parameter("bias_ih"), self._onnx_parameter("bias_hh")], dim=1),
            None if state is None else state[0],
            state[1] if state is not None and self.states > 1 else None,
            None if lengths is None else lengths.to(torch.int32),
            self.cell,
            self.nonlinearity,
        )
        return outputs, tuple(final[: self.states])

    def _onnx_parameter(self, name: str) -> Tensor:
        """Return a parameter of all directions with its gates in ONNX's order: [direction, gate × unit, …]."""
        order = list(CELLS[self.cell].onnx_gates)
        suffixes = ["", "_reverse"][: self.directions]
        tensors = [getattr(self.rnn, f"{name}_l0{suffix}") for suffix in suffixes]
        return torch.stack([tensor.unflatten(0, (len(order), -1))[order].flatten(0, 1) for tensor in tensors])
