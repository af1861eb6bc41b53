"""Metrics and baselines of price forecasts, computed by hand."""

import math

import numpy as np
import pytest

from unroll.domains.prices.metrics import _recent_mean, price_baselines, price_scores, squared_error
from unroll.evaluation.evaluation import evaluate
from unroll.features.samples import Fold, Samples


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
