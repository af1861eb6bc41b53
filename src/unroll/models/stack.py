"""Several small networks of equal shapes that are computed as one: each operator does the work of all of them.

Torch runs a step of a GRU or a plain RNN on the CPU as a dozen operators. With few units, most of their time is
overhead, which all networks of a stack share.
"""

from collections.abc import Sequence
from functools import partial
from operator import attrgetter

import torch
from torch import Tensor, nn

from unroll.models.cells import CELLS
from unroll.models.network import SequenceNetwork
from unroll.models.recurrent import RecurrentLayer


def stacked_output(networks: Sequence[SequenceNetwork], features: Tensor) -> Tensor:
    """Compute `SequenceNetwork.from_features` of each network on its own batch.

    Args:
        networks: Networks of equal shapes, one-way and without dropout or layer normalization, whose head reads the
            last state.
        features: float32 [network, batch, time, feature], none padded.

    Returns:
        [network, batch, output].
    """
    steps = list(features.unbind(2))
    for layers in zip(*(network.encoder.layers for network in networks), strict=True):
        steps = _run(layers, steps)
    heads = [network.head for network in networks]
    weights = {name: _stacked(heads, name) for name, _ in heads[0].named_parameters()}
    outputs: Tensor = torch.func.vmap(partial(torch.func.functional_call, heads[0]))(weights, steps[-1])
    return outputs


def _run(layers: Sequence[RecurrentLayer], steps: list[Tensor]) -> list[Tensor]:
    """Run a layer of each network; every step is float32 [network, batch, feature]."""
    input_weight, weight = (_stacked(layers, f"rnn.weight_{part}_l0").mT for part in ("ih", "hh"))
    input_bias, bias = (_stacked(layers, f"rnn.bias_{part}_l0").unsqueeze(1) for part in ("ih", "hh"))
    cell, nonlinearity = CELLS[layers[0].cell], layers[0].nonlinearity
    from_inputs = torch.baddbmm(input_bias, torch.cat(steps, 1), input_weight).chunk(len(steps), 1)
    state = (steps[0].new_zeros(*steps[0].shape[:2], layers[0].units),) * cell.states
    outputs = []
    for from_input in from_inputs:
        state = cell.step(from_input, torch.baddbmm(bias, state[0], weight), state, nonlinearity)
        outputs.append(state[0])
    return outputs


def _stacked(modules: Sequence[nn.Module], name: str) -> Tensor:
    """Return a parameter of all modules, [module, …]; its gradient reaches each of them."""
    return torch.stack(list(map(attrgetter(name), modules)))
