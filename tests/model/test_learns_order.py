"""Whole models on made digits: better than a sceptic's, and as good in ONNX, whatever batch and length."""

import numpy as np
import onnxruntime
import pytest
import torch

from unroll.export.onnx import export, parity
from unroll.features.build import digit_samples, price_samples
from unroll.models.network import Classifier, Ensemble
from unroll.tasks.evaluation import evaluate
from unroll.training.loop import train
from unroll.training.members import new_network, predict, training_split, validate

CPU = torch.device("cpu")


def trained(tiny, kind, samples, model, checkpoint, seed=0, **settings):
    """A task's network after a short training, as the stages train it."""
    task, fold = tiny.task(kind), samples.folds[-1]
    data, valid = (training_split(samples, index, CPU) for index in (fold.train, fold.valid))
    rows = {name: tensor[fold.valid] for name, tensor in samples.tensors.items()}
    network = new_network(task, model, data, seed)
    kept = train(
        network,
        task.loss,
        data,
        tiny.training(**settings),
        seed=seed,
        validate=lambda one: validate(one, task, valid, rows),
        better=task.better,
        on_epoch=lambda row, seconds: None,
        checkpoint=checkpoint,
    )
    network.load_state_dict(kept.weights)
    return network.eval()


@pytest.fixture(scope="module")
def digits(tiny):
    """1,100 digits that differ in the order of their rows alone, at a chance height: a pixel tells next to nothing."""
    return digit_samples(tiny.digits(900, 200), tiny.section("digits", valid_rows=100), "digits")


@pytest.fixture(scope="module")
def reader(tiny, digits, tmp_path_factory):
    """A GRU that has learned them."""
    settings = {"epochs": 12, "batch_size": 32, "learning_rate": 0.02, "schedule": "one_cycle"}
    folder = tmp_path_factory.mktemp("reader")
    return trained(tiny, "digits", digits, tiny.model("gru", units=32), folder / "checkpoint", **settings)


def test_a_recurrent_network_beats_every_baseline(tiny, digits, reader):
    """It reads the order of the rows wherever they begin; what reads pixels by their place does not."""
    task, rows = tiny.task("digits"), digits.test_rows()
    found = evaluate(task, predict(reader, torch.from_numpy(rows["inputs"])), task.baselines(digits), rows)
    assert found["test"]["accuracy"] > 0.85
    for name, figures in found["baseline"].items():
        assert found["test"]["accuracy"] > figures["accuracy"] + 0.1, name
        assert found["against"][name]["p_value"] < 0.01


@pytest.fixture(scope="module")
def session(tiny, digits, reader, tmp_path_factory):
    task = tiny.task("digits")
    network = Classifier(Ensemble([reader])).eval()
    path = tmp_path_factory.mktemp("session") / "model.onnx"
    inputs = torch.from_numpy(digits.test_rows()["inputs"])
    export(network, task, inputs[:2], path, free_time=True)
    assert parity(network, task, path, [inputs, inputs[:1]])["passed"]
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def score(session, images):
    return session.run(["label", "probabilities"], {"inputs": images})


def test_the_shipped_graph_is_as_good(digits, reader, session):
    rows = digits.test_rows()
    labels, _ = score(session, rows["inputs"])
    expected = predict(reader, torch.from_numpy(rows["inputs"])).argmax(1)
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
def test_images_of_another_height_are_scored_as_torch_scores_them(digits, reader, session, rows):
    images = np.tile(digits.test_rows()["inputs"][:20], (1, 2, 1))[:, :rows]
    _, found = score(session, images)
    np.testing.assert_allclose(found, predict(reader, torch.from_numpy(images)), rtol=0, atol=1e-5)


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
    network = trained(tiny, "return_quantiles", samples, model, tmp_path / "checkpoint", **settings)
    task, fold = tiny.task("return_quantiles"), samples.folds[-1]
    rows = {name: tensor[fold.test] for name, tensor in samples.tensors.items()}
    prediction = predict(network, torch.from_numpy(rows["inputs"]))
    assert (np.diff(prediction, axis=1) > 0).all()
    figures = task.metrics(prediction, rows)
    assert 0.7 < figures["coverage_80"] < 0.9
    constant = task.baselines(samples)["constant"][-len(fold.test) :]
    assert figures["pinball"] < 1.1 * task.metrics(constant, rows)["pinball"]
