"""Schedules by hand, and settings that reach the optimizer."""

import math
from itertools import pairwise

import pytest
import torch

from unroll.training.optimizers import make_optimizer, rate_share


@pytest.mark.parametrize(
    ("schedule", "progress", "share"),
    [
        ("constant", 0.0, 1.0),
        ("constant", 0.7, 1.0),
        ("linear", 0.0, 1.0),
        ("linear", 0.25, 0.75),
        ("linear", 1.0, 0.0),
        ("cosine", 0.0, 1.0),
        ("cosine", 0.25, 0.5 * (1 + math.sqrt(0.5))),
        ("cosine", 0.5, 0.5),
        ("cosine", 1.0, 0.0),
        ("one_cycle", 0.0, 0.04),
        ("one_cycle", 0.15, 0.52),
        ("one_cycle", 0.3, 1.0),
        ("one_cycle", 0.65, 0.500005),
        ("one_cycle", 1.0, 1e-5),
    ],
)
def test_schedules_by_hand(schedule, progress, share):
    assert rate_share(schedule, progress) == pytest.approx(share, abs=1e-9)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_schedules_fall(schedule):
    shares = [rate_share(schedule, step / 50) for step in range(51)]
    assert all(after < before for before, after in pairwise(shares))


def test_one_cycle_rises_to_its_peak_and_falls():
    shares = [rate_share("one_cycle", step / 100) for step in range(101)]
    peak = shares.index(max(shares))
    assert peak == 30
    assert all(after > before for before, after in pairwise(shares[:31]))
    assert all(after < before for before, after in pairwise(shares[30:]))


def test_unknown_schedule():
    with pytest.raises(ValueError, match="'steps': use constant, linear, cosine or one_cycle"):
        rate_share("steps", 0.5)


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
