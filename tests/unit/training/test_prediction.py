"""The order in which a split is read; networks stored and loaded, and what they predict."""

import itertools

import numpy as np
import pytest
import torch
from small_trainings import CPU, new_network

from unroll.errors import DataError, ParameterError
from unroll.features.samples import Fold
from unroll.features.special_tokens import IGNORE_INDEX, PAD
from unroll.models.generators import EncoderDecoder, target_log_probabilities
from unroll.training import prediction
from unroll.training.batches import Batches, make_batches, pick_device
from unroll.training.build import combine
from unroll.training.members import Member, load_networks, save_weights
from unroll.training.prediction import generate, predict, predict_test, validate


def sequences(lengths, target_lengths=None):
    """Row r has the numbers 100 r + 1, 100 r + 2, … as inputs and their negatives as targets."""
    lengths = torch.as_tensor(lengths)
    ends = lengths if target_lengths is None else torch.as_tensor(target_lengths)

    def filled(sizes, fill):
        steps = torch.arange(int(sizes.max()))
        numbers = 100 * torch.arange(len(sizes))[:, None] + steps + 1
        return torch.where(steps < sizes[:, None], numbers, fill)

    inputs, targets = filled(lengths, PAD), -filled(ends, -IGNORE_INDEX)
    return Batches(inputs, targets, lengths, None if target_lengths is None else ends)


def windows(count):
    numbers = torch.arange(count * 3).view(count, 3)
    return Batches(numbers, numbers + 1, stateful=True)


def listed(batches):
    return [index.tolist() for index in batches]


@pytest.mark.parametrize(("count", "size"), [(1, 4), (5, 2), (9, 4), (24, 8), (25, 30)])
def test_every_reader_of_a_stream_continues_where_it_was(count, size):
    order = windows(count).shuffled(size)
    readers = min(size, count)
    assert sorted(torch.cat(order).tolist()) == list(range(count - count % readers))
    assert all(torch.equal(after, before + 1) for before, after in itertools.pairwise(order))
    order = windows(count).ordered(size)
    assert sorted(torch.cat(order).tolist()) == list(range(count))
    assert all(torch.equal(after, before[: len(after)] + 1) for before, after in itertools.pairwise(order))


@pytest.mark.parametrize("size", [1, 7, 5000])
@pytest.mark.parametrize("which", ["lengths", "both lengths", "fixed length"])
def test_every_sample_is_read_once_an_epoch(size, which):
    torch.manual_seed(3)
    lengths = torch.randint(1, 20, (101,))
    data = sequences(lengths, lengths.flip(0) if which == "both lengths" else None)
    if which == "fixed length":
        data = Batches(data.inputs, data.targets)
    for order in (data.shuffled(size), data.ordered(size)):
        assert sorted(torch.cat(order).tolist()) == list(range(101))
        assert len(order) == -(-101 // size)


def test_batches_have_similar_lengths_and_come_in_random_order():
    """On lengths like those of sentence pairs, where the target is about as long as the source."""
    generator = torch.Generator().manual_seed(0)
    lengths = (torch.randn(5000, generator=generator) * 4 + 10).round().clamp(1, 24).long()
    targets = (lengths + (torch.randn(5000, generator=generator) * 2).round().long()).clamp(1, 26)
    torch.manual_seed(0)
    order = sequences(lengths, targets).shuffled(32)

    def padding(batches):
        steps = sum(len(index) * int(one[index].max()) for index in batches for one in (lengths, targets))
        return 1 - int(lengths.sum() + targets.sum()) / steps

    assert padding(order) < 0.12
    assert padding(torch.randperm(5000).split(32)) > 0.25
    means = [float(lengths[index].float().mean()) for index in order]
    half = len(means) // 2
    assert abs(sum(means[:half]) - sum(means[half:])) / half < 2


def test_a_batch_is_cut_to_its_longest_sample():
    batch = sequences([2, 9, 1, 4]).at(torch.tensor([2, 0, 3]))
    ignored = IGNORE_INDEX
    assert batch.inputs.tolist() == [[201, 0, 0, 0], [1, 2, 0, 0], [301, 302, 303, 304]]
    assert batch.targets.tolist() == [[-201, *[ignored] * 3], [-1, -2, ignored, ignored], [-301, -302, -303, -304]]
    assert batch.lengths.tolist() == [1, 2, 4]
    batch = sequences([2, 9, 1], [3, 1, 5]).at(torch.tensor([1, 0]))
    assert batch.inputs.shape == (2, 9)
    assert batch.targets.tolist() == [[-101, IGNORE_INDEX, IGNORE_INDEX], [-1, -2, -3]]


def test_a_batch_without_padding_has_no_lengths():
    data = sequences([4, 4, 2])
    assert data.at(torch.tensor([0, 1])).lengths is None
    assert data.at(torch.tensor([2])).lengths is None
    assert data.at(torch.tensor([0, 2])).lengths.tolist() == [4, 2]


@pytest.mark.parametrize("targets", [torch.tensor([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0]]), torch.tensor([2, 0])])
def test_targets_of_whole_sequences_are_not_cut(targets):
    """Three class probabilities are not three steps."""
    data = Batches(torch.tensor([[5, 0], [6, 7]]), targets, torch.tensor([1, 2]))
    assert torch.equal(data.at(torch.tensor([0])).targets, targets[:1])


def test_devices():
    assert pick_device("cpu") == CPU
    if not torch.cuda.is_available():
        assert pick_device("auto") == CPU
        with pytest.raises(ParameterError):
            pick_device("cuda")


KINDS = ["price", "price_steps", "return_quantiles", "digits", "text_class", "recording_class", "strip_columns", "tags"]
KINDS += ["language_model", "translation", "strip_captions"]
every_kind = pytest.mark.parametrize("kind", KINDS)
NONE = np.array([], np.int64)
ALL = Fold("all", NONE, NONE, NONE)


def untrained(tiny, kind, count=1):
    task, samples = tiny.task(kind), tiny.samples(kind)
    data = make_batches(samples, task, samples.shipped.train, CPU)
    networks = [new_network(task, tiny.model_for(kind, "gru"), data, seed).eval() for seed in range(count)]
    for network in networks:
        if kind in ("price", "price_steps"):
            torch.nn.init.normal_(network.head.weight)
    return task, networks, make_batches(samples, task, samples.shipped.test, CPU), samples.at(samples.shipped.test)


def store(networks, folder, fold=ALL):
    for seed, network in enumerate(networks):
        weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        save_weights(folder / Member(fold, seed).file, weights)


@every_kind
def test_weights_and_preprocessing_make_the_round_trip(tiny, tmp_path, kind):
    task, networks, data, rows = untrained(tiny, kind)
    store(networks, tmp_path)
    found = load_networks(task, tiny.model_for(kind, "gru"), tmp_path, ALL, (0,))
    expected = predict(combine(task, networks), task, data)
    assert np.array_equal(predict(combine(task, found), task, data), expected)
    assert np.isfinite(expected).all()
    if task.every_step and task.variable_length:
        assert expected.shape[:2] == rows["targets"].shape
        assert not expected[rows["targets"] == IGNORE_INDEX].any()
    assert task.metrics.per_sample_loss(expected, rows).shape == (len(data),)


@pytest.mark.parametrize("kind", ["price", "digits", "tags"])
def test_several_networks_are_averaged(tiny, tmp_path, kind):
    task, networks, data, rows = untrained(tiny, kind, count=3)
    store(networks, tmp_path)
    loaded = load_networks(task, tiny.model_for(kind, "gru"), tmp_path, ALL, (0, 1, 2))
    with torch.no_grad():
        mean = (sum(network(data.inputs, data.lengths) for network in networks) / 3).numpy()
    found = predict(combine(task, loaded), task, data)
    if kind == "tags":
        inside = rows["targets"] != IGNORE_INDEX
        assert np.array_equal(found[inside], mean.argmax(-1)[inside])
    else:
        np.testing.assert_allclose(found, mean, rtol=1e-5, atol=1e-6)


def test_weights_of_another_model(tiny, tmp_path):
    task, folder = tiny.task("price"), tmp_path / "mine" / "weights"
    folder.mkdir(parents=True)
    with pytest.raises(DataError, match="unroll train mine"):
        load_networks(task, tiny.model("gru"), folder, ALL, (0,))
    store(untrained(tiny, "price")[1], folder)
    with pytest.raises(DataError, match="unroll train mine"):
        load_networks(task, tiny.model("lstm"), folder, ALL, (0,))


def test_preprocessing_is_fitted_to_valid_training_steps(tiny):
    task, samples = tiny.task("recording_class", normalize=False), tiny.samples("recording_class")
    fold = samples.shipped
    network = new_network(task, tiny.model("gru"), make_batches(samples, task, fold.train, CPU))
    lengths = samples.tensors["lengths"]
    frames = np.concatenate([samples.tensors["inputs"][row, : lengths[row]] for row in fold.train])
    np.testing.assert_allclose(network.preprocessing.mean, frames.mean(0), rtol=1e-5)
    np.testing.assert_allclose(network.preprocessing.deviation, frames.std(0, ddof=1), rtol=1e-5)


@every_kind
def test_validation_returns_loss_and_headline(tiny, kind):
    task, networks, data, rows = untrained(tiny, kind)
    (network,) = networks
    loss, metric = validate(network, task, data, rows)
    with torch.no_grad():
        # The whole split as one batch: a stream of fewer windows than readers passes on no state.
        output, _ = network.output(data.inputs, data.lengths, data.targets)
        expected = float(task.loss(output, network.preprocessing.encode_target(data.targets, data.inputs)))
    assert loss == pytest.approx(expected, rel=1e-5)
    if not isinstance(network, EncoderDecoder):
        found = task.metrics.score(predict(combine(task, networks), task, data), rows)
        assert metric == pytest.approx(found[task.metrics.headline], rel=1e-6)


def test_validation_of_a_generator_decodes_some_rows_greedily(tiny, monkeypatch):
    task, (network,), data, rows = untrained(tiny, "translation")
    assert len(data) == 32
    monkeypatch.setattr(prediction, "DECODED_ROWS", 5)
    monkeypatch.setattr(prediction, "TOKEN_ROWS", 3)
    _, metric = validate(network, task, data, rows)
    some = np.array([0, 8, 16, 23, 31])  # evenly spaced
    tokens = generate(network, task, data.at(torch.from_numpy(some)), beams=1).numpy()
    expected = task.metrics.score(tokens, {name: one[some] for name, one in rows.items()})
    assert metric == pytest.approx(expected["bleu"])


@every_kind
def test_batches_do_not_change_a_prediction(tiny, kind, monkeypatch):
    task, networks, data, _ = untrained(tiny, kind)
    model = combine(task, networks)
    expected = predict(model, task, data)
    monkeypatch.setattr(prediction, "EVALUATION_ROWS", 3)
    # The number of readers of a stream counts: each starts without a state.
    monkeypatch.setattr(prediction, "TOKEN_ROWS", len(data) if data.stateful else 3)
    found = predict(model, task, data)
    if kind in ("translation", "strip_captions"):
        found = np.pad(found, ((0, 0), (0, expected.shape[1] - found.shape[1])))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("readers", [1, 3, 10])
def test_a_stream_is_predicted_with_passed_on_state(tiny, readers, monkeypatch):
    task, (network,), data, _ = untrained(tiny, "language_model")
    monkeypatch.setattr(prediction, "TOKEN_ROWS", readers)
    found = predict(network, task, data)
    steps = -(-len(data) // readers)
    for start in range(0, len(data), steps):
        own = slice(start, start + steps)
        with torch.no_grad():
            output, _ = network.output(data.inputs[own].reshape(1, -1))
        expected = target_log_probabilities(output, data.targets[own].reshape(1, -1))
        np.testing.assert_allclose(found[own].ravel(), expected[0], rtol=0, atol=1e-5)
    loss, perplexity = validate(network, task, data, {"targets": data.targets.numpy()})
    assert loss == pytest.approx(-found[(data.targets != IGNORE_INDEX).numpy()].mean(), rel=1e-5)
    assert perplexity == pytest.approx(np.exp(loss), rel=1e-4)


def test_test_rows_of_all_folds_follow_each_other(tiny, tmp_path):
    task, samples, model = tiny.task("recording_class"), tiny.samples("recording_class"), tiny.model("gru")
    parts = []
    for number, fold in enumerate(samples.folds):
        data = make_batches(samples, task, fold.train, CPU)
        networks = [new_network(task, model, data, 10 * number + seed).eval() for seed in range(2)]
        store(networks, tmp_path, fold)
        parts.append(predict(combine(task, networks), task, make_batches(samples, task, fold.test, CPU)))
    found = predict_test(task, model, samples, tmp_path, (0, 1))
    np.testing.assert_allclose(found, np.concatenate(parts), rtol=0, atol=1e-6)
    assert len(found) == len(samples.test_rows()["targets"])
