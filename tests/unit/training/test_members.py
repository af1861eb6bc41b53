"""The networks of an experiment: trained, stored, read back and asked; and how far their gradients reach."""

import numpy as np
import pytest
import torch
from small_trainings import CPU, FORECASTS, KINDS

from unroll.domains.task import Task
from unroll.errors import DataError, ParameterError
from unroll.evaluation.evaluation import evaluate
from unroll.evaluation.gradients import gradient_reach
from unroll.features.special_tokens import BOS, EOS, IGNORE_INDEX, PAD, UNK
from unroll.models.generators import EncoderDecoder, LanguageModel
from unroll.models.heads import LinearHead
from unroll.models.network import Classifier, Ensemble, SequenceNetwork, TokenClassifier
from unroll.models.preprocessing import PriceLevels
from unroll.models.recurrent import RecurrentEncoder
from unroll.training import members as members_module
from unroll.training.batches import Batches
from unroll.training.members import (
    EVALUATION_ROWS,
    Member,
    last_fold,
    load_networks,
    members,
    new_network,
    pick_device,
    predict,
    predict_test,
    save_weights,
    training_split,
    validate,
    whole_model,
    written,
)


def untrained(tiny, kind, count=1, **options):
    """Networks as they begin, but for heads that begin at zero; and the test split."""
    task, samples = tiny.task(kind), tiny.samples(kind)
    fold = samples.folds[-1]
    data = training_split(samples, task, fold.train, CPU)
    networks = [new_network(task, tiny.model_for(kind, "gru", **options), data, seed).eval() for seed in range(count)]
    for network in networks:
        if kind in ("price", "price_steps", "log_return"):
            torch.nn.init.normal_(network.head.weight)
    return task, networks, training_split(samples, task, fold.test, CPU), samples.at(fold.test)


def stored(networks, folder, fold="all"):
    for seed, network in enumerate(networks):
        weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        save_weights(folder / Member(fold, seed).file, weights)


def test_members_are_every_fold_with_every_seed(tiny):
    found = members(tiny.samples("return_quantiles"), tiny.training(seeds=[3, 5]))
    assert found == [Member("2011", 3), Member("2011", 5), Member("2012", 3), Member("2012", 5)]
    assert len({one.file for one in found}) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_weights_make_the_round_trip_with_the_units(tiny, tmp_path, kind):
    task, networks, data, _ = untrained(tiny, kind)
    stored(networks, tmp_path)
    found = load_networks(task, tiny.model_for(kind, "gru"), tmp_path, "all", (0,))
    assert [one.training for one in found] == [False]
    expected = predict(whole_model(task, networks), task, data)
    assert np.array_equal(predict(whole_model(task, found), task, data), expected)


@pytest.mark.parametrize("kind", ["log_return", "digits", "text_class", "recording_class"])
def test_what_is_evaluated_of_several_networks_is_their_mean(tiny, tmp_path, kind):
    task, networks, data, _ = untrained(tiny, kind, count=3)
    stored(networks, tmp_path)
    both = whole_model(task, load_networks(task, tiny.model_for(kind, "gru"), tmp_path, "all", (0, 1, 2)))
    expected = sum(predict(whole_model(task, [network]), task, data) for network in networks) / 3
    np.testing.assert_allclose(predict(both, task, data), expected, rtol=1e-5, atol=1e-6)
    assert not both.training


@pytest.mark.parametrize(
    ("kind", "whole"),
    [
        ("price", Ensemble),
        ("return_quantiles", Ensemble),
        ("digits", Classifier),
        ("text_class", Classifier),
        ("recording_class", Classifier),
        ("tags", TokenClassifier),
        ("strip_columns", TokenClassifier),
        ("language_model", LanguageModel),
        ("melody", LanguageModel),
        ("translation", EncoderDecoder),
        ("strip_captions", EncoderDecoder),
    ],
)
def test_what_is_exported_decides_as_the_task_wants(tiny, kind, whole):
    task, networks, _, _ = untrained(tiny, kind)
    assert type(whole_model(task, networks)) is whole


def test_labels_of_several_networks_are_those_of_the_mean_probabilities(tiny):
    task, networks, data, rows = untrained(tiny, "tags", count=3)
    found = predict(whole_model(task, networks), task, data)
    with torch.no_grad():
        mean = sum(network(data.inputs, data.lengths) for network in networks) / 3
    inside = rows["targets"] != IGNORE_INDEX
    assert np.array_equal(found[inside], mean.argmax(-1).numpy()[inside])
    assert not found[~inside].any()


def test_units_are_fitted_on_the_training_split_alone(tiny):
    task, samples = tiny.task("price"), tiny.samples("price")
    fold = samples.folds[0]
    network = new_network(task, tiny.model("gru"), training_split(samples, task, fold.train, CPU), 0)
    seen = samples.tensors["inputs"][fold.train]
    assert float(network.preprocessing.low) == float(seen.min())
    assert float(network.preprocessing.low + network.preprocessing.span) == pytest.approx(float(seen.max()))


def test_units_of_frames_see_no_padding(tiny):
    task, samples = tiny.task("recording_class", normalize=False), tiny.samples("recording_class")
    fold = samples.folds[-1]
    network = new_network(task, tiny.model("gru"), training_split(samples, task, fold.train, CPU), 0)
    frames = np.concatenate(
        [
            samples.tensors["inputs"][row, :length]
            for row, length in zip(fold.train, samples.tensors["lengths"][fold.train], strict=True)
        ]
    )
    np.testing.assert_allclose(network.preprocessing.mean, frames.mean(0), rtol=1e-5)
    np.testing.assert_allclose(network.preprocessing.deviation, frames.std(0, ddof=1), rtol=1e-5)


# Validation and prediction


@pytest.mark.parametrize("kind", KINDS)
def test_validation_is_loss_and_headline(tiny, kind):
    task, networks, data, rows = untrained(tiny, kind)
    (network,) = networks
    loss, metric = validate(network, task, data, rows)
    with torch.no_grad():
        # The whole split as one batch: a stream of fewer windows than readers has no state to carry.
        output, _ = network.output(data.inputs, data.lengths, data.targets)
        expected = float(task.loss(output, network.preprocessing.encode_target(data.targets, data.inputs)))
    assert loss == pytest.approx(expected, rel=1e-5)
    if not isinstance(network, EncoderDecoder):
        found = task.metrics.score(predict(whole_model(task, networks), task, data), rows)[task.metrics.headline]
        assert metric == pytest.approx(found, rel=1e-6)


def test_validation_of_a_writer_is_greedy_on_some_rows(tiny, monkeypatch):
    task, (network,), data, rows = untrained(tiny, "translation")
    assert len(data) == 32
    monkeypatch.setattr(members_module, "VALIDATION_ROWS", 5)
    monkeypatch.setattr(members_module, "WRITTEN_ROWS", 3)
    _, metric = validate(network, task, data, rows)
    some = np.array([0, 8, 16, 23, 31])  # evenly spaced
    tokens = written(network, task, data.at(torch.from_numpy(some)), beams=1).numpy()
    expected = task.metrics.score(tokens, {name: one[some] for name, one in rows.items()})
    assert metric == pytest.approx(expected["bleu"])


@pytest.mark.parametrize("kind", KINDS)
def test_prediction_is_what_metrics_and_comparison_take(tiny, kind):
    """The test split's longest row may be shorter than others': what is predicted has the targets' width."""
    task, networks, data, rows = untrained(tiny, kind)
    found = predict(whole_model(task, networks), task, data)
    assert len(found) == len(data)
    assert np.isfinite(found).all()
    if task.every_step and task.variable_length:
        assert found.shape[:2] == rows["targets"].shape
        assert not found[rows["targets"] == IGNORE_INDEX].any()
    evaluation = evaluate(task.metrics, found, {}, rows)
    assert np.isfinite(evaluation["test"][task.metrics.headline])
    assert task.metrics.per_sample_loss(found, rows).shape == (len(data),)


@pytest.mark.parametrize("kind", KINDS)
def test_prediction_in_several_batches(tiny, kind, monkeypatch):
    task, networks, data, _ = untrained(tiny, kind)
    model = whole_model(task, networks)
    whole = predict(model, task, data)
    monkeypatch.setattr(members_module, "EVALUATION_ROWS", 3)
    # The readers of a stream each begin without a state, so that their number counts.
    monkeypatch.setattr(members_module, "WRITTEN_ROWS", len(data) if data.stateful else 3)
    found = predict(model, task, data)
    assert found.dtype == whole.dtype
    if found.dtype.kind == "i" and found.shape != whole.shape:
        found = np.pad(found, ((0, 0), (0, whole.shape[1] - found.shape[1])))
    np.testing.assert_allclose(found, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("readers", [1, 2, 3, 4, 10])
def test_a_stream_is_foretold_with_its_state_carried(tiny, readers, monkeypatch):
    """By several readers: each window as if its reader had read all of its own windows before it in one go."""
    task, networks, data, _ = untrained(tiny, "language_model")
    monkeypatch.setattr(members_module, "WRITTEN_ROWS", readers)
    found = predict(networks[0], task, data)
    steps = -(-len(data) // readers)
    for start in range(0, len(data), steps):
        own = slice(start, start + steps)
        with torch.no_grad():
            expected, _ = networks[0].log_probabilities(
                data.inputs[own].reshape(1, -1), data.targets[own].reshape(1, -1)
            )
        np.testing.assert_allclose(found[own].ravel(), expected[0], rtol=0, atol=1e-5)
    monkeypatch.setattr(members_module, "EVALUATION_ROWS", 1)
    loss, perplexity = validate(networks[0], task, data, {"targets": data.targets.numpy()})
    counted = (data.targets != IGNORE_INDEX).numpy()
    assert loss == pytest.approx(-found[counted].mean(), rel=1e-5)
    assert perplexity == pytest.approx(np.exp(loss), rel=1e-4)


def test_a_large_split_is_predicted_in_batches(tiny):
    task, (network,), _, _ = untrained(tiny, "price")
    inputs = torch.rand(2 * EVALUATION_ROWS + 3, 8, 1)
    with torch.no_grad():
        expected = network(inputs).numpy()
    assert predict(network, task, Batches(inputs, torch.zeros(len(inputs)))) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", ["translation", "strip_captions"])
def test_what_is_written_has_no_token_that_says_nothing(tiny, kind):
    task, networks, data, _ = untrained(tiny, kind)
    found = predict(networks[0], task, data)
    assert found.dtype == np.int64
    assert found.shape[1] <= task.decoding.max_length
    for row in found:
        said = row[: list(row).index(EOS) + 1] if EOS in row else row
        assert not set(said.tolist()) & {PAD, UNK, BOS}
        assert not row[len(said) :].any()


def test_test_rows_of_all_folds_follow_each_other(tiny, tmp_path):
    task, samples, model = tiny.task("recording_class"), tiny.samples("recording_class"), tiny.model("gru")
    parts = []
    for number, fold in enumerate(samples.folds):
        data = training_split(samples, task, fold.train, CPU)
        networks = [new_network(task, model, data, 10 * number + seed) for seed in range(2)]
        stored(networks, tmp_path, fold.name)
        parts.append(predict(whole_model(task, networks), task, training_split(samples, task, fold.test, CPU)))
    found = predict_test(task, model, samples, tmp_path, (0, 1))
    np.testing.assert_allclose(found, np.concatenate(parts), rtol=0, atol=1e-6)
    assert len(found) == len(samples.test_rows()["targets"])
    assert last_fold(samples).name == "voices-mixed"


@pytest.mark.parametrize("kind", ["translation", "tags"])
def test_predictions_of_all_folds_have_one_width(tiny, tmp_path, kind):
    task, networks, data, rows = untrained(tiny, kind)
    stored(networks, tmp_path)
    found = predict_test(task, tiny.model_for(kind, "gru"), tiny.samples(kind), tmp_path, (0,))
    assert np.array_equal(found, predict(whole_model(task, networks), task, data))
    task.metrics.score(found, rows)


def test_weights_of_other_parameters_are_named(tiny, tmp_path):
    task, folder = tiny.task("price"), tmp_path / "gru-1" / "weights"
    folder.mkdir(parents=True)
    with pytest.raises(DataError, match="unroll train gru-1"):
        load_networks(task, tiny.model("gru"), folder, "all", (0,))
    _, networks, _, _ = untrained(tiny, "price")
    stored(networks, folder)
    load_networks(task, tiny.model("gru"), folder, "all", (0,))
    with pytest.raises(DataError, match="does not fit the parameters of gru-1"):
        load_networks(task, tiny.model("lstm"), folder, "all", (0,))


def test_devices():
    assert pick_device("cpu") == CPU
    if not torch.cuda.is_available():
        assert pick_device("auto") == CPU
        with pytest.raises(ParameterError, match=r"training\.device is cuda.*auto or cpu"):
            pick_device("cuda")


# Gradients' reach


def test_gradient_reach_by_hand():
    """h_t = w·h_{t−1} + x_t without a nonlinearity's bend (relu, all positive): ∂h_T/∂x_t = w^(T−t)."""
    encoder = RecurrentEncoder(1, [("rnn", 1)], nonlinearity="relu")
    network = SequenceNetwork(PriceLevels(1, 0), encoder, LinearHead(1, 1))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.fill_(0.0 if "bias" in name else 0.5 if "weight_hh" in name else 1.0)
    task = Task.__new__(Task)
    object.__setattr__(task, "loss", lambda output, target: output.mean())
    data = Batches(torch.rand(6, 5, 1), torch.zeros(6))
    assert gradient_reach(network, task, data) == pytest.approx([0.5**4, 0.5**3, 0.5**2, 0.5, 1.0])


@pytest.mark.parametrize("kind", [*FORECASTS, "strip_columns"])
def test_gradient_reach_has_a_number_a_step(tiny, kind):
    task, samples = tiny.task(kind), tiny.samples(kind)
    data = training_split(samples, task, samples.folds[0].train[:16], CPU)
    network = new_network(task, tiny.model("gru"), data, 0)
    torch.nn.init.normal_(next(network.head.parameters()))
    found = gradient_reach(network, task, data)
    assert len(found) == task.steps
    assert all(norm > 0 for norm in found)
