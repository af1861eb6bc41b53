"""Initial weights of recurrent layers."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from unroll.models.recurrent import RecurrentLayer

Rule = Callable[[Tensor], Tensor]

RULES: Mapping[str, tuple[Rule, Rule]] = {
    "orthogonal": (nn.init.xavier_uniform_, nn.init.orthogonal_),
    "xavier": (nn.init.xavier_uniform_, nn.init.xavier_uniform_),
    "he": (nn.init.kaiming_uniform_, nn.init.kaiming_uniform_),
}
"""Rules for input weights and recurrent weights."""


def initialize(layer: RecurrentLayer, name: str, forget_bias: float) -> None:
    """Initialize weights and biases.

    Args:
        layer: Recurrent layer.
        name: `orthogonal` (input weights Glorot-uniform, recurrent weights orthogonal: Keras's default), `xavier`
            (both Glorot-uniform), `he` (both He-uniform), or `uniform` (torch's default). The rules apply to the
            matrix [gate × unit, …] of all gates, as in Keras.
        forget_bias: Bias of an LSTM's forget gate; all other biases are zero, but for `uniform`.

    Source: Saxe et al. 2014 (orthogonal), Glorot & Bengio 2010 (xavier), He et al. 2015 (he), Jozefowicz et al. 2015
    (forget bias 1).
    """
    with torch.no_grad():
        for parameter_name, parameter in layer.rnn.named_parameters():
            if name != "uniform":
                input_rule, recurrent_rule = RULES[name]
                if parameter_name.startswith("weight_ih"):
                    input_rule(parameter)
                elif parameter_name.startswith("weight_hh"):
                    recurrent_rule(parameter)
                else:
                    parameter.zero_()
            if layer.cell == "lstm" and parameter_name.startswith("bias"):
                # Torch adds two biases; the forget gate's is all in one of them.
                forget_gate = slice(layer.units, 2 * layer.units)
                parameter[forget_gate] = forget_bias if parameter_name.startswith("bias_ih") else 0.0
