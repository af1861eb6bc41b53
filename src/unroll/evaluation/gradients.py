"""How far a loss's gradient reaches back in time."""

import torch
from torch import Tensor

from unroll.domains.task import Task
from unroll.models.network import SequenceNetwork
from unroll.training.batches import Batches


def gradient_reach(network: SequenceNetwork, task: Task, data: Batches) -> list[float]:
    """Norm of ∂loss/∂(input at a time step), for each step, mean over the batch.

    A step whose norm has vanished cannot be learned from, whatever it holds; one whose norm has grown without bound
    drowns the others.

    Returns:
        One number a time step of the prepared input, first step first.
    """
    network.eval()
    with torch.enable_grad():
        features: Tensor = network.preprocessing.prepare(data.inputs).detach().requires_grad_()
        loss = task.loss(network.read(features)[0], network.preprocessing.encode_target(data.targets, data.inputs))
        (gradient,) = torch.autograd.grad(loss * len(data), features)
    return [float(norm) for norm in gradient.flatten(2).norm(dim=2).mean(0)]
