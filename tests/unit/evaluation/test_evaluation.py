"""Test metrics beside baselines, and of the networks of each seed."""

import numpy as np
import pytest

from unroll.evaluation.evaluation import evaluate, evaluate_seeds
from unroll.plotting.figures import learning_curves

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


@pytest.mark.parametrize("valid", [None, 0.5])
def test_learning_curves_of_folds_seeds_and_early_stops(tmp_path, valid):
    history = [
        {"fold": fold, "seed": seed, "epoch": epoch, "train_loss": 1 / epoch, "gradient_norm": 0.1}
        | {"valid_loss": valid, "valid_metric": valid}
        for fold in ("2011", "2012")
        for seed in (0, 1)
        for epoch in range(1, 4 - seed)
    ]
    learning_curves(tmp_path / "learning.png", "an experiment", history, "rmse")
    assert (tmp_path / "learning.png").stat().st_size > 1000
