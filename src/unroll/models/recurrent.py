"""Recurrent layers and the one encoder made of them: cell × direction × depth, mixed stacks included."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from unroll.models.recurrent_op import recurrent

State = tuple[Tensor, ...]
"""What a layer hands on: (hidden,) or, for an LSTM, (hidden, cell state), each float32 [direction, batch, unit]."""

# Torch keeps the gates of an LSTM as i, f, g, o and of a GRU as r, z, n; ONNX wants i, o, f, c and z, r, h.
_ONNX_GATE_ORDER = {"rnn": (0,), "gru": (1, 0, 2), "lstm": (0, 3, 1, 2)}


class RecurrentLayer(nn.Module):
    """One RNN, GRU or LSTM layer, one-way or bidirectional, over right-padded sequences.

    Args:
        cell: `rnn`, `gru` or `lstm`.
        input_size: Features of a time step.
        units: Size of the hidden state, in each direction.
        bidirectional: Reads the sequence from its end, too.
        nonlinearity: `tanh` or `relu`, of the plain RNN; the gated cells have theirs built in.
    """

    def __init__(
        self, cell: str, input_size: int, units: int, *, bidirectional: bool = False, nonlinearity: str = "tanh"
    ) -> None:
        super().__init__()
        self.cell, self.units, self.nonlinearity = cell, units, nonlinearity
        self.directions = 2 if bidirectional else 1
        self.output_size = units * self.directions
        self.rnn: nn.RNNBase
        if cell == "lstm":
            self.rnn = nn.LSTM(input_size, units, batch_first=True, bidirectional=bidirectional)
        elif cell == "gru":
            self.rnn = nn.GRU(input_size, units, batch_first=True, bidirectional=bidirectional)
        elif cell == "rnn":
            self.rnn = nn.RNN(
                input_size, units, batch_first=True, bidirectional=bidirectional, nonlinearity=nonlinearity
            )
        else:
            raise ValueError(f"unknown cell {cell!r}: use rnn, gru or lstm")

    def forward(
        self, inputs: Tensor, lengths: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Runs the layer.

        Args:
            inputs: float32 [batch, time, feature], right-padded.
            lengths: int64 [batch], each at least 1; None where no sequence is padded.
            state: The state to begin with; None for zeros.

        Returns:
            Outputs float32 [batch, time, direction × unit], zero beyond each length, and the state after each
            sequence's last valid step.
        """
        if torch.compiler.is_exporting():
            return self._export(inputs, lengths, state)
        # Autocast takes cuDNN's recurrent layers to float16, whatever type it was asked for, and float16 needs its loss
        # scaled: they stay in the type of their weights.
        with torch.autocast(inputs.device.type, enabled=False):
            dtype = self.input_parameters[0].dtype
            inputs = inputs.to(dtype)
            state = None if state is None else tuple(part.to(dtype) for part in state)
            start = None if state is None else (state if self.cell == "lstm" else state[0])
            if lengths is None:
                outputs, end = self.rnn(inputs, start)
            else:
                packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
                packed_outputs, end = self.rnn(packed, start)
                outputs, _ = pad_packed_sequence(packed_outputs, batch_first=True, total_length=inputs.shape[1])
        return outputs, end if self.cell == "lstm" else (end,)

    def step(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """One time step of a one-way layer, by the cell's equations.

        Args:
            inputs: float32 [..., feature].
            state: (hidden,) or (hidden, cell state), each float32 [..., unit].

        Returns:
            Output float32 [..., unit], and the state after the step.
        """
        return self.step_from(F.linear(inputs, *self.input_parameters), state)

    @property
    def input_parameters(self) -> tuple[Tensor, Tensor]:
        """Weight [gate × unit, feature] and bias [gate × unit] of what is read, forward direction."""
        return self.rnn.get_parameter("weight_ih_l0"), self.rnn.get_parameter("bias_ih_l0")

    def step_from(self, from_input: Tensor, state: State) -> tuple[Tensor, State]:
        """As `step`, from the input's share of the gates, float32 [..., gate × unit], its bias included."""
        hidden = state[0]
        weight, bias = self.rnn.get_parameter("weight_hh_l0"), self.rnn.get_parameter("bias_hh_l0")
        from_state = F.linear(hidden, weight, bias)
        if self.cell == "lstm":
            enter, forget, new, out = (from_input + from_state).chunk(4, -1)
            memory = forget.sigmoid() * state[1] + enter.sigmoid() * new.tanh()
            hidden = out.sigmoid() * memory.tanh()
            return hidden, (hidden, memory)
        if self.cell == "gru":
            reset_in, update_in, new_in = from_input.chunk(3, -1)
            reset_state, update_state, new_state = from_state.chunk(3, -1)
            update = (update_in + update_state).sigmoid()
            new = (new_in + (reset_in + reset_state).sigmoid() * new_state).tanh()
            hidden = new + update * (hidden - new)
            return hidden, (hidden,)
        total = from_input + from_state
        hidden = total.tanh() if self.nonlinearity == "tanh" else total.relu()
        return hidden, (hidden,)

    def _export(self, inputs: Tensor, lengths: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        outputs, hidden, memory = recurrent(
            inputs,
            self._stacked("weight_ih"),
            self._stacked("weight_hh"),
            torch.cat([self._stacked("bias_ih"), self._stacked("bias_hh")], dim=1),
            None if state is None else state[0],
            state[1] if state is not None and self.cell == "lstm" else None,
            None if lengths is None else lengths.to(torch.int32),
            self.cell,
            self.nonlinearity,
        )
        return outputs, (hidden, memory) if self.cell == "lstm" else (hidden,)

    def _stacked(self, name: str) -> Tensor:
        """A parameter of all directions, its gates in ONNX's order: [direction, gate × unit, …]."""
        order = list(_ONNX_GATE_ORDER[self.cell])
        suffixes = ["", "_reverse"][: self.directions]
        tensors = [getattr(self.rnn, f"{name}_l0{suffix}") for suffix in suffixes]
        return torch.stack([tensor.unflatten(0, (len(order), -1))[order].flatten(0, 1) for tensor in tensors])


class RecurrentEncoder(nn.Module):
    """A stack of recurrent layers.

    Args:
        input_size: Features of a time step.
        layers: (cell, units) of each layer, from the input up; cells may differ.
        bidirectional: Each layer reads both ways.
        nonlinearity: Of plain RNN cells.
        initialization: Of the recurrent weights: `orthogonal`, `xavier`, `he` or `uniform` (torch's default).
        forget_bias: Bias of the LSTM's forget gate at the start; 1 lets gradients through from the first step on.
        layer_norm: Layer normalization between layers.
        dropout: Share of features dropped between layers.
        tbptt_steps: Truncated backpropagation through time: while training, the gradient stops every so many steps and
            the state is carried on. None lets it flow through the whole sequence.

    Source: Elman 1990; Hochreiter & Schmidhuber 1997; Cho et al. 2014; Schuster & Paliwal 1997; Williams & Peng 1990.
    """

    def __init__(
        self,
        input_size: int,
        layers: Sequence[tuple[str, int]],
        *,
        bidirectional: bool = False,
        nonlinearity: str = "tanh",
        initialization: str = "orthogonal",
        forget_bias: float = 1.0,
        layer_norm: bool = False,
        dropout: float = 0.0,
        tbptt_steps: int | None = None,
    ) -> None:
        super().__init__()
        self.tbptt_steps = tbptt_steps
        self.layers = nn.ModuleList()
        self.between = nn.ModuleList()
        size = input_size
        for index, (cell, units) in enumerate(layers):
            if index:
                norm = nn.LayerNorm(size) if layer_norm else nn.Identity()
                self.between.append(nn.Sequential(norm, nn.Dropout(dropout)))
            layer = RecurrentLayer(cell, size, units, bidirectional=bidirectional, nonlinearity=nonlinearity)
            initialize(layer, initialization, forget_bias)
            self.layers.append(layer)
            size = layer.output_size
        self.output_size = size

    def forward(
        self, inputs: Tensor, lengths: Tensor | None = None, state: Sequence[State] | None = None
    ) -> tuple[Tensor, list[State]]:
        """Encodes right-padded sequences.

        Args:
            inputs: float32 [batch, time, feature].
            lengths: int64 [batch], each at least 1; None where no sequence is padded.
            state: One state a layer, to begin with; None for zeros.

        Returns:
            The top layer's outputs, float32 [batch, time, output_size], zero beyond each length, and each layer's
            state after the last valid step.
        """
        if self.tbptt_steps is None or not torch.is_grad_enabled() or torch.compiler.is_exporting():
            return self._run(inputs, lengths, state)
        pieces = []
        for start in range(0, inputs.shape[1], self.tbptt_steps):
            piece = inputs[:, start : start + self.tbptt_steps]
            before = None if state is None else [tuple(part.detach() for part in layer) for layer in state]
            outputs, state = self._run_piece(piece, None if lengths is None else lengths - start, before)
            pieces.append(outputs)
        return torch.cat(pieces, dim=1), list(state or [])

    def step(self, inputs: Tensor, state: Sequence[State]) -> tuple[Tensor, list[State]]:
        """One time step of a one-way stack: float32 [..., input_size] → [..., output_size], and the new states."""
        after: list[State] = []
        for index, layer in enumerate(self.layers):
            if index:
                inputs = self.between[index - 1](inputs)
            inputs, end = layer.step(inputs, state[index])  # type: ignore[operator]
            after.append(end)
        return inputs, after

    def _run_piece(
        self, inputs: Tensor, left: Tensor | None, state: Sequence[State] | None
    ) -> tuple[Tensor, list[State]]:
        """As `_run`, where sequences may have ended before this piece (`left` ≤ 0): they keep their state."""
        if left is None:
            return self._run(inputs, None, state)
        # Lengths may lie on the CPU while the rest is on a GPU.
        alive = (left > 0).to(inputs.device)
        outputs, after = self._run(inputs, left.clamp(1, inputs.shape[1]), state)
        outputs = torch.where(alive[:, None, None], outputs, 0.0)
        if state is not None:
            after = [
                tuple(torch.where(alive[None, :, None], new, old) for new, old in zip(news, olds, strict=True))
                for news, olds in zip(after, state, strict=True)
            ]
        return outputs, after

    def _run(self, inputs: Tensor, lengths: Tensor | None, state: Sequence[State] | None) -> tuple[Tensor, list[State]]:
        after: list[State] = []
        for index, layer in enumerate(self.layers):
            if index:
                inputs = self.between[index - 1](inputs)
            inputs, end = layer(inputs, lengths, None if state is None else state[index])
            after.append(end)
        return inputs, after


def initialize(layer: RecurrentLayer, recurrent_weights: str, forget_bias: float) -> None:
    """Sets a layer's weights for training, gate by gate.

    Input weights are Xavier-uniform (He where the recurrent weights are), biases zero but for the LSTM's forget gate.

    Source: Saxe et al. 2014 (orthogonal), Glorot & Bengio 2010 (xavier), He et al. 2015 (he), Jozefowicz et al. 2015
    (forget bias 1).
    """
    rules: tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]] | None
    if recurrent_weights == "uniform":
        rules = None
    elif recurrent_weights in ("orthogonal", "xavier"):
        recurrent_rule = nn.init.orthogonal_ if recurrent_weights == "orthogonal" else nn.init.xavier_uniform_
        rules = (nn.init.xavier_uniform_, recurrent_rule)
    elif recurrent_weights == "he":
        rules = (nn.init.kaiming_uniform_, nn.init.kaiming_uniform_)
    else:
        raise ValueError(f"unknown initialization {recurrent_weights!r}: use orthogonal, xavier, he or uniform")
    with torch.no_grad():
        for name, parameter in layer.rnn.named_parameters():
            if name.startswith("weight") and rules is not None:
                rule = rules[0] if name.startswith("weight_ih") else rules[1]
                for gate in parameter.split(layer.units):
                    rule(gate)
            elif name.startswith("bias"):
                if rules is not None:
                    parameter.zero_()
                if layer.cell == "lstm":
                    # Torch adds two biases; the forget gate's stands whole in one of them.
                    forget = slice(layer.units, 2 * layer.units)
                    parameter[forget] = forget_bias if name.startswith("bias_ih") else 0.0
