"""Pinball loss and coverage of quantile forecasts, computed by hand, and the baselines."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest
import torch

from unroll.domains.prices.metrics import pinball_loss, quantile_baselines, quantile_scores
from unroll.domains.prices.samples import make_samples
from unroll.domains.prices.task import pinball

LEVELS = (0.1, 0.5, 0.9)
TINY_LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)


def test_pinball_by_hand_is_both_the_loss_and_the_metric():
    output, targets = np.array([[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]], np.float32), np.array([2.0, -1.5], np.float32)
    # For a target of 2: 0.1·3, 0.5·2, 0.9·1; for −1.5: 0.9·0.5, 0.5·1.5, 0.1·2.5
    rows = [(0.3 + 1.0 + 0.9) / 3, (0.45 + 0.75 + 0.25) / 3]
    assert pinball_loss(output, {"targets": targets}, LEVELS) == pytest.approx(rows)
    assert quantile_scores(output, {"targets": targets}, LEVELS)["pinball"] == pytest.approx(np.mean(rows))
    loss = pinball(torch.from_numpy(output), torch.from_numpy(targets), torch.tensor(LEVELS))
    assert float(loss) == pytest.approx(np.mean(rows))


def test_coverage_by_hand():
    prediction = np.tile([-1.0, 0.0, 1.0], (5, 1))
    found = quantile_scores(prediction, {"targets": np.array([-2.0, -1.0, 0.5, 1.0, 3.0])}, LEVELS)
    assert found["coverage_80"] == pytest.approx(3 / 5)
    assert found["below"] == {"0.1": 1 / 5, "0.5": 2 / 5, "0.9": 3 / 5}
    assert "coverage_80" not in quantile_scores(prediction, {"targets": np.zeros(5)}, (0.2, 0.5, 0.8))


def test_baselines_forecast_from_past_returns_alone(tiny):
    samples = tiny.samples("return_quantiles")
    found = quantile_baselines(samples, tiny.section("return_quantiles"))
    assert set(found) == {"constant", "rolling_60", "rolling_250", "ewma", "linear_quantile_regression"}
    for prediction in found.values():
        assert prediction.shape == (len(samples.test_rows()["targets"]), 5)
        assert (np.diff(prediction, axis=1) >= 0).all()
    returns = samples.tensors["targets"].astype(np.float64)
    fold = samples.folds[0]
    past = np.concatenate([fold.train, fold.valid])
    np.testing.assert_allclose(found["constant"][0], np.quantile(returns[past], TINY_LEVELS), rtol=1e-5)
    test = np.concatenate([one.test for one in samples.folds])
    for days in (60, 250):
        for place in (0, len(test) - 1):
            recent = returns[max(0, test[place] - days) : test[place]]
            expected = np.quantile(recent, TINY_LEVELS)
            np.testing.assert_allclose(found[f"rolling_{days}"][place], expected, rtol=1e-5, atol=1e-9)
    moves = np.diff(np.log(samples.tensors["inputs"][:, :, 0].astype(np.float64)), axis=1)[:, -10:]
    weights = 0.94 ** np.arange(9, -1, -1)
    volatility = np.sqrt((moves**2 * weights).sum(1) / weights.sum())
    expected = volatility[fold.test, None] * np.quantile(returns[past] / volatility[past], TINY_LEVELS)
    np.testing.assert_allclose(found["ewma"][: len(fold.test)], expected, rtol=2e-3, atol=1e-6)


def test_a_ticker_that_begins_in_the_test_split_gets_forecasts(tiny):
    young = tiny.prices(60, ("YOUNG",), first=date(2012, 3, 1), seed=1)
    section = tiny.section("return_quantiles")
    samples = make_samples(pa.concat_tables([tiny.prices(tickers=("OLD",)), young]), section, "t")
    assert all(np.isfinite(prediction).all() for prediction in quantile_baselines(samples, section).values())
