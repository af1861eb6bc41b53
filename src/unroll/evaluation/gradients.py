"""How far a loss's gradient reaches back in time."""

import torch
from torch import Tensor

from unroll.domains.task import Task
from unroll.models.network import SequenceNetwork
from unroll.training.batches import Batches


def gradient_reach(network: SequenceNetwork, task: Task, data: Batches) -> list[float]:
    """Return the norm of ∂loss/∂(input at a time step) for each step of the prepared input, mean over the samples.

    Where the norm vanishes, the network cannot learn from a step, whatever it holds; where it explodes, the step drowns
    all others.
    """
    network.eval()
    with torch.enable_grad():
        features: Tensor = network.preprocessing.prepare(data.inputs).detach().requires_grad_()
        targets = network.preprocessing.encode_target(data.targets, data.inputs)
        loss = task.loss(network.from_features(features)[0], targets)
        (gradient,) = torch.autograd.grad(loss * len(data), features)
    return [float(norm) for norm in gradient.flatten(2).norm(dim=2).mean(0)]
