"""Figures of quantile forecasts against numbers by hand, and the baselines."""

import numpy as np
import pytest
import torch

from unroll.domains.prices import quantiles
from unroll.domains.prices.samples import make_samples as price_samples
from unroll.evaluation.evaluation import evaluate

LEVELS = (0.1, 0.5, 0.9)


def pinball(level, quantile, target):
    return level * (target - quantile) if target >= quantile else (1 - level) * (quantile - target)


def test_pinball_by_hand():
    # Of 0.1, 0.5 and 0.9 at −1, 0 and 1, for a target of 2: 0.1·3, 0.5·2, 0.9·1; for −1.5: 0.9·0.5, 0.5·1.5, 0.1·2.5
    output = torch.tensor([[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]])
    expected = (0.3 + 1.0 + 0.9 + 0.45 + 0.75 + 0.25) / 6
    found = quantiles.pinball(output, torch.tensor([2.0, -1.5]), torch.tensor(LEVELS))
    assert float(found) == pytest.approx(expected)


def test_loss_and_metric_are_the_same_number():
    rng = np.random.default_rng(0)
    prediction = np.sort(rng.normal(size=(50, 3)), axis=1).astype(np.float32)
    targets = rng.normal(size=50).astype(np.float32)
    found = quantiles.metrics(prediction, {"targets": targets}, LEVELS)["pinball"]
    expected = np.mean(
        [
            [pinball(q, p, t) for q, p in zip(LEVELS, row, strict=True)]
            for row, t in zip(prediction, targets, strict=True)
        ]
    )
    assert found == pytest.approx(expected, rel=1e-6)
    loss = quantiles.pinball(torch.from_numpy(prediction), torch.from_numpy(targets), torch.tensor(LEVELS))
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_pinball_is_least_at_the_quantile():
    targets = np.random.default_rng(0).normal(size=4001).astype(np.float32)
    best = np.tile(np.quantile(targets, LEVELS), (len(targets), 1))
    lowest = quantiles.per_sample_loss(best, {"targets": targets}, LEVELS).mean()
    for shift in (-0.2, -0.05, 0.05, 0.2):
        assert quantiles.per_sample_loss(best + shift, {"targets": targets}, LEVELS).mean() > lowest


def test_coverage_by_hand():
    prediction = np.tile([-1.0, 0.0, 1.0], (5, 1))
    found = quantiles.metrics(prediction, {"targets": np.array([-2.0, -1.0, 0.5, 1.0, 3.0])}, LEVELS)
    assert found["coverage_80"] == pytest.approx(3 / 5)
    assert found["below"] == {"0.1": 1 / 5, "0.5": 2 / 5, "0.9": 3 / 5}
    assert found["rows"] == 5


def test_no_coverage_without_its_levels():
    found = quantiles.metrics(np.zeros((2, 3)), {"targets": np.zeros(2)}, (0.2, 0.5, 0.8))
    assert "coverage_80" not in found


@pytest.fixture(scope="module")
def made(tiny):
    section = tiny.section("return_quantiles")
    samples = price_samples(tiny.prices(), section, "return_quantiles")
    task = tiny.task("return_quantiles")
    return samples, task, task.metrics.baselines(samples)


def test_baselines_have_a_forecast_a_row(made):
    samples, _, found = made
    count = len(samples.test_rows()["targets"])
    assert set(found) == {"constant", "rolling_60", "rolling_250", "ewma", "linear_quantile_regression"}
    for prediction in found.values():
        assert prediction.shape == (count, 5)
        assert (np.diff(prediction, axis=1) >= 0).all()


def test_constant_is_the_quantiles_of_all_past_returns(made):
    samples, _, found = made
    start = 0
    for fold in samples.folds:
        past = samples.tensors["targets"][np.concatenate([fold.train, fold.valid])].astype(np.float64)
        expected = np.quantile(past, (0.1, 0.25, 0.5, 0.75, 0.9))
        for row in (start, start + len(fold.test) - 1):
            np.testing.assert_allclose(found["constant"][row], expected, rtol=1e-5)
        start += len(fold.test)


@pytest.mark.parametrize("days", [60, 250])
def test_rolling_reads_the_days_before_alone(made, days):
    samples, _, found = made
    returns = samples.tensors["targets"].astype(np.float64)
    test = np.concatenate([fold.test for fold in samples.folds])
    for place in (0, 17, len(test) - 1):
        row = test[place]
        expected = np.quantile(returns[max(0, row - days) : row], (0.1, 0.25, 0.5, 0.75, 0.9))
        np.testing.assert_allclose(found[f"rolling_{days}"][place], expected, rtol=1e-5, atol=1e-9)


def test_ewma_is_todays_volatility_times_past_standardised_returns(made):
    samples, _, found = made
    closes = samples.tensors["inputs"][:, :, 0].astype(np.float64)
    returns = np.diff(np.log(closes), axis=1)[:, -10:]
    weights = 0.94 ** np.arange(9, -1, -1)
    volatility = np.sqrt((returns**2 * weights).sum(1) / weights.sum())
    fold = samples.folds[0]
    past = np.concatenate([fold.train, fold.valid])
    standardized = samples.tensors["targets"][past] / volatility[past]
    expected = volatility[fold.test, None] * np.quantile(standardized, (0.1, 0.25, 0.5, 0.75, 0.9))
    np.testing.assert_allclose(found["ewma"][: len(fold.test)], expected, rtol=2e-3, atol=1e-6)


def test_baselines_of_a_ticker_that_begins_in_the_test_split(tiny):
    """A company that went public in the test year has no past of its own."""
    from datetime import date

    import pyarrow as pa

    table = pa.concat_tables(
        [tiny.prices(tickers=("OLD",)), tiny.prices(60, ("YOUNG",), first=date(2012, 3, 1), seed=1)]
    )
    samples = price_samples(table, tiny.section("return_quantiles"), "t")
    found = tiny.task("return_quantiles").baselines(samples)
    assert all(np.isfinite(prediction).all() for prediction in found.values())


def test_keys_that_other_tools_read(made):
    samples, task, others = made
    rows = samples.test_rows()
    found = evaluate(task.metrics, others["ewma"], others, rows)
    assert found["test"]["pinball"] > 0
    assert 0.6 < found["test"]["coverage_80"] < 0.95
    for name in others:
        assert found["baseline"][name]["pinball"] > 0
    assert found["against"]["ewma"] == {"skill": 0.0, "p_value": None, "test": "diebold_mariano"}
    assert (task.metrics.headline, task.metrics.higher_is_better) == ("pinball", False)


def test_named_periods_have_figures_of_their_own(tiny):
    """params.DateSplits promises it for every task: the first period gives the headline figures."""
    splits = tiny.splits("dates").model_dump(mode="json")
    task = tiny.task("return_quantiles", splits=splits)
    samples = price_samples(tiny.prices(), tiny.section("return_quantiles", splits=splits), "t")
    rows = samples.test_rows()
    others = task.metrics.baselines(samples)
    found = evaluate(task.metrics, others["ewma"], others, rows)
    assert list(found["test"]["periods"]) == ["april", "spring"]
