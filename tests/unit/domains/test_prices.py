"""Samples, metrics and baselines of price forecasts."""

import math
from datetime import date

import numpy as np
import pyarrow as pa
import pytest
import torch

from unroll.domains.prices.metrics import (
    _recent_mean,
    pinball_loss,
    price_baselines,
    price_scores,
    quantile_baselines,
    quantile_scores,
    squared_error,
)
from unroll.domains.prices.samples import make_samples
from unroll.domains.task import pinball
from unroll.errors import DataError
from unroll.evaluation.evaluation import evaluate
from unroll.features.samples import Fold, Samples


def test_columns_have_the_order_of_the_parameters(tiny):
    table, columns = tiny.prices(), ["volume", "close", "open"]
    rows = make_samples(table, tiny.section("log_return", columns=columns), "t").tensors["inputs"][0]
    for position, column in enumerate(columns):
        np.testing.assert_allclose(rows[:, position], table[column].to_numpy()[:8].astype(np.float32))


@pytest.mark.parametrize(("target", "known"), [("close", "close"), ("high", "high"), ("open", "close")])
def test_the_last_known_price_of_an_opening_is_the_close_before_it(tiny, target, known):
    table = tiny.prices()
    tensors = make_samples(table, tiny.section("price", columns=[target], target=target), "t").tensors
    np.testing.assert_array_equal(tensors["last"], table[known].to_numpy().astype(np.float32)[7:-1])
    np.testing.assert_array_equal(tensors["targets"], table[target].to_numpy().astype(np.float32)[8:])


def test_quantile_targets_are_log_returns(tiny):
    close = tiny.prices()["close"].to_numpy().astype(np.float32).astype(np.float64)
    tensors, length = tiny.samples("return_quantiles").tensors, 10 + 5 + 1
    assert tensors["inputs"].shape[1:] == (length, 1)
    np.testing.assert_allclose(tensors["targets"], np.log(close[length:] / close[length - 1 : -1]), atol=1e-7)


def test_a_column_with_nulls_is_an_error_where_it_is_read(tiny):
    table = tiny.prices()
    values = table["volume"].to_pylist()
    values[5] = values[9] = None
    table = table.set_column(table.column_names.index("volume"), "volume", pa.array(values, pa.int64()))
    with pytest.raises(DataError, match=r"tasks\.t.*volume.* 2 of 780 rows"):
        make_samples(table, tiny.section("log_return", columns=["close", "volume"]), "t")
    assert make_samples(table, tiny.section("price"), "t").tensors["inputs"].shape[2] == 1


def rows(targets, last):
    return {"targets": np.array(targets, np.float32), "last": np.array(last, np.float32)}


def test_score_by_hand():
    found = price_scores(np.array([1.0, 2.0, 7.0]), rows([2, 4, 4], [3, 4, 2]))
    # errors −1, −2, 3; persistence's 1, 0, −2
    assert found == {
        "rmse": pytest.approx(math.sqrt(14 / 3)),
        "mae": pytest.approx(2),
        "ratio_to_persistence": pytest.approx(math.sqrt(14 / 5)),
        "rows": 3,
    }


def test_score_at_every_step_by_hand():
    test = rows([[1, 4], [2, 8]], [[0, 4], [0, 5]])
    found = price_scores(np.array([[1.0, 2.0], [3.0, 5.0]]), test)
    # errors 0, −2 and 1, −3; persistence's −1, 0 and −2, −3
    assert found["rmse"] == pytest.approx(math.sqrt(14 / 4))
    assert found["ratio_to_persistence"] == pytest.approx(1)
    assert found["by_step"] == [
        {"step": 1, "rmse": pytest.approx(math.sqrt(1 / 2)), "ratio_to_persistence": pytest.approx(math.sqrt(1 / 5))},
        {"step": 2, "rmse": pytest.approx(math.sqrt(13 / 2)), "ratio_to_persistence": pytest.approx(math.sqrt(13 / 9))},
    ]
    # Earlier steps are known by then.
    assert squared_error(np.array([[9.0, 2.0], [9.0, 5.0]]), test).tolist() == [4.0, 9.0]
    assert squared_error(np.array([1.0, 2.0]), rows([2, 4], [0, 0])).tolist() == [1.0, 4.0]


def doubling(every_step=False):
    """Prices 1, 2, 4, 8 … in windows of two."""
    values = 2.0 ** np.arange(12)
    steps = np.arange(10)[:, None] + np.arange(2)
    last, targets = values[steps], values[steps + 1]
    tensors = {
        "targets": (targets if every_step else targets[:, -1]).astype(np.float32),
        "last": (last if every_step else last[:, -1]).astype(np.float32),
        "series": np.zeros(10, np.int32),
    }
    return Samples(tensors, (Fold("all", np.arange(0, 5), np.arange(5, 6), np.arange(6, 10)),))


def test_baselines_by_hand():
    found = price_baselines(doubling())
    last = [2.0**7, 2.0**8, 2.0**9, 2.0**10]
    assert found["persistence"].tolist() == last
    np.testing.assert_allclose(found["drift"], [2 * value for value in last], rtol=1e-6)
    assert found["mean_of_5_days"][0] == pytest.approx((8 + 16 + 32 + 64 + 128) / 5)
    steps = price_baselines(doubling(every_step=True))
    assert steps["persistence"][0].tolist() == [64, 128]
    np.testing.assert_allclose(steps["drift"][0], [128, 256], rtol=1e-6)
    assert steps["mean_of_5_days"][0].tolist() == [64, (64 + 128) / 2]


def test_the_mean_of_five_days_has_five_days_of_one_ticker():
    last = np.arange(1.0, 9.0, dtype=np.float32)[None]
    steps = Samples({"last": last, "series": np.zeros(1, np.int32)}, ())
    assert _recent_mean(steps, np.array([0]))[0].tolist() == [1, 1.5, 2, 2.5, 3, 4, 5, 6]
    last = np.array([1, 1, 1, 100, 200], np.float32)
    tickers = Samples({"last": last, "series": np.array([0, 0, 0, 1, 1], np.int32)}, ())
    assert _recent_mean(tickers, np.array([2, 3, 4])).tolist() == [1, 100, 150]


@pytest.mark.parametrize("target", ["close", "open"])
def test_an_untrained_residual_forecast_is_persistence(tiny, target):
    """Its head is initialized with zeros, and zero is no change from the last known price."""
    import torch
    from small_trainings import new_network

    from unroll.training.batches import make_batches

    changes = {"columns": ["open", "close"], "target": target}
    task, samples = tiny.task("log_return", **changes), tiny.samples("log_return", **changes)
    data = make_batches(samples, task, samples.folds[0].train, torch.device("cpu"))
    network = new_network(task, tiny.model("gru"), data, 0).eval()
    with torch.inference_mode():
        found = network(torch.from_numpy(samples.test_rows()["inputs"])).numpy()
    np.testing.assert_allclose(found, task.metrics.baselines(samples)["persistence"], rtol=1e-5)


def test_each_period_has_metrics_of_its_own_rows(tiny):
    task, samples = tiny.task("price"), tiny.samples("price")
    test = samples.test_rows()
    prediction = test["targets"] + np.arange(len(test["targets"]), dtype=np.float32)
    found = evaluate(task.metrics, prediction, task.metrics.baselines(samples), test)
    april, spring = found["test"]["periods"]["april"], found["test"]["periods"]["spring"]
    assert 0 < april["rows"] < spring["rows"] == len(prediction)
    for one in (april, spring):
        assert one["rmse"] == pytest.approx(math.sqrt(np.mean(np.arange(one["rows"]) ** 2)), rel=1e-4)
    # The first period gives the headline.
    assert {key: value for key, value in found["test"].items() if key != "periods"} == april
    assert list(found["against"]["drift"]["periods"]) == ["april", "spring"]


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
