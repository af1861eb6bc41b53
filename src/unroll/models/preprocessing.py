"""Preprocessing inside the model: raw units outside, scaled features inside. It is fitted once and exported.

`lengths`, int64 [batch], are the valid steps of each sequence; None where none is padded.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unroll.models.padding import valid_steps


class Preprocessing(Protocol):
    """What a network needs from its preprocessing; each implementation is an `nn.Module`."""

    def fit(self, inputs: Tensor, targets: Tensor, lengths: Tensor | None = None) -> None:
        """Compute statistics of the training split."""

    def prepare(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Convert raw inputs to features or token numbers."""

    def encode_target(self, targets: Tensor, inputs: Tensor) -> Tensor:
        """Convert raw targets to what the loss compares."""

    def decode(self, outputs: Tensor, inputs: Tensor) -> Tensor:
        """Convert the network's output to raw outputs."""


class _Classes(nn.Module):
    """Targets are class numbers or class probabilities; outputs are logits, which become probabilities."""

    def encode_target(self, targets: Tensor, inputs: Tensor) -> Tensor:
        """Leave class numbers or probabilities as they are."""
        return targets

    def decode(self, outputs: Tensor, inputs: Tensor) -> Tensor:
        """Convert logits [batch, (time,) class] to probabilities."""
        return outputs.softmax(-1)


class Tokens(_Classes):
    """Token numbers, which an embedding reads."""

    def fit(self, inputs: Tensor, targets: Tensor, lengths: Tensor | None = None) -> None:
        """Do nothing: the vocabulary is already fitted."""

    def prepare(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return int64 [batch, time, …] unchanged."""
        return inputs


class ByteImages(_Classes):
    """Gray images as bytes, standardized over all pixels."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))

    def fit(self, inputs: Tensor, targets: Tensor, lengths: Tensor | None = None) -> None:
        """Compute the mean and standard deviation of all pixels of uint8 [sample, row, column]."""
        # A histogram is exact and needs no float copy of the whole split.
        counts = torch.bincount(inputs.flatten(), minlength=256).double()
        values = torch.arange(256, dtype=torch.float64, device=inputs.device)
        mean = (counts * values).sum() / counts.sum()
        self.mean.copy_(mean)
        self.deviation.copy_(((counts * (values - mean) ** 2).sum() / counts.sum()).sqrt().clamp_min(1.0))

    def prepare(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Convert uint8 [batch, row, column] to float32 of the same shape, with mean 0 and deviation 1."""
        return (inputs.float() - self.mean) / self.deviation


class Frames(_Classes):
    """Frames of sound features.

    Args:
        features: Number of features of a raw frame.
        normalize: Standardize each recording's features over its own frames, which removes loudness and much of the
            voice; otherwise by the training split's.
        deltas: Put half the difference between the next and the previous frame beside each feature (Furui 1986).
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int, *, normalize: bool = True, deltas: bool = True) -> None:
        super().__init__()
        self.normalize, self.deltas = normalize, deltas
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))

    def fit(self, inputs: Tensor, targets: Tensor, lengths: Tensor | None = None) -> None:
        """Compute mean and deviation of each feature over all valid frames of float32 [sample, time, feature]."""
        valid = inputs[valid_steps(inputs, lengths)]
        self.mean.copy_(valid.mean(0))
        self.deviation.copy_(valid.std(0).clamp_min(1e-6))

    def prepare(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Convert float32 [batch, time, feature] to [batch, time, feature or 2 × feature], zero beyond each length."""
        valid = valid_steps(inputs, lengths).unsqueeze(-1)  # [batch, time, 1]
        if self.normalize:
            count = valid.sum(1, keepdim=True)
            mean = torch.where(valid, inputs, 0.0).sum(1, keepdim=True) / count
            centered = torch.where(valid, inputs - mean, 0.0)
            frames = centered / (centered.square().sum(1, keepdim=True) / count + 1e-6).sqrt()
        else:
            frames = torch.where(valid, (inputs - self.mean) / self.deviation, 0.0)
        if not self.deltas:
            return frames
        # At both ends the frame itself replaces the missing neighbor, so that padding changes nothing.
        after = torch.cat([frames[:, 1:], frames[:, -1:]], dim=1)
        before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
        has_after = torch.cat([valid[:, 1:], torch.zeros_like(valid[:, :1])], dim=1)
        change = (torch.where(has_after, after, frames) - before) / 2
        return torch.cat([frames, torch.where(valid, change, 0.0)], dim=-1)


class PriceLevels(nn.Module):
    """Price levels, scaled so that the training split spans 0 to 1, as in most tutorials.

    Args:
        features: Columns of the input.
        target: Position of the forecast column among them.
    """

    low: Tensor
    span: Tensor

    def __init__(self, features: int, target: int) -> None:
        super().__init__()
        self.target = target
        self.register_buffer("low", torch.zeros(features))
        self.register_buffer("span", torch.ones(features))

    def fit(self, inputs: Tensor, targets: Tensor, lengths: Tensor | None = None) -> None:
        """Compute the minimum and maximum of each column of float32 [sample, time, feature]."""
        low, high = inputs.amin((0, 1)), inputs.amax((0, 1))
        self.low.copy_(low)
        self.span.copy_(torch.where(high > low, high - low, 1.0))

    def prepare(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Convert raw values to levels: 0 to 1 within the training range, below or above outside of it."""
        return (inputs - self.low) / self.span

    def encode_target(self, targets: Tensor, inputs: Tensor) -> Tensor:
        """Convert USD to a level."""
        return (targets - self.low[self.target]) / self.span[self.target]

    def decode(self, outputs: Tensor, inputs: Tensor) -> Tensor:
        """Convert levels [batch, (time,) 1] to USD [batch, (time)]."""
        return outputs.squeeze(-1) * self.span[self.target] + self.low[self.target]


class LogReturns(nn.Module):
    """Prices as log changes from the previous day; the output is a residual over the last known price.

    Args:
        features: Columns of the input.
        known: Position of the column whose last value is the last known price: the forecast column itself, or the
            previous close for an opening price.
        volumes: Positions of columns that are not prices; they are compared with their own past.
    """

    mean: Tensor
    deviation: Tensor
    target_deviation: Tensor

    def __init__(self, features: int, known: int, volumes: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.known = known
        # The column whose previous day each column is compared with: the known price, or itself for a volume.
        self.reference = [column if column in volumes else known for column in range(features)]
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.register_buffer("target_deviation", torch.ones(()))

    def fit(self, inputs: Tensor, targets: Tensor, lengths: Tensor | None = None) -> None:
        """Compute mean and deviation of each column's log changes, and the deviation of the target's log returns."""
        changes = self._changes(inputs)
        self.mean.copy_(changes.mean((0, 1)))
        self.deviation.copy_(changes.std((0, 1)).clamp_min(1e-6))
        self.target_deviation.copy_(torch.log(targets / self._last(inputs)).std().clamp_min(1e-6))

    def prepare(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Convert raw values [batch, time, feature] to standardized log changes [batch, time − 1, feature]."""
        return (self._changes(inputs) - self.mean) / self.deviation

    def encode_target(self, targets: Tensor, inputs: Tensor) -> Tensor:
        """Convert USD to the log return over the last known price, in deviations."""
        return torch.log(targets / self._last(inputs)) / self.target_deviation

    def decode(self, outputs: Tensor, inputs: Tensor) -> Tensor:
        """Convert log returns in deviations [batch, 1] to USD [batch]."""
        return self._last(inputs) * torch.exp(outputs.squeeze(-1) * self.target_deviation)

    def _last(self, inputs: Tensor) -> Tensor:
        return inputs[:, -1, self.known]

    def _changes(self, inputs: Tensor) -> Tensor:
        # A day without trade has volume 0.
        logs = torch.log(inputs.clamp_min(1e-3))
        return logs[:, 1:] - logs[:, :-1, self.reference]


class EwmaReturns(nn.Module):
    """Prices as log returns over their volatility; outputs are quantiles of the next log return.

    The volatility after day t is the root of an exponentially weighted mean of squared returns over
    `volatility_window` days. A return is divided by the volatility of the previous day, which does not contain it.

    Args:
        decay: Weight of a day over the weight of the day after it.
        volatility_window: Days of returns in the mean.

    Source: J.P. Morgan/Reuters, RiskMetrics Technical Document, 4th ed. 1996, section 5.2 (decay 0.94).
    """

    weights: Tensor

    def __init__(self, decay: float, volatility_window: int) -> None:
        super().__init__()
        weights = decay ** torch.arange(volatility_window - 1, -1, -1, dtype=torch.float64)
        self.register_buffer("weights", (weights / weights.sum()).float())

    def fit(self, inputs: Tensor, targets: Tensor, lengths: Tensor | None = None) -> None:
        """Do nothing: the current volatility is the scale."""

    def prepare(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Convert USD [batch, time, 1] to standardized returns [batch, time − 1 − volatility_window, 1]."""
        returns = self._returns(inputs)
        volatility = self._volatility(returns)
        return (returns[:, len(self.weights) :] / volatility[:, :-1]).unsqueeze(-1)

    def encode_target(self, targets: Tensor, inputs: Tensor) -> Tensor:
        """Convert log returns [batch] to units of the volatility."""
        return targets / self.last_volatility(inputs)

    def decode(self, outputs: Tensor, inputs: Tensor) -> Tensor:
        """Convert quantiles in units of the volatility [batch, level] to quantiles of the log return."""
        return outputs * self.last_volatility(inputs).unsqueeze(-1)

    def last_volatility(self, inputs: Tensor) -> Tensor:
        """Return the volatility after the last day [batch], as log return (1 = 100 %), from USD [batch, time, 1]."""
        return self._volatility(self._returns(inputs))[:, -1]

    def _returns(self, inputs: Tensor) -> Tensor:
        logs = torch.log(inputs[:, :, 0])
        return logs[:, 1:] - logs[:, :-1]

    def _volatility(self, returns: Tensor) -> Tensor:
        squares = F.conv1d(returns.square().unsqueeze(1), self.weights.view(1, 1, -1)).squeeze(1)
        return squares.clamp_min(1e-12).sqrt()
