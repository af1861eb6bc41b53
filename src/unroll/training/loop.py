"""The training loop."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unroll.config.experiments import Training
from unroll.features.special_tokens import IGNORE_INDEX
from unroll.models.stack import stacked_output
from unroll.training.batches import Batch
from unroll.training.checkpoints import load_checkpoint, save_checkpoint
from unroll.training.learner import Learner, Trained

Loss = Callable[[Tensor, Tensor], Tensor]
"""(network output, encoded targets) → mean loss, a scalar."""


def train(
    learners: Sequence[Learner],
    loss: Loss,
    settings: Training,
    on_step: Callable[[int, int, int, Tensor], None],
    checkpoint: Path,
) -> list[Trained]:
    """Train one network, or several together, from the last checkpoint if there is one.

    Several networks take their steps side by side, each with its own batches, gradient and optimizer: they learn what
    they would learn one after the other. Those that have fewer steps in an epoch wait for its end.

    Args:
        learners: One of any kind, or several that `unroll.training.fit` may stack.
        loss: Loss of a network.
        settings: Parameters of training.
        on_step: Called after each step with epoch and step, both counted from 0, the steps of an epoch, and the mean
            loss.
        checkpoint: File to resume from, and to write after each epoch.

    Raises:
        TrainingError: A loss is not finite.
    """
    parts = [(learner.network, learner.optimizer, learner.progress) for learner in learners]
    for learner, progress in zip(learners, load_checkpoint(checkpoint, parts), strict=True):
        learner.progress = progress
    while unfinished := [learner for learner in learners if not learner.progress.finished]:
        began = time.perf_counter()
        for learner in unfinished:
            learner.begin_epoch()
        steps = max(learner.steps for learner in unfinished)
        for step in range(steps):
            active = [learner for learner in unfinished if step < learner.steps]
            batches = [learner.batch() for learner in active]
            if len(learners) == 1:
                losses, weights = _losses_of_one(active[0], batches[0], loss, settings)
            else:
                losses, weights = _losses_of_stack(active, batches, loss)
            losses.sum().backward()
            for learner, value, weight in zip(active, losses.unbind(), weights.unbind(), strict=True):
                learner.update(value, weight)
            on_step(unfinished[0].progress.epoch, step, steps, losses.detach().mean())
        seconds = (time.perf_counter() - began) / len(unfinished)
        spent = [learner.end_epoch(seconds) for learner in unfinished]
        # One file, so that a killed process leaves all networks after the same epoch.
        save_checkpoint(checkpoint, [(learner.network, learner.optimizer, learner.progress) for learner in learners])
        for learner, seconds in zip(unfinished, spent, strict=True):
            learner.on_epoch(learner.progress.history[-1], seconds)
    return [learner.trained for learner in learners]


def _losses_of_one(learner: Learner, batch: Batch, loss: Loss, settings: Training) -> tuple[Tensor, Tensor]:
    """Return the mean loss on a batch and its number of targets, each as [1]; the state of a stream is passed on."""
    network = learner.network
    with _precision(settings, batch.inputs.device):
        output, after = network.output(batch.inputs, batch.lengths, batch.targets, learner.state)
    targets = network.encode_target(batch.targets, batch.inputs)
    if learner.data.stateful and after is not None:
        # Truncated backpropagation through time: the state is passed on, its gradient ends here.
        learner.state = [tuple(part.detach() for part in layer) for layer in after]
    return loss(output.float(), targets).unsqueeze(0), (targets != IGNORE_INDEX).sum().unsqueeze(0)


def _losses_of_stack(learners: Sequence[Learner], batches: Sequence[Batch], loss: Loss) -> tuple[Tensor, Tensor]:
    """Return each network's mean loss on its batch, and the number of targets, as [network] both.

    Inputs and targets are prepared already. Networks whose batches have equal sizes are computed as one; the last batch
    of an epoch may be smaller.
    """
    losses, weights = [], []
    for _, group in groupby(zip(learners, batches, strict=True), lambda pair: len(pair[1].targets)):
        some, of_some = zip(*group, strict=True)
        output = stacked_output([learner.network for learner in some], torch.stack([one.inputs for one in of_some]))
        targets = torch.stack([one.targets for one in of_some])
        losses.append(torch.func.vmap(loss)(output, targets))
        weights.append((targets != IGNORE_INDEX).flatten(1).sum(1))
    return torch.cat(losses), torch.cat(weights)


def _precision(settings: Training, device: torch.device) -> AbstractContextManager[Any]:
    # A CPU without AMX emulates bfloat16, or has it at the speed of float32.
    if settings.autocast == "bf16" and (device.type == "cuda" or torch.cpu.get_capabilities().get("amx_bf16")):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()
