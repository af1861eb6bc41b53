"""Metrics beside baselines, paired tests and the bootstrap, and what a trained network shows of itself."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import t

from unroll.evaluation.evaluation import evaluate, evaluate_seeds
from unroll.evaluation.inspection import gradient_reach
from unroll.evaluation.statistics import Interval, p_value, paired_bootstrap, skill
from unroll.models.encoders import RecurrentEncoder
from unroll.models.heads import LinearHead
from unroll.models.network import SequenceNetwork
from unroll.models.preprocessing import PriceLevels
from unroll.training.batches import Batches

ROWS = {"targets": np.array([0, 1, 1, 0]), "inputs": np.zeros((4, 2))}
GOOD, BAD = np.array([0, 1, 1, 1]), np.array([1, 1, 0, 1])


def test_a_model_is_compared_with_each_baseline(tiny):
    found = evaluate(tiny.task("digits").metrics, GOOD, {"guess": BAD}, ROWS)
    assert (found["test"]["accuracy"], found["baseline"]["guess"]["accuracy"]) == (0.75, 0.25)
    assert found["against"]["guess"]["skill"] == pytest.approx(1 - 0.25 / 0.75)
    assert found["against"]["guess"]["test"] == "mcnemar"


def test_seeds_have_a_mean_and_a_standard_deviation(tiny):
    metrics = tiny.task("digits").metrics
    found = evaluate_seeds(metrics, {0: GOOD, 7: BAD}, ROWS)
    assert {seed: one["accuracy"] for seed, one in found["per_seed"].items()} == {"0": 0.75, "7": 0.25}
    assert (found["seed_mean"], found["seed_std"]) == (0.5, pytest.approx(np.std([0.75, 0.25], ddof=1)))
    single = evaluate_seeds(metrics, {0: GOOD}, ROWS)
    assert (single["seed_mean"], single["seed_std"]) == (None, None)


@pytest.mark.parametrize("test", ["diebold_mariano", "paired_t_test"])
def test_one_step_forecasts_and_independent_rows(test):
    """Diebold–Mariano with the correction by Harvey et al. for horizon 1, which is a paired t-test."""
    ours, theirs = np.array([1.0, 2.0, 0.0, 3.0, 1.0]), np.array([2.0, 2.0, 3.0, 2.0, 4.0])
    differences = [-1.0, 0.0, -3.0, 1.0, -3.0]
    mean = -6 / 5
    variance = sum((value - mean) ** 2 for value in differences) / 5
    statistic = mean / math.sqrt(variance / 5) * math.sqrt(4 / 5)
    assert p_value(test, ours, theirs) == pytest.approx(2 * t.cdf(-abs(statistic), 4))
    assert p_value(test, ours, theirs) == pytest.approx(p_value(test, theirs, ours))


def test_the_interval_of_the_skill():
    """Beside a constant loss it is the interval of the mean; it has 0 inside where the test finds no difference."""
    rng = np.random.default_rng(0)
    ours, theirs = rng.gamma(2.0, 1.0, 400), rng.gamma(2.0, 1.2, 400)
    low, high = t.interval(0.95, 399, ours.mean(), ours.std(ddof=1) / 20)
    assert skill(ours, np.full(400, 4.0)) == {
        "skill": pytest.approx(1 - ours.mean() / 4),
        "interval": pytest.approx([1 - high / 4, 1 - low / 4]),
    }
    for scale in np.linspace(0.5, 2, 31):
        low, high = skill(scale * ours, theirs)["interval"]
        assert (low < 0 < high) is (p_value("paired_t_test", scale * ours, theirs) > 0.05)
    assert skill(ours[:1], theirs[:1])["interval"] is None
    assert skill(ours, 0 * ours) == {"skill": None, "interval": None}


def test_mcnemar_counts_the_rows_where_one_model_alone_is_wrong():
    """1 against 5 such rows: twice the probability of at most 1 in 6 throws of a coin, 2 · 7 / 64."""
    ours = np.array([1.0] + [0.0] * 5 + [1.0] * 10 + [0.0] * 10)
    theirs = np.array([0.0] + [1.0] * 5 + [1.0] * 10 + [0.0] * 10)
    assert p_value("mcnemar", ours, theirs) == pytest.approx(14 / 64)
    assert p_value("mcnemar", theirs, ours) == pytest.approx(14 / 64)


@pytest.mark.parametrize("test", ["diebold_mariano", "mcnemar", "paired_t_test"])
@pytest.mark.parametrize("losses", [[], [1.0], [1.0, 1.0, 1.0]])
def test_equal_losses_have_no_p_value(test, losses):
    assert p_value(test, np.array(losses), np.array(losses)) is None


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([1.0] * 5, Interval(1.0, 1.0, 1.0)),
        ([0.0] * 4, Interval(0.0, 0.0, 0.0)),
        ([1.0], Interval(1.0, 1.0, 1.0)),
        # Means of two draws: 0, ½ or 1 in 1, 2 and 1 of 4 cases.
        ([0.0, 1.0], Interval(0.5, 0.0, 1.0)),
        # One error in a thousand rows: the errors in a draw are nearly Poisson(1), of which 97.5 % are 3 or fewer.
        ([1.0] + [0.0] * 999, Interval(0.001, 0.0, pytest.approx(0.003))),
    ],
)
def test_intervals_of_known_differences(losses, expected):
    assert paired_bootstrap(np.array(losses), np.zeros(len(losses))) == expected


def test_rows_stay_paired():
    """A row that is hard for both models makes no difference between them."""
    hard = np.random.default_rng(0).normal(0, 100, 300)
    assert paired_bootstrap(hard + 0.01, hard).worse
    assert not paired_bootstrap(np.random.default_rng(1).permutation(hard) + 0.01, hard).worse


def test_gradient_reach_of_a_linear_recurrence():
    """h_t = w · h_{t−1} + x_t (relu, all positive): ∂h_T/∂x_t = w^(T−t)."""
    encoder = RecurrentEncoder(1, [("rnn", 1)], nonlinearity="relu")
    network = SequenceNetwork(PriceLevels(1, 0), encoder, LinearHead(1, 1))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.fill_(0.0 if "bias" in name else 0.5 if "weight_hh" in name else 1.0)
    task = SimpleNamespace(loss=lambda output, target: output.mean())
    data = Batches(torch.rand(6, 5, 1), torch.zeros(6))
    assert gradient_reach(network, task, data) == pytest.approx([0.5**4, 0.5**3, 0.5**2, 0.5, 1.0])
