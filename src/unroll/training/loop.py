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
from unroll.models.generators import EncoderDecoder
from unroll.models.network import SequenceNetwork, States
from unroll.training.batches import Batches
from unroll.training.checkpoints import Progress, load_checkpoint, save_checkpoint
from unroll.training.optimizers import make_optimizer, rate_share

Network = SequenceNetwork | EncoderDecoder
Loss = Callable[[Tensor, Tensor], Tensor]
Row = dict[str, Any]


@dataclass(frozen=True)
class Trained:
    """What training leaves.

    Attributes:
        weights: The kept weights, on the CPU.
        history: One row an epoch.
        seconds: Spent in the epochs, validation included, also in those before a kill.
        samples: Trained on, repetitions counted.
    """

    weights: dict[str, Tensor]
    history: list[Row]
    seconds: float
    samples: int


def train(
    network: Network,
    loss: Loss,
    data: Batches,
    settings: Training,
    *,
    seed: int,
    validate: Callable[[Network], tuple[float, float]] | None,
    better: Callable[[float, float], bool],
    on_epoch: Callable[[Row, float], None],
    checkpoint: Path,
) -> Trained:
    """Trains a network whose units are fitted, and gives back the weights to keep.

    Args:
        network: On the device of the data.
        loss: (network output, encoded targets) → scalar.
        data: The training split.
        settings: How to train.
        seed: Of the order of samples and of dropout.
        validate: Network in evaluation mode → (loss, metric) on the validation split; None where none is held out.
        better: Whether a metric beats another.
        on_epoch: Called after each epoch with its row of the history and its seconds.
        checkpoint: File to go on from, and to write after each epoch.

    Raises:
        TrainingError: The loss is not finite.
    """
    optimizer = make_optimizer(network.parameters(), settings)
    progress = load_checkpoint(checkpoint, network, optimizer) or Progress(0, [], {}, -1)
    while not progress.finished:
        epoch_began = time.perf_counter()
        train_loss, gradient_norm = _epoch(network, loss, data, settings, optimizer, progress.epoch, seed)
        row: Row = {
            "epoch": progress.epoch + 1,
            "train_loss": train_loss,
            "valid_loss": None,
            "valid_metric": None,
            "gradient_norm": gradient_norm,
        }
        if validate is not None:
            network.eval()
            row["valid_loss"], row["valid_metric"] = validate(network)
            if not math.isfinite(row["valid_loss"]):
                raise TrainingError(
                    f"the validation loss is {row['valid_loss']} after epoch {row['epoch']} (gradient norm "
                    f"{gradient_norm:.3g}). {_remedy(settings)}"
                )
        _keep(network, progress, row, settings, better)
        seconds = time.perf_counter() - epoch_began
        progress.seconds += seconds
        save_checkpoint(checkpoint, network, optimizer, progress)
        on_epoch(row, seconds)
    return Trained(progress.best, progress.history, progress.seconds, progress.epoch * len(data))


def _epoch(
    network: Network,
    loss: Loss,
    data: Batches,
    settings: Training,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    seed: int,
) -> tuple[float, float]:
    """One pass over the training split; gives mean loss and mean gradient norm."""
    # Each epoch seeds its own order and dropout, so that one that follows a checkpoint is the one that would have been.
    torch.manual_seed(seed * 100_003 + epoch)
    batches = data.order(settings.batch_size)
    steps = settings.epochs * len(batches)
    device = data.inputs.device
    losses = torch.zeros(len(batches), device=device)
    norms, weights = torch.zeros_like(losses), torch.zeros_like(losses)
    network.train()
    parameters = list(network.parameters())
    state: States | None = None
    for step, index in enumerate(batches):
        rate = settings.learning_rate * rate_share(settings.schedule, (epoch * len(batches) + step) / steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = data.at(index)
        with _precision(settings, device):
            output, after = network.output(batch.inputs, batch.lengths, batch.targets, state)
        targets = network.preprocessing.encode_target(batch.targets, batch.inputs)
        value = loss(output.float(), targets)
        value.backward()
        norms[step] = nn.utils.clip_grad_norm_(parameters, settings.clip_norm or float("inf"))
        losses[step] = value.detach()
        weights[step] = (targets != IGNORE_INDEX).sum()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if data.stateful and after is not None:
            # Truncated backpropagation through time: the state goes on, its gradient ends here.
            state = [tuple(part.detach() for part in layer) for layer in after]
    _check_finite(losses, norms, epoch, settings)
    # Each target counts alike, however many a batch has.
    mean = (losses.double() * weights).sum() / weights.sum()
    return float(mean), float(norms.double().mean())


def _precision(settings: Training, device: torch.device) -> AbstractContextManager[Any]:
    if settings.autocast == "bf16" and device.type == "cuda":
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


def _check_finite(losses: Tensor, norms: Tensor, epoch: int, settings: Training) -> None:
    """Once an epoch, not once a step: reading a number back would stop a GPU at each of them."""
    bad = (~(torch.isfinite(losses) & torch.isfinite(norms))).nonzero()
    if not len(bad):
        return
    step = int(bad[0])
    before = float(norms[step - 1]) if step else float("nan")
    raise TrainingError(
        f"the loss is {float(losses[step])} in epoch {epoch + 1} at step {step + 1} of {len(losses)} "
        f"(gradient norm {float(norms[step]):.3g}, one step before {before:.3g}). {_remedy(settings)}"
    )


def _remedy(settings: Training) -> str:
    clipping = f"clip_norm below {settings.clip_norm:g}" if settings.clip_norm else "clip_norm: 1.0"
    return (
        f"Try a learning_rate below {settings.learning_rate:g}, {clipping}, initialization: orthogonal, or look for "
        "values in the data that are not finite"
    )


def _keep(
    network: Network,
    progress: Progress,
    row: Row,
    settings: Training,
    better: Callable[[float, float], bool],
) -> None:
    """Notes an epoch, and whether its weights are the ones to keep."""
    progress.epoch = row["epoch"]
    progress.history.append(row)
    past = progress.history[progress.best_epoch - 1]["valid_metric"] if progress.best_epoch > 0 else None
    improved = past is None or row["valid_metric"] is None or better(row["valid_metric"], past)
    if improved or settings.keep == "last":
        progress.best = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
    if improved:
        progress.best_epoch = progress.epoch
    waited = progress.epoch - progress.best_epoch
    progress.finished = progress.epoch >= settings.epochs or (
        settings.patience is not None and waited >= settings.patience
    )
