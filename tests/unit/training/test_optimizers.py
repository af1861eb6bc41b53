"""Schedules at chosen points, and settings that reach the optimizer."""

import math
from itertools import pairwise

import pytest
import torch

from unroll.training.optimizers import learning_rate_factor, make_optimizer

POINTS = {
    "constant": {0.0: 1.0, 0.7: 1.0},
    "linear": {0.0: 1.0, 0.25: 0.75, 1.0: 0.0},
    "cosine": {0.0: 1.0, 0.25: 0.5 * (1 + math.sqrt(0.5)), 0.5: 0.5, 1.0: 0.0},
    "one_cycle": {0.0: 0.04, 0.15: 0.52, 0.3: 1.0, 0.65: 0.500005, 1.0: 1e-5},
}


@pytest.mark.parametrize("schedule", POINTS)
def test_schedules(schedule):
    for progress, factor in POINTS[schedule].items():
        assert learning_rate_factor(schedule, progress) == pytest.approx(factor, abs=1e-9)
    peak = 0.3 if schedule == "one_cycle" else 0.0
    factors = [(step / 100, learning_rate_factor(schedule, step / 100)) for step in range(101)]
    for (progress, before), (_, after) in pairwise(factors):
        assert after > before if progress < peak else after <= before


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adam", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
        ("sgd", torch.optim.SGD),
        ("rmsprop", torch.optim.RMSprop),
    ],
)
def test_settings_reach_the_optimizer(tiny, name, kind):
    settings = tiny.training(optimizer=name, learning_rate=0.025, weight_decay=0.125, momentum=0.75)
    optimizer = make_optimizer(torch.nn.Linear(2, 2).parameters(), settings)
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.025, 0.125)
    if name == "sgd":
        assert group["momentum"] == 0.75
