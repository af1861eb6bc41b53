"""The confidence interval of a difference, against values that can be said beforehand."""

import numpy as np
import pytest

from unroll.promotion import bootstrap
from unroll.promotion.bootstrap import Interval, paired_interval


def test_a_constant_difference_is_certain():
    assert paired_interval(np.ones(5), np.zeros(5)) == Interval(1.0, 1.0, 1.0)


def test_equal_losses_decide_nothing():
    losses = np.array([0.0, 1.0, 1.0, 0.0])
    found = paired_interval(losses, losses)
    assert found == Interval(0.0, 0.0, 0.0)
    assert not found.worse
    assert not found.better


def test_two_rows_by_hand():
    """Of two rows with the differences 0 and 1, a draw's mean is 0, ½ or 1 in 1, 2 and 1 of 4 cases."""
    found = paired_interval(np.array([0.0, 1.0]), np.zeros(2))
    assert found == Interval(0.5, 0.0, 1.0)


def test_one_error_among_many_rows():
    """Of n rows with one error, the number of errors in a draw is nearly Poisson(1): 97.5 % lie at 3 or below."""
    losses = np.zeros(1000)
    losses[7] = 1
    found = paired_interval(losses, np.zeros(1000))
    assert (found.mean, found.low, found.high) == (0.001, 0.0, pytest.approx(0.003))
    assert not found.worse


def test_normal_differences_agree_with_the_textbook():
    random = np.random.default_rng(1)
    losses, other = random.normal(0.3, 1, 400), random.normal(0, 1, 400)
    difference = losses - other
    margin = 1.96 * difference.std() / np.sqrt(400)
    found = paired_interval(losses, other)
    assert found.low == pytest.approx(difference.mean() - margin, abs=0.02)
    assert found.high == pytest.approx(difference.mean() + margin, abs=0.02)
    assert found.worse
    assert paired_interval(other, losses).better


def test_pairs_are_kept():
    """What is hard for both is no difference between them, however much rows differ."""
    hard = np.random.default_rng(0).normal(0, 100, 300)
    assert paired_interval(hard + 0.01, hard).worse
    assert not paired_interval(np.random.default_rng(1).permutation(hard) + 0.01, hard).worse


def test_equal_seeds_give_equal_intervals():
    losses = np.random.default_rng(0).normal(size=50)
    assert paired_interval(losses, np.zeros(50)) == paired_interval(losses, np.zeros(50))
    assert paired_interval(losses, np.zeros(50), seed=1) != paired_interval(losses, np.zeros(50))


def test_memory_is_bounded_and_chunks_change_little(monkeypatch):
    losses = np.random.default_rng(0).normal(size=90)
    whole = paired_interval(losses, np.zeros(90))
    drawn = []
    real = np.random.default_rng

    class Counting:
        def __init__(self, seed):
            self.random = real(seed)

        def integers(self, low, high, shape, dtype):
            drawn.append(shape)
            return self.random.integers(low, high, shape, dtype)

    monkeypatch.setattr(bootstrap, "_CHUNK", 1000)
    monkeypatch.setattr(bootstrap.np.random, "default_rng", Counting)
    parts = paired_interval(losses, np.zeros(90))
    assert max(rows * columns for rows, columns in drawn) <= 1000
    assert sum(rows for rows, _ in drawn) == 10_000
    assert parts.low == pytest.approx(whole.low, abs=0.02)
    assert parts.high == pytest.approx(whole.high, abs=0.02)


@pytest.mark.parametrize(("one", "other"), [(3, 4), (0, 0)])
def test_losses_of_other_rows_are_refused(one, other):
    with pytest.raises(ValueError, match="same rows"):
        paired_interval(np.zeros(one), np.zeros(other))
