"""Whole models on made digits: better than a sceptic's, and as good in ONNX, whatever batch and length."""

import numpy as np
import onnxruntime
import pytest
import torch
from small_trainings import CPU, trained

from unroll.domains.digits.samples import make_samples as digit_samples
from unroll.domains.prices.samples import make_samples as price_samples
from unroll.evaluation.evaluation import evaluate
from unroll.export.onnx import export
from unroll.export.parity import example, parity, parity_cases
from unroll.training.batches import Batches, make_batches
from unroll.training.build import combine
from unroll.training.prediction import predict


@pytest.fixture(scope="module")
def digits(tiny):
    """1,100 digits that differ in the order of their rows alone, at a chance height: a pixel tells next to nothing."""
    return digit_samples(tiny.digits(900, 200), tiny.section("digits", valid_rows=100), "digits")


@pytest.fixture(scope="module")
def reader(tiny, digits, tmp_path_factory):
    """A GRU that has learned them."""
    settings = {"epochs": 12, "batch_size": 32, "learning_rate": 0.02, "schedule": "one_cycle"}
    folder = tmp_path_factory.mktemp("reader")
    return trained(tiny, tiny.task("digits"), digits, tiny.model("gru", units=32), folder / "checkpoint", **settings)


def probabilities(tiny, reader, images):
    task = tiny.task("digits")
    data = Batches(torch.from_numpy(images), torch.zeros(len(images)))
    return predict(combine(task, [reader]), task, data)


def test_a_recurrent_network_beats_every_baseline(tiny, digits, reader):
    """It reads the order of the rows wherever they begin; what reads pixels by their place does not."""
    task, rows = tiny.task("digits"), digits.test_rows()
    found = evaluate(task.metrics, probabilities(tiny, reader, rows["inputs"]), task.metrics.baselines(digits), rows)
    assert found["test"]["accuracy"] > 0.85
    for name, figures in found["baseline"].items():
        assert found["test"]["accuracy"] > figures["accuracy"] + 0.1, name
        assert found["against"][name]["p_value"] < 0.01


@pytest.fixture(scope="module")
def session(tiny, digits, reader, tmp_path_factory):
    task = tiny.task("digits")
    network = combine(task, [reader])
    path = tmp_path_factory.mktemp("session") / "model.onnx"
    data = make_batches(digits, task, digits.folds[0].test, CPU)
    export(network, task, *example(task, data), path, dynamic_time=True)
    names = [spec.name for spec in task.outputs]
    assert parity(path, names, parity_cases(network, task, data, dynamic_time=True))["passed"]
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def score(session, images):
    return session.run(["label", "probabilities"], {"inputs": images})


def test_the_shipped_graph_is_as_good(tiny, digits, reader, session):
    rows = digits.test_rows()
    labels, _ = score(session, rows["inputs"])
    expected = probabilities(tiny, reader, rows["inputs"]).argmax(1)
    assert (labels == expected).all()
    assert (labels == rows["targets"]).mean() > 0.85


@pytest.mark.parametrize("size", [1, 2, 7, 64, 199])
def test_the_size_of_a_batch_changes_nothing(digits, session, size):
    images = digits.test_rows()["inputs"]
    _, whole = score(session, images)
    parts = [score(session, images[start : start + size])[1] for start in range(0, len(images), size)]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-6)


def test_the_order_of_a_batch_changes_nothing(digits, session):
    images = digits.test_rows()["inputs"]
    order = np.random.default_rng(0).permutation(len(images))
    np.testing.assert_allclose(score(session, images[order])[1], score(session, images)[1][order], rtol=0, atol=1e-6)


@pytest.mark.parametrize("rows", [1, 14, 27, 29, 56])
def test_images_of_another_height_are_scored_as_torch_scores_them(tiny, digits, reader, session, rows):
    images = np.tile(digits.test_rows()["inputs"][:20], (1, 2, 1))[:, :rows]
    _, found = score(session, images)
    np.testing.assert_allclose(found, probabilities(tiny, reader, images), rtol=0, atol=1e-5)


def test_a_pattern_is_known_wherever_it_stands(digits, session):
    """Rolled by three rows, most digits are still what they were."""
    rows = digits.test_rows()
    before, _ = score(session, rows["inputs"])
    after, _ = score(session, np.roll(rows["inputs"], 3, axis=1))
    assert (before == after).mean() > 0.75


def test_quantiles_of_a_random_walk_are_calibrated(tiny, tmp_path):
    """Its returns are independent and normal: the network must not do worse than what knows that."""
    section = tiny.section("return_quantiles")
    samples = price_samples(tiny.prices(), section, "return_quantiles")
    settings = {"epochs": 5, "batch_size": 64, "learning_rate": 0.003, "keep": "last"}
    model = tiny.model("gru", units=8)
    network = trained(tiny, tiny.task("return_quantiles"), samples, model, tmp_path / "checkpoint", **settings)
    task, fold = tiny.task("return_quantiles"), samples.folds[-1]
    rows = samples.at(fold.test)
    prediction = predict(combine(task, [network]), task, make_batches(samples, task, fold.test, CPU))
    assert (np.diff(prediction, axis=1) > 0).all()
    figures = task.metrics.score(prediction, rows)
    assert 0.7 < figures["coverage_80"] < 0.9
    constant = task.metrics.baselines(samples)["constant"][-len(fold.test) :]
    assert figures["pinball"] < 1.1 * task.metrics.score(constant, rows)["pinball"]
