"""Whole models on synthetic digits and prices: better than their baselines, and as good in ONNX."""

import numpy as np
import onnxruntime
import pytest
import torch
from small_trainings import CPU, trained

from unroll.domains.digits.samples import make_samples as digit_samples
from unroll.domains.prices.samples import make_samples as price_samples
from unroll.evaluation.evaluation import evaluate
from unroll.export.onnx import export
from unroll.export.parity import example
from unroll.training.batches import make_batches
from unroll.training.build import combine
from unroll.training.prediction import predict


@pytest.fixture(scope="module")
def digits(tiny):
    """1,100 digits that differ in the order of their rows only, at a random height: single pixels say little."""
    return digit_samples(tiny.digits(900, 200), tiny.section("digits", valid_rows=100), "digits")


@pytest.fixture(scope="module")
def reader(tiny, digits, tmp_path_factory):
    """A GRU that has learned them."""
    settings = {"epochs": 12, "batch_size": 32, "learning_rate": 0.02, "schedule": "one_cycle"}
    folder = tmp_path_factory.mktemp("reader")
    network = trained(tiny, tiny.task("digits"), digits, tiny.model("gru", units=32), folder / "checkpoint", **settings)
    return combine(tiny.task("digits"), [network])


def test_a_recurrent_network_beats_every_baseline(tiny, digits, reader):
    task, rows = tiny.task("digits"), digits.test_rows()
    prediction = predict(reader, task, make_batches(digits, task, digits.shipped.test, CPU))
    found = evaluate(task.metrics, prediction, task.metrics.baselines(digits), rows)
    assert found["test"]["accuracy"] > 0.85
    for name, metrics in found["baseline"].items():
        assert found["test"]["accuracy"] > metrics["accuracy"] + 0.1, name
        assert found["against"][name]["p_value"] < 0.01


def test_the_exported_graph_is_as_good_on_any_batch_and_height(tiny, digits, reader, tmp_path):
    task, images = tiny.task("digits"), digits.test_rows()["inputs"]
    path = tmp_path / "model.onnx"
    export(reader, task, *example(task, make_batches(digits, task, digits.shipped.test, CPU)), path, dynamic_time=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def score(batch):
        return session.run(["label", "probabilities"], {"inputs": batch})

    labels, whole = score(images)
    assert (labels == digits.test_rows()["targets"]).mean() > 0.85
    parts = [score(images[start : start + 7])[1] for start in range(0, len(images), 7)]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-6)
    for rows in (1, 28, 56):
        taller = np.tile(images[:20], (1, 2, 1))[:, :rows]
        with torch.inference_mode():
            expected = reader(torch.from_numpy(taller))[1]
        np.testing.assert_allclose(score(taller)[1], expected, rtol=0, atol=1e-5)


def test_quantiles_of_a_random_walk_are_calibrated(tiny, tmp_path):
    """Its returns are independent and normal: the network must not do worse than a constant forecast."""
    section = tiny.section("return_quantiles")
    samples = price_samples(tiny.prices(), section, "return_quantiles")
    settings = {"epochs": 5, "batch_size": 64, "learning_rate": 0.003, "keep": "last"}
    task, fold = tiny.task("return_quantiles"), samples.shipped
    network = trained(tiny, task, samples, tiny.model("gru", units=8), tmp_path / "checkpoint", **settings)
    rows = samples.at(fold.test)
    prediction = predict(combine(task, [network]), task, make_batches(samples, task, fold.test, CPU))
    assert (np.diff(prediction, axis=1) > 0).all()
    metrics = task.metrics.score(prediction, rows)
    assert 0.7 < metrics["coverage_80"] < 0.9
    constant = task.metrics.baselines(samples)["constant"][-len(fold.test) :]
    assert metrics["pinball"] < 1.1 * task.metrics.score(constant, rows)["pinball"]
