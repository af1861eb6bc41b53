"""Recurrent cells: torch's layer of each, its equations for a single step, and the order of its gates in ONNX."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

State = tuple[Tensor, ...]
"""State of a layer: (hidden,) or, for an LSTM, (hidden, cell state). [direction, batch, unit] in a layer, [..., unit]
in a single step."""


def rnn_step(from_input: Tensor, from_hidden: Tensor, state: State, nonlinearity: str) -> State:
    """Compute a step of the plain RNN (Elman 1990)."""
    total = from_input + from_hidden
    return (total.tanh() if nonlinearity == "tanh" else total.relu(),)


def gru_step(from_input: Tensor, from_hidden: Tensor, state: State, nonlinearity: str) -> State:
    """Compute a GRU step (Cho et al. 2014, arXiv 1406.1078), with cuDNN's reset gate after the recurrent product."""
    reset_input, update_input, new_input = from_input.chunk(3, -1)
    reset_hidden, update_hidden, new_hidden = from_hidden.chunk(3, -1)
    update = (update_input + update_hidden).sigmoid()
    new = (new_input + (reset_input + reset_hidden).sigmoid() * new_hidden).tanh()
    return (new + update * (state[0] - new),)


def lstm_step(from_input: Tensor, from_hidden: Tensor, state: State, nonlinearity: str) -> State:
    """Compute an LSTM step (Hochreiter & Schmidhuber 1997), with the forget gate of Gers et al. 2000."""
    enter, forget, new, out = (from_input + from_hidden).chunk(4, -1)
    cell_state = forget.sigmoid() * state[1] + enter.sigmoid() * new.tanh()
    return out.sigmoid() * cell_state.tanh(), cell_state


@dataclass(frozen=True)
class Cell:
    """What the rest of the code needs to know of a cell.

    Attributes:
        layer: Torch's layer.
        step: (input's share of the gates, hidden state's share, state, nonlinearity) → new state, hidden state first.
            The shares are float32 [..., gate × unit], biases included.
        states: Tensors in its state.
        onnx_gates: For each of ONNX's gates, its position among torch's.
    """

    layer: Callable[..., nn.RNNBase]
    step: Callable[[Tensor, Tensor, State, str], State]
    states: int
    onnx_gates: tuple[int, ...]


CELLS: Mapping[str, Cell] = {
    "rnn": Cell(nn.RNN, rnn_step, 1, (0,)),
    "gru": Cell(nn.GRU, gru_step, 1, (1, 0, 2)),  # torch: r, z, n; ONNX: z, r, h
    "lstm": Cell(nn.LSTM, lstm_step, 2, (0, 3, 1, 2)),  # torch: i, f, g, o; ONNX: i, o, f, c
}
