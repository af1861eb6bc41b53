"""Optimizers, and learning rates over the course of training."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from unroll.config.experiments import Training


def make_optimizer(parameters: Iterable[nn.Parameter], settings: Training) -> torch.optim.Optimizer:
    """Return the optimizer that the settings name."""
    trained = list(parameters)
    rate, decay = settings.learning_rate, settings.weight_decay
    # Fused: one call for all tensors; recurrent networks have many small ones.
    if settings.optimizer == "adam":
        return torch.optim.Adam(trained, lr=rate, weight_decay=decay, fused=True)
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(trained, lr=rate, weight_decay=decay, fused=True)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(trained, lr=rate, weight_decay=decay, momentum=settings.momentum, fused=True)
    return torch.optim.RMSprop(trained, lr=rate, weight_decay=decay)


def learning_rate_factor(schedule: str, progress: float) -> float:
    """Return the learning rate as a share of its peak.

    Args:
        schedule: `constant`, `linear` (to zero), `cosine` (to zero) or `one_cycle` (from 1/25 up to the peak over the
            first 30 % of training, then down to almost zero, both as half a cosine).
        progress: Share of all steps already done, 0 to 1.

    Source: Smith & Topin 2018 (one_cycle), Loshchilov & Hutter 2017 (cosine).
    """
    if schedule == "constant":
        return 1.0
    if schedule == "linear":
        return 1.0 - progress
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    rise, start, end = 0.3, 1 / 25, 1e-5
    if progress < rise:
        return start + (1 - start) * 0.5 * (1 - math.cos(math.pi * progress / rise))
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * (progress - rise) / (1 - rise)))
