"""Encoders: a stack of recurrent layers, and fully connected layers without recurrence."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unroll.models.cells import CELLS, State
from unroll.models.initialization import initialize
from unroll.models.recurrent import RecurrentLayer


class RecurrentEncoder(nn.Module):
    """A stack of recurrent layers, whose cells may differ.

    Args:
        input_size: Features of a time step.
        layers: (cell, units) of each layer, from the input up.
        bidirectional: Each layer reads both ways.
        nonlinearity: Activation of plain RNN cells.
        initialization: Initial weights, see `unroll.models.initialization`.
        forget_bias: Initial bias of an LSTM's forget gate; 1 lets gradients through from the first step on.
        layer_norm: Layer normalization between layers.
        dropout: Share of features dropped between layers.
        convolutions: (channels, width, stride) of each convolution over time before the recurrent layers.
        tbptt_steps: Truncated backpropagation through time: in training, the gradient is cut after this many steps,
            while the state is passed on. None lets it flow through the whole sequence.

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
        convolutions: Sequence[tuple[int, int, int]] = (),
        tbptt_steps: int | None = None,
    ) -> None:
        super().__init__()
        self.tbptt_steps = tbptt_steps
        self.convolutions = nn.Sequential()
        self.layers = nn.ModuleList()
        self.between = nn.ModuleList()
        size = input_size
        for channels, width, stride in convolutions:
            self.convolutions.extend([nn.Conv1d(size, channels, width, stride, padding=width // 2), nn.ReLU()])
            size = channels
        for index, (cell, units) in enumerate(layers):
            if index:
                norm = nn.LayerNorm(size) if layer_norm else nn.Identity()
                self.between.append(nn.Sequential(norm, nn.Dropout(dropout)))
            layer = RecurrentLayer(cell, size, units, bidirectional=bidirectional, nonlinearity=nonlinearity)
            initialize(layer, initialization, forget_bias)
            self.layers.append(layer)
            size = layer.output_size
        self.output_size = size
        self.states = [CELLS[cell].states for cell, _ in layers]
        self.state_size = size * self.states[-1]

    def forward(
        self, inputs: Tensor, lengths: Tensor | None = None, state: Sequence[State] | None = None
    ) -> tuple[Tensor, list[State]]:
        """Encode right-padded sequences.

        Args:
            inputs: float32 [batch, time, feature].
            lengths: int64 [batch], each at least 1; None where no sequence is padded.
            state: Initial state of each layer; None for zeros.

        Returns:
            The top layer's outputs, float32 [batch, time, output_size], zero beyond each length, and each layer's
            state after the last valid step. Strides of convolutions divide the time.
        """
        if len(self.convolutions):
            inputs = self.convolutions(inputs.transpose(1, 2)).transpose(1, 2)
        if self.tbptt_steps is None or not torch.is_grad_enabled() or torch.compiler.is_exporting():
            return self._run(inputs, lengths, state)
        chunks = []
        for start in range(0, inputs.shape[1], self.tbptt_steps):
            chunk = inputs[:, start : start + self.tbptt_steps]
            before = None if state is None else [tuple(part.detach() for part in layer) for layer in state]
            outputs, state = self._run_chunk(chunk, None if lengths is None else lengths - start, before)
            chunks.append(outputs)
        return torch.cat(chunks, dim=1), list(state or [])

    def step(self, inputs: Tensor, state: Sequence[State]) -> tuple[Tensor, list[State]]:
        """Run a one-way stack for one time step: float32 [..., input_size] → [..., output_size], and the new states."""
        after: list[State] = []
        for index, layer in enumerate(self.layers):
            if index:
                inputs = self.between[index - 1](inputs)
            after.append(layer.step(inputs, state[index]))  # type: ignore[operator]
            inputs = after[-1][0]
        return inputs, after

    def _run(self, inputs: Tensor, lengths: Tensor | None, state: Sequence[State] | None) -> tuple[Tensor, list[State]]:
        after: list[State] = []
        for index, layer in enumerate(self.layers):
            if index:
                inputs = self.between[index - 1](inputs)
            inputs, final = layer(inputs, lengths, None if state is None else state[index])
            after.append(final)
        return inputs, after

    def _run_chunk(
        self, inputs: Tensor, remaining: Tensor | None, state: Sequence[State] | None
    ) -> tuple[Tensor, list[State]]:
        """Do the same as `_run`; sequences that ended before this chunk (`remaining` ≤ 0) keep their state."""
        if remaining is None:
            return self._run(inputs, None, state)
        # Lengths may be on the CPU while the rest is on a GPU.
        alive = (remaining > 0).to(inputs.device)
        outputs, after = self._run(inputs, remaining.clamp(1, inputs.shape[1]), state)
        outputs = torch.where(alive[:, None, None], outputs, 0.0)
        if state is not None:
            after = [
                tuple(torch.where(alive[None, :, None], new, old) for new, old in zip(news, olds, strict=True))
                for news, olds in zip(after, state, strict=True)
            ]
        return outputs, after


class DenseEncoder(nn.Module):
    """Fully connected layers over a flattened input of fixed size: what a network can do that sees it all at once.

    Args:
        input_size: Features of the flattened input.
        units: Width of each layer, from the input up.
        nonlinearity: `relu` or `tanh`.
        dropout: Share of features dropped between layers.
    """

    def __init__(
        self, input_size: int, units: Sequence[int], *, nonlinearity: str = "relu", dropout: float = 0.0
    ) -> None:
        super().__init__()
        activation = {"relu": nn.ReLU, "tanh": nn.Tanh}[nonlinearity]
        stages: list[nn.Module] = [nn.Flatten()]
        size = input_size
        for index, width in enumerate(units):
            if index:
                stages.append(nn.Dropout(dropout))
            stages += [nn.Linear(size, width), activation()]
            size = width
        self.layers = nn.Sequential(*stages)
        self.output_size = self.state_size = size

    def forward(self, inputs: Tensor) -> Tensor:
        """Map float32 [batch, time, feature] to float32 [batch, output_size]."""
        encoded: Tensor = self.layers(inputs)
        return encoded
