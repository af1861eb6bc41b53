"""A network in training, with all that is its own: order of samples, optimizer, history."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unroll.config.experiments import Training
from unroll.errors import TrainingError
from unroll.models.generators import Network
from unroll.models.network import States
from unroll.training.batches import Batch, Batches
from unroll.training.checkpoints import Progress
from unroll.training.optimizers import learning_rate_factor, make_optimizer

Row = dict[str, Any]
"""An epoch's row of the history."""


@dataclass(frozen=True)
class Trained:
    """The result of a training run.

    Attributes:
        weights: The kept weights, on the CPU.
        history: One row per epoch.
        seconds: Time spent in the epochs, validation and earlier processes included; a share of it where networks were
            trained together.
        samples: Samples trained on, repetitions counted.
    """

    weights: dict[str, Tensor]
    history: list[Row]
    seconds: float
    samples: int


class Learner:
    """A network in training.

    Args:
        network: On the device of the data, its preprocessing fitted.
        data: The training split.
        settings: Parameters of training.
        seed: Seed of the order of samples and of dropout.
        validate: Network in evaluation mode → (loss, metric) on the validation split; None if nothing is held out.
        is_better: Whether a metric beats another.
        on_epoch: Called after each epoch with its row of the history and its seconds.
        name: What errors call it, if it is not the only one.
    """

    def __init__(
        self,
        network: Network,
        data: Batches,
        settings: Training,
        *,
        seed: int,
        validate: Callable[[Network], tuple[float, float]] | None,
        is_better: Callable[[float, float], bool],
        on_epoch: Callable[[Row, float], None],
        name: str = "",
    ) -> None:
        self.network, self.data = network, data
        self._settings, self._seed, self._of = settings, seed, f" of {name}" if name else ""
        self._validate, self._is_better, self.on_epoch = validate, is_better, on_epoch
        self._parameters = list(network.parameters())
        self.optimizer = make_optimizer(self._parameters, settings)
        self.progress = Progress()

    @property
    def trained(self) -> Trained:
        """The result."""
        progress = self.progress
        return Trained(progress.best, progress.history, progress.seconds, progress.epoch * len(self.data))

    def begin_epoch(self) -> None:
        """Shuffle the samples."""
        # Each epoch seeds its order and dropout, so that a resumed training equals one that was never interrupted.
        torch.manual_seed(self._seed * 100_003 + self.progress.epoch)
        self._order = self.data.shuffled(self._settings.batch_size)
        self.steps = len(self._order)
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []
        self._weights: list[Tensor] = []
        self.state: States | None = None
        self.network.train()

    def batch(self) -> Batch:
        """Return the samples of the next step."""
        return self.data.at(self._order[len(self._losses)])

    def update(self, loss: Tensor, weight: Tensor) -> None:
        """Take a step of the optimizer along the gradient.

        Args:
            loss: Mean loss of the batch, a scalar whose gradient has been computed.
            weight: Number of targets in the batch.
        """
        progress = (self.progress.epoch + len(self._losses) / self.steps) / self._settings.epochs
        for group in self.optimizer.param_groups:
            group["lr"] = self._settings.learning_rate * learning_rate_factor(self._settings.schedule, progress)
        self._norms.append(nn.utils.clip_grad_norm_(self._parameters, self._settings.clip_norm or math.inf))
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._losses.append(loss.detach())
        self._weights.append(weight)

    def end_epoch(self, seconds: float) -> float:
        """Validate and record the epoch.

        Args:
            seconds: Time that the steps took.

        Returns:
            Seconds of the epoch.

        Raises:
            TrainingError: A loss is not finite.
        """
        began = time.perf_counter()
        losses, norms, weights = (torch.stack(values) for values in (self._losses, self._norms, self._weights))
        self._check_finite(losses, norms)
        row: Row = {"epoch": self.progress.epoch + 1, "train_loss": None, "valid_loss": None, "valid_metric": None}
        # Every target counts alike, however many a batch has.
        row["train_loss"] = float((losses.double() * weights).sum() / weights.sum())
        row["gradient_norm"] = float(norms.double().mean())
        if self._validate is not None:
            self.network.eval()
            row["valid_loss"], row["valid_metric"] = self._validate(self.network)
            if not math.isfinite(row["valid_loss"]):
                raise TrainingError(
                    f"the validation loss{self._of} is {row['valid_loss']} after epoch {row['epoch']} (gradient norm "
                    f"{row['gradient_norm']:.3g}). {self._remedy()}"
                )
        self._record(row)
        seconds += time.perf_counter() - began
        self.progress.seconds += seconds
        return seconds

    def _check_finite(self, losses: Tensor, norms: Tensor) -> None:
        """Raise if a loss or gradient is not finite; once per epoch, because each check synchronizes the GPU."""
        bad = (~(torch.isfinite(losses) & torch.isfinite(norms))).nonzero()
        if len(bad):
            step = int(bad[0])
            previous = float(norms[step - 1]) if step else float("nan")
            raise TrainingError(
                f"the loss{self._of} is {float(losses[step])} in epoch {self.progress.epoch + 1} at step {step + 1} of "
                f"{len(losses)} (gradient norm {float(norms[step]):.3g}, one step before {previous:.3g}). "
                f"{self._remedy()}"
            )

    def _remedy(self) -> str:
        settings = self._settings
        clipping = f"clip_norm below {settings.clip_norm:g}" if settings.clip_norm else "clip_norm: 1.0"
        return (
            f"Try a learning_rate below {settings.learning_rate:g}, {clipping}, initialization: orthogonal, or look "
            "for values in the data that are not finite"
        )

    def _record(self, row: Row) -> None:
        """Record an epoch, and keep its weights if they are the ones to keep."""
        progress, settings = self.progress, self._settings
        progress.epoch = row["epoch"]
        progress.history.append(row)
        past = progress.history[progress.best_epoch - 1]["valid_metric"] if progress.best_epoch else None
        improved = past is None or row["valid_metric"] is None or self._is_better(row["valid_metric"], past)
        if improved or settings.keep == "last":
            progress.best = {name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()}
        if improved:
            progress.best_epoch = progress.epoch
        waited = progress.epoch - progress.best_epoch
        progress.finished = progress.epoch >= settings.epochs or (
            settings.patience is not None and waited >= settings.patience
        )
