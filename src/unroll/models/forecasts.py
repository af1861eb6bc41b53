"""Forecasts of series: preprocessing of windows whose steps to come are partly known, and a decoder of these steps."""

import torch
from torch import Tensor, nn

from unroll.models.encoders import RecurrentEncoder
from unroll.models.network import SequenceNetwork, States
from unroll.models.padding import join_directions
from unroll.models.preprocessing import Preprocessing


class SeriesWindows(nn.Module):
    """Windows of a series, scaled by their own mean and deviation; outputs are changes from a simple forecast.

    Inputs are float32 [batch, history + horizon, column]: `values` columns that are known in the first `history` steps
    only, targets first, then columns that are known in all steps. The simple forecast is the value one season before,
    or a ridge regression on the scaled window, fitted in closed form; the network learns what it misses, in units of
    the window's mean change over a season.

    Args:
        columns: Columns of the input.
        values: Columns that are not known in advance.
        targets: Forecast columns, the first of `values`.
        history: Steps of the past.
        horizon: Steps to come.
        season: Steps after which the series roughly repeats itself.
        linear: Whether the simple forecast is the regression.

    Source: Kim et al. 2022 (scaling by the window, RevIN); Lai et al. 2018 (a linear part beside a recurrent one).
    """

    mean: Tensor
    deviation: Tensor
    least: Tensor
    weight: Tensor

    def __init__(
        self, columns: int, values: int, targets: int, *, history: int, horizon: int, season: int, linear: bool
    ) -> None:
        super().__init__()
        self.values, self.targets, self.history, self.horizon = values, targets, history, horizon
        self.season, self.linear = season, linear
        # The step of the past that each forecast starts from.
        self.anchors = [history - season + step % season for step in range(horizon)]
        known = columns - values
        self.features = values + 2 * known
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("deviation", torch.ones(columns))
        self.register_buffer("least", torch.ones(values))
        rows = history * values + (1 + horizon) * known + 1 if linear else 0
        self.register_buffer("weight", torch.zeros(rows, horizon * targets))

    def fit(self, inputs: Tensor, targets: Tensor, lengths: Tensor | None = None) -> None:
        """Compute mean and deviation of each column over the past of all windows, and the regression."""
        past = inputs[:, : self.history].double()
        self.mean.copy_(past.mean((0, 1)))
        deviation = past.std((0, 1))
        # A holiday may not occur in training.
        self.deviation.copy_(torch.where(deviation > 1e-6 * past.abs().amax((0, 1)), deviation, 1.0))
        for column, deviations in enumerate(past[:, :, : self.values].std(1).unbind(1)):
            some = deviations[deviations > 0]
            # A tenth of what the calmest windows have: a window in which nothing changes still has a scale.
            self.least[column] = some.quantile(0.05) / 10 if len(some) else 1.0
        if self.linear:
            mean, deviation = self._scale_of_targets(inputs)
            scaled = ((targets - mean) / deviation).flatten(1)
            self.weight.copy_(ridge(self._regressors(inputs).double(), scaled.double()))

    def prepare(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Convert raw values to float32 [batch, history, feature].

        A step has the scaled values, what is known of the step, and what is known of the step one horizon later, so
        that the last steps tell what is known of the steps to come.
        """
        known = self._known(inputs)
        return torch.cat([self._scaled(inputs), known[:, : self.history], known[:, -self.history :]], -1)

    def encode_target(self, targets: Tensor, inputs: Tensor) -> Tensor:
        """Convert float32 [batch, horizon, target] to changes from the simple forecast, [batch, horizon × target]."""
        changes = (targets - self._forecast(inputs)) / self._unit(inputs)
        return changes.flatten(1)

    def decode(self, outputs: Tensor, inputs: Tensor) -> Tensor:
        """Convert quantiles of changes [batch, horizon × target, level] to values [batch, horizon, target, level]."""
        changes: Tensor = outputs.unflatten(1, (self.horizon, self.targets)) * self._unit(inputs).unsqueeze(-1)
        return self._forecast(inputs).unsqueeze(-1) + changes

    def _forecast(self, inputs: Tensor) -> Tensor:
        """Return the simple forecast, [batch, horizon, target]."""
        forecast: Tensor = inputs[:, self.anchors, : self.targets]
        if self.linear:
            mean, deviation = self._scale_of_targets(inputs)
            forecast = mean + (self._regressors(inputs) @ self.weight).view(forecast.shape) * deviation
        return forecast

    def _unit(self, inputs: Tensor) -> Tensor:
        """Return the root mean square change over a season within each window, [batch, 1, target]."""
        past = inputs[:, : self.history, : self.targets]
        changes = past[:, self.season :] - past[:, : -self.season]
        return (changes.square().mean(1, keepdim=True) + self.least[: self.targets].square()).sqrt()

    def _regressors(self, inputs: Tensor) -> Tensor:
        """Return the scaled window, what is known of its last step and of the steps to come, and 1."""
        known = self._known(inputs)[:, self.history - 1 :].flatten(1)
        return torch.cat([self._scaled(inputs).flatten(1), known, torch.ones_like(inputs[:, 0, :1])], 1)

    def _known(self, inputs: Tensor) -> Tensor:
        return ((inputs - self.mean) / self.deviation)[:, :, self.values :]

    def _scaled(self, inputs: Tensor) -> Tensor:
        mean, deviation = self._scale(inputs)
        return (inputs[:, : self.history, : self.values] - mean) / deviation

    def _scale_of_targets(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        mean, deviation = self._scale(inputs)
        return mean[:, :, : self.targets], deviation[:, :, : self.targets]

    def _scale(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and deviation of the values in each window, [batch, 1, value]."""
        past = inputs[:, : self.history, : self.values]
        mean = past.mean(1, keepdim=True)
        return mean, ((past - mean).square().mean(1, keepdim=True) + self.least.square()).sqrt()


class Forecaster(SequenceNetwork):
    """An encoder of the past, and a decoder that reads what is known of each step to come.

    The decoder does not read its own forecasts, so that errors do not add up.

    Args:
        preprocessing: Raw units ↔ what the network learns from.
        encoder: Reads the past.
        decoder: Reads what is known of the steps to come; one layer.
        head: From each step of the decoder to its outputs.
        steps: Number of steps to come.
        known: Number of features that are known of them, the last ones of the last steps of the past.
        dropout: Share of the decoder's outputs dropped before the head.

    Source: Wen et al. 2017 (arXiv 1711.11053), with a recurrent decoder.
    """

    encoder: RecurrentEncoder

    def __init__(
        self,
        preprocessing: Preprocessing,
        encoder: RecurrentEncoder,
        decoder: RecurrentEncoder,
        head: nn.Module,
        *,
        steps: int,
        known: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(preprocessing, encoder, head, dropout=dropout)
        self.decoder, self.steps, self.known = decoder, steps, known
        self.bridge = nn.Linear(encoder.state_size, decoder.state_size)

    def from_features(
        self, features: Tensor, lengths: Tensor | None = None, state: States | None = None
    ) -> tuple[Tensor, States | None]:
        """Compute the outputs of all steps, [batch, step × output, …], from float32 [batch, time, feature]."""
        _, after = self.encoder(features, lengths, state)
        last = torch.cat([join_directions(part) for part in after[-1]], -1)
        parts = torch.tanh(self.bridge(last)).chunk(self.decoder.states[-1], -1)
        ahead = (
            features[:, -self.steps :, -self.known :] if self.known else torch.zeros_like(features[:, : self.steps, :1])
        )
        outputs, _ = self.decoder(ahead, None, [tuple(part.unsqueeze(0) for part in parts)])
        found: Tensor = self.head(self.dropout(outputs.flatten(0, 1)))
        return found.unflatten(0, (-1, self.steps)).flatten(1, 2), after


def ridge(inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the weights of a ridge regression whose strength has the least leave-one-out error.

    Args:
        inputs: float64 [sample, feature].
        targets: float64 [sample, output].

    Returns:
        float64 [feature, output].
    """
    left, sizes, right = torch.linalg.svd(inputs, full_matrices=False)
    projected = left.T @ targets
    best, weights = torch.inf, torch.zeros_like(right.T @ projected)
    for strength in torch.logspace(-4, 4, 17, dtype=torch.float64) * len(inputs) / inputs.shape[1]:
        shrunk = sizes.square() / (sizes.square() + strength)
        leverage = (left.square() * shrunk).sum(1, keepdim=True)
        error = ((targets - left @ (shrunk[:, None] * projected)) / (1 - leverage)).square().mean()
        if error < best:
            best, weights = float(error), right.T @ ((shrunk / sizes.clamp_min(1e-12))[:, None] * projected)
    return weights
