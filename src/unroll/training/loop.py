"""The training loop."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unroll.config.experiments import Training
from unroll.errors import TrainingError
from unroll.features.special_tokens import IGNORE_INDEX
from unroll.models.generators import Network
from unroll.models.network import States
from unroll.training.batches import Batches
from unroll.training.checkpoints import Progress, load_checkpoint, save_checkpoint
from unroll.training.optimizers import learning_rate_factor, make_optimizer

Row = dict[str, Any]
"""An epoch's row of the history."""


@dataclass(frozen=True)
class Trained:
    """The result of a training.

    Attributes:
        weights: The kept weights, on the CPU.
        history: One row per epoch.
        seconds: Time spent in the epochs, validation and earlier processes included.
        samples: Samples trained on, repetitions counted.
    """

    weights: dict[str, Tensor]
    history: list[Row]
    seconds: float
    samples: int


def train(
    network: Network,
    loss: Callable[[Tensor, Tensor], Tensor],
    data: Batches,
    settings: Training,
    *,
    seed: int,
    validate: Callable[[Network], tuple[float, float]] | None,
    is_better: Callable[[float, float], bool],
    on_step: Callable[[int, int, int, Tensor], None],
    on_epoch: Callable[[Row, float], None],
    checkpoint: Path,
) -> Trained:
    """Train a network, from its last checkpoint if there is one.

    Args:
        network: On the device of the data, its preprocessing fitted.
        loss: (network output, encoded targets) → scalar.
        data: The training split.
        settings: Parameters of the training.
        seed: Seed of the order of samples and of dropout.
        validate: Network in evaluation mode → (loss, metric) on the validation split; None if nothing is held out.
        is_better: Whether a metric beats another.
        on_step: Called after each step with epoch and step, both counted from 0, the steps of an epoch, and the loss.
        on_epoch: Called after each epoch with its row of the history and its seconds.
        checkpoint: File to resume from, and to write after each epoch.

    Raises:
        TrainingError: The loss is not finite.
    """
    optimizer = make_optimizer(network.parameters(), settings)
    progress = load_checkpoint(checkpoint, network, optimizer)
    while not progress.finished:
        began = time.perf_counter()
        row: Row = {"epoch": progress.epoch + 1, "train_loss": None, "valid_loss": None, "valid_metric": None}
        row["train_loss"], row["gradient_norm"] = _train_epoch(
            network, loss, data, settings, optimizer, progress.epoch, seed, on_step
        )
        if validate is not None:
            network.eval()
            row["valid_loss"], row["valid_metric"] = validate(network)
            if not math.isfinite(row["valid_loss"]):
                raise TrainingError(
                    f"the validation loss is {row['valid_loss']} after epoch {row['epoch']} (gradient norm "
                    f"{row['gradient_norm']:.3g}). {_remedy(settings)}"
                )
        _update(progress, network, row, settings, is_better)
        seconds = time.perf_counter() - began
        progress.seconds += seconds
        save_checkpoint(checkpoint, network, optimizer, progress)
        on_epoch(row, seconds)
    return Trained(progress.best, progress.history, progress.seconds, progress.epoch * len(data))


def _train_epoch(
    network: Network,
    loss: Callable[[Tensor, Tensor], Tensor],
    data: Batches,
    settings: Training,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    seed: int,
    on_step: Callable[[int, int, int, Tensor], None],
) -> tuple[float, float]:
    """Run one pass over the training split; return the mean loss and the mean gradient norm."""
    # Each epoch seeds its order and dropout, so that a resumed training equals one that was never interrupted.
    torch.manual_seed(seed * 100_003 + epoch)
    batches = data.shuffled(settings.batch_size)
    device = data.inputs.device
    losses = torch.zeros(len(batches), device=device)
    norms, weights = torch.zeros_like(losses), torch.zeros_like(losses)
    state: States | None = None
    network.train()
    for step, index in enumerate(batches):
        progress = (epoch + step / len(batches)) / settings.epochs
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * learning_rate_factor(settings.schedule, progress)
        batch = data.at(index)
        with _precision(settings, device):
            output, after = network.output(batch.inputs, batch.lengths, batch.targets, state)
        targets = network.encode_target(batch.targets, batch.inputs)
        value = loss(output.float(), targets)
        value.backward()
        norms[step] = nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm or math.inf)
        optimizer.step()
        optimizer.zero_grad()
        losses[step], weights[step] = value.detach(), (targets != IGNORE_INDEX).sum()
        if data.stateful and after is not None:
            # Truncated backpropagation through time: the state is passed on, its gradient ends here.
            state = [tuple(part.detach() for part in layer) for layer in after]
        on_step(epoch, step, len(batches), losses[step])
    _check_finite(losses, norms, epoch, settings)
    # Every target counts alike, however many a batch has.
    mean = (losses.double() * weights).sum() / weights.sum()
    return float(mean), float(norms.double().mean())


def _precision(settings: Training, device: torch.device) -> AbstractContextManager[Any]:
    # A CPU without AMX emulates bfloat16, or has it at the speed of float32.
    if settings.autocast == "bf16" and (device.type == "cuda" or torch.cpu.get_capabilities().get("amx_bf16")):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def _check_finite(losses: Tensor, norms: Tensor, epoch: int, settings: Training) -> None:
    """Raise if a loss or gradient of the epoch is not finite; per epoch, because each check synchronizes the GPU."""
    bad = (~(torch.isfinite(losses) & torch.isfinite(norms))).nonzero()
    if len(bad):
        step = int(bad[0])
        previous = float(norms[step - 1]) if step else float("nan")
        raise TrainingError(
            f"the loss is {float(losses[step])} in epoch {epoch + 1} at step {step + 1} of {len(losses)} "
            f"(gradient norm {float(norms[step]):.3g}, one step before {previous:.3g}). {_remedy(settings)}"
        )


def _remedy(settings: Training) -> str:
    clipping = f"clip_norm below {settings.clip_norm:g}" if settings.clip_norm else "clip_norm: 1.0"
    return (
        f"Try a learning_rate below {settings.learning_rate:g}, {clipping}, initialization: orthogonal, or look for "
        "values in the data that are not finite"
    )


def _update(
    progress: Progress, network: Network, row: Row, settings: Training, is_better: Callable[[float, float], bool]
) -> None:
    """Record an epoch, and keep its weights if they are the ones to keep."""
    progress.epoch = row["epoch"]
    progress.history.append(row)
    past = progress.history[progress.best_epoch - 1]["valid_metric"] if progress.best_epoch else None
    improved = past is None or row["valid_metric"] is None or is_better(row["valid_metric"], past)
    if improved or settings.keep == "last":
        progress.best = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
    if improved:
        progress.best_epoch = progress.epoch
    waited = progress.epoch - progress.best_epoch
    progress.finished = progress.epoch >= settings.epochs or (
        settings.patience is not None and waited >= settings.patience
    )
