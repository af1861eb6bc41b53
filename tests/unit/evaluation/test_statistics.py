"""Paired tests and the bootstrap, against values that can be computed beforehand."""

import math

import numpy as np
import pytest
from scipy.stats import t

from unroll.evaluation.statistics import Interval, p_value, paired_bootstrap


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


def test_normal_differences_agree_with_the_normal_interval():
    random = np.random.default_rng(1)
    losses, other = random.normal(0.3, 1, 400), random.normal(0, 1, 400)
    difference = losses - other
    margin = 1.96 * difference.std() / np.sqrt(400)
    interval = paired_bootstrap(losses, other)
    assert interval.low == pytest.approx(difference.mean() - margin, abs=0.02)
    assert interval.high == pytest.approx(difference.mean() + margin, abs=0.02)
    assert interval.worse
    assert paired_bootstrap(other, losses).better


def test_rows_stay_paired():
    """A row that is hard for both models makes no difference between them."""
    hard = np.random.default_rng(0).normal(0, 100, 300)
    assert paired_bootstrap(hard + 0.01, hard).worse
    assert not paired_bootstrap(np.random.default_rng(1).permutation(hard) + 0.01, hard).worse


def test_equal_seeds_give_equal_intervals():
    losses = np.random.default_rng(0).normal(size=50)
    assert paired_bootstrap(losses, np.zeros(50)) == paired_bootstrap(losses, np.zeros(50))
    assert paired_bootstrap(losses, np.zeros(50), seed=1) != paired_bootstrap(losses, np.zeros(50))


@pytest.mark.parametrize(("one", "other"), [(3, 4), (0, 0)])
def test_losses_of_different_rows_are_refused(one, other):
    with pytest.raises(ValueError, match="same rows"):
        paired_bootstrap(np.zeros(one), np.zeros(other))
