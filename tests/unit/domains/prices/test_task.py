"""Figures of price forecasts against numbers by hand, and the baselines."""

import math

import numpy as np
import pytest

from unroll.domains.prices import task as prices
from unroll.domains.prices.samples import make_samples as price_samples
from unroll.evaluation.evaluation import evaluate, metrics
from unroll.features.samples import Fold, Samples


def rows(targets, last, **more):
    return {"targets": np.array(targets, np.float32), "last": np.array(last, np.float32), **more}


def test_figures_by_hand():
    found = prices.metrics(np.array([1.0, 2.0, 7.0]), rows([2, 4, 4], [3, 4, 2]))
    # errors −1, −2, 3; persistence's 1, 0, −2
    assert found["rmse"] == pytest.approx(math.sqrt(14 / 3))
    assert found["mae"] == pytest.approx(2)
    assert found["ratio_to_persistence"] == pytest.approx(math.sqrt(14 / 5))
    assert found["rows"] == 3
    assert "by_step" not in found


def test_figures_at_every_step_by_hand():
    found = prices.metrics(np.array([[1.0, 2.0], [3.0, 5.0]]), rows([[1, 4], [2, 8]], [[0, 4], [0, 5]]))
    # errors 0, −2 and 1, −3; persistence's −1, 0 and −2, −3
    assert found["rmse"] == pytest.approx(math.sqrt(14 / 4))
    assert found["ratio_to_persistence"] == pytest.approx(math.sqrt(14 / 14))
    assert [one["step"] for one in found["by_step"]] == [1, 2]
    assert found["by_step"][0]["rmse"] == pytest.approx(math.sqrt(1 / 2))
    assert found["by_step"][0]["ratio_to_persistence"] == pytest.approx(math.sqrt(1 / 5))
    assert found["by_step"][1]["ratio_to_persistence"] == pytest.approx(math.sqrt(13 / 9))


def test_persistence_is_one_times_persistence():
    one = rows([2, 4, 4], [3, 4, 2])
    assert prices.metrics(one["last"], one)["ratio_to_persistence"] == 1.0


def test_losses_of_rows_are_the_last_steps():
    two = rows([[1, 4], [2, 8]], [[0, 4], [0, 5]])
    assert prices.per_sample_loss(np.array([[9.0, 2.0], [9.0, 5.0]]), two).tolist() == [4.0, 9.0]
    assert prices.per_sample_loss(np.array([1.0, 2.0]), rows([2, 4], [0, 0])).tolist() == [1.0, 4.0]


def line(every_step=False):
    """Prices 1, 2, 4, 8 … in windows of two."""
    values = 2.0 ** np.arange(12)
    steps = np.arange(10)[:, None] + np.arange(2)
    last, targets = values[steps], values[steps + 1]
    tensors = {
        "inputs": values[steps][:, :, None].astype(np.float32),
        "targets": (targets if every_step else targets[:, -1]).astype(np.float32),
        "last": (last if every_step else last[:, -1]).astype(np.float32),
        "series": np.zeros(10, np.int32),
    }
    return Samples(tensors, (Fold("all", np.arange(0, 5), np.arange(5, 6), np.arange(6, 10)),))


def test_baselines_by_hand():
    found = prices.baselines(line())
    last = [2.0**7, 2.0**8, 2.0**9, 2.0**10]
    assert found["persistence"].tolist() == last
    np.testing.assert_allclose(found["drift"], [2 * value for value in last], rtol=1e-6)
    # Rows 2 to 6 know the days 3 to 7: (8 + … + 128) / 5
    assert found["mean_of_5_days"][0] == pytest.approx((8 + 16 + 32 + 64 + 128) / 5)
    assert found["mean_of_5_days"][3] == pytest.approx((64 + 128 + 256 + 512 + 1024) / 5)


def test_baselines_at_every_step_by_hand():
    found = prices.baselines(line(every_step=True))
    assert found["persistence"].shape == found["drift"].shape == found["mean_of_5_days"].shape == (4, 2)
    assert found["persistence"][0].tolist() == [64, 128]
    np.testing.assert_allclose(found["drift"][0], [128, 256], rtol=1e-6)
    assert found["mean_of_5_days"][0].tolist() == [64, (64 + 128) / 2]


def test_mean_of_days_at_every_step_has_five_of_them():
    last = np.arange(1.0, 9.0, dtype=np.float32)[None]
    samples = Samples({"last": last, "targets": last, "series": np.zeros(1, np.int32)}, ())
    found = prices._recent_mean(samples, np.array([0]))
    assert found[0].tolist() == [1, 1.5, 2, 2.5, 3, 4, 5, 6]


def test_mean_of_days_stays_within_a_ticker():
    last = np.array([1, 1, 1, 100, 200], np.float32)
    samples = Samples({"last": last, "targets": last, "series": np.array([0, 0, 0, 1, 1], np.int32)}, ())
    assert prices._recent_mean(samples, np.array([2, 3, 4])).tolist() == [1, 100, 150]


def test_persistence_of_an_open_is_yesterdays_close(tiny):
    table = tiny.prices()
    changes = {"columns": ["open"], "target": "open"}
    samples, task = tiny.samples("price", **changes), tiny.task("price", **changes)
    found = task.metrics.baselines(samples)["persistence"]
    expected = table["close"].to_numpy().astype(np.float32)[7:-1][samples.folds[0].test]
    np.testing.assert_array_equal(found, expected)
    figures = metrics(task, found, samples.test_rows())
    assert figures["ratio_to_persistence"] == 1.0


@pytest.mark.parametrize("target", ["close", "open"])
def test_an_untrained_residual_forecast_is_persistence(tiny, target):
    """Its head begins at zero, and zero is no change from the last known price."""
    import torch

    from unroll.training.members import new_network, training_split

    changes = {"columns": ["open", "close"], "target": target}
    task, samples = tiny.task("log_return", **changes), tiny.samples("log_return", **changes)
    data = training_split(samples, task, samples.folds[0].train, torch.device("cpu"))
    network = new_network(task, tiny.model("gru"), data, 0).eval()
    with torch.inference_mode():
        found = network(torch.from_numpy(samples.test_rows()["inputs"])).numpy()
    np.testing.assert_allclose(found, task.metrics.baselines(samples)["persistence"], rtol=1e-5)


@pytest.mark.parametrize("kind", ["price", "log_return"])
def test_periods_are_figures_of_their_own_rows(tiny, kind):
    task, samples = tiny.task(kind), tiny.samples(kind)
    test = samples.test_rows()
    prediction = test["targets"] + np.arange(len(test["targets"]), dtype=np.float32)
    found = evaluate(task.metrics, prediction, task.metrics.baselines(samples), test)
    assert list(found["test"]["periods"]) == ["april", "spring"]
    april, spring = (found["test"]["periods"][name] for name in ("april", "spring"))
    count = april["rows"]
    assert 0 < count < spring["rows"] == len(prediction)
    assert april["rmse"] == pytest.approx(math.sqrt(np.mean(np.arange(count) ** 2)), rel=1e-4)
    assert spring["rmse"] == pytest.approx(math.sqrt(np.mean(np.arange(len(prediction)) ** 2)), rel=1e-4)
    # The first period gives the headline.
    assert {key: value for key, value in found["test"].items() if key != "periods"} == april
    for name in ("persistence", "drift", "mean_of_5_days"):
        assert list(found["baseline"][name]["periods"]) == ["april", "spring"]
        assert list(found["against"][name]["periods"]) == ["april", "spring"]
        assert found["against"][name]["p_value"] == found["against"][name]["periods"]["april"]["p_value"]


@pytest.mark.parametrize("kind", ["price", "price_steps", "log_return"])
def test_keys_that_other_tools_read(tiny, kind):
    task, samples = tiny.task(kind), tiny.samples(kind)
    test = samples.test_rows()
    found = evaluate(task.metrics, test["targets"] * 1.01, task.metrics.baselines(samples), test)
    for key in ("rmse", "mae", "ratio_to_persistence"):
        assert found["test"][key] > 0
    assert found["baseline"]["persistence"]["rmse"] > 0
    assert found["baseline"]["persistence"]["ratio_to_persistence"] == 1.0
    assert task.metrics.headline == "rmse"
    assert task.metrics.is_better(1.0, 2.0)
    assert not task.metrics.is_better(2.0, 2.0)


def test_skill_and_p_value_against_each_baseline(tiny):
    task, samples = tiny.task("log_return"), tiny.samples("log_return")
    test = samples.test_rows()
    others = task.metrics.baselines(samples)
    found = evaluate(task.metrics, test["targets"], others, test)["against"]
    assert all(one["skill"] == pytest.approx(1) and one["p_value"] < 0.05 for one in found.values())
    same = evaluate(task.metrics, others["persistence"], others, test)["against"]["persistence"]
    assert (same["skill"], same["p_value"]) == (0.0, None)


@pytest.mark.parametrize("kind", ["price", "price_steps", "log_return", "return_quantiles", "digits"])
def test_every_task_draws_its_plots(tiny, kind, tmp_path):
    task, samples = tiny.task(kind), tiny.samples(kind)
    test = samples.test_rows()
    if kind == "digits":
        prediction = np.random.default_rng(0).dirichlet(np.ones(10), len(test["targets"])).astype(np.float32)
    elif kind == "return_quantiles":
        prediction = task.metrics.baselines(samples)["ewma"]
    else:
        prediction = test["targets"] * np.float32(1.01)
    evaluation = evaluate(task.metrics, prediction, task.metrics.baselines(samples), test)
    for folder in ("one", "two"):
        task.plot(tmp_path / folder, "an-experiment", prediction, test, evaluation)
    pictures = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert pictures
    assert all(name.endswith(".png") for name in pictures)
    for name in pictures:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_plot_shows_each_periods_own_days(tiny, tmp_path, monkeypatch):
    """Periods that do not overlap, and two tickers: a line a ticker, and only days of the panel's period."""
    from matplotlib.axes import Axes

    test = {
        "late": {"first": "2012-06-01", "last": "2012-06-30"},
        "early": {"first": "2011-04-01", "last": "2011-04-30"},
    }
    splits = {**tiny.splits("dates").model_dump(mode="json"), "test": test}
    task = tiny.task("price", splits=splits)
    samples = price_samples(tiny.prices(tickers=("A", "B")), tiny.section("price", splits=splits), "t")
    rows, others = samples.test_rows(), task.metrics.baselines(samples)
    drawn, plot = [], Axes.plot
    monkeypatch.setattr(Axes, "plot", lambda axis, *rest, **style: drawn.append(rest[0]) or plot(axis, *rest, **style))
    task.plot(tmp_path, "x", others["drift"], rows, evaluate(task.metrics, others["drift"], others, rows))
    months = [str(days[0].astype("datetime64[M]")) for days in drawn]
    assert months == ["2012-06"] * 6 + ["2011-04"] * 6
    assert all(len(np.unique(days)) == len(days) for days in drawn)
    assert (tmp_path / "forecast.png").exists()
