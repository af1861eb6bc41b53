"""One builder for every task and every model, and the pairs that are refused."""

from pathlib import Path

import pytest
import torch
from small_trainings import CPU, fit_preprocessing

from unroll.config.reading import load_all
from unroll.errors import ParameterError
from unroll.models.encoders import DenseEncoder, RecurrentEncoder
from unroll.models.generators import EncoderDecoder, LanguageModel
from unroll.models.heads import TiedHead
from unroll.models.network import SequenceNetwork
from unroll.training.batches import make_batches
from unroll.training.build import build_model
from unroll.training.checks import check_experiment, model_faults

FORECASTS = ("digits", "price", "log_return", "return_quantiles")
READERS = ("text_class", "recording_class", "strip_columns", "tags")
TOKENS = ("text_class", "tags", "language_model", "translation")
EMBEDDING = {"embedding": {"size": 5}}


def rows_of(tiny, kind, count=5):
    task, samples = tiny.task(kind), tiny.samples(kind)
    return task, make_batches(samples, task, samples.shipped.test[:count], CPU)


def backward(task, network, data):
    """One training step without the optimizer; returns the network's output."""
    fit_preprocessing(network, data)
    output, _ = network.output(data.inputs, data.lengths, data.targets)
    loss = task.loss(output, network.preprocessing.encode_target(data.targets, data.inputs))
    assert loss.shape == ()
    assert torch.isfinite(loss)
    loss.backward()
    return output


@pytest.mark.parametrize(
    ("kind", "cells", "bidirectional"),
    [
        *((kind, (), False) for kind in FORECASTS),
        *((kind, ("rnn", "gru", "lstm"), True) for kind in (*FORECASTS, *READERS)),
        *((kind, ("lstm",), False) for kind in (*FORECASTS, *READERS, "price_steps", "language_model")),
    ],
)
def test_networks_that_read(tiny, kind, cells, bidirectional):
    task, data = rows_of(tiny, kind)
    options = EMBEDDING if kind in TOKENS else {}
    network = build_model(task, tiny.model(*cells, **(options | ({"bidirectional": True} if bidirectional else {}))))
    assert isinstance(network, LanguageModel if kind == "language_model" else SequenceNetwork)
    output = backward(task, network, data)
    found = network(data.inputs, data.lengths)
    assert torch.isfinite(found).all()
    steps = data.inputs.shape[1:2] if task.every_step else ()
    assert output.shape[:-1] == (5, *steps)
    if task.output != "values":
        torch.testing.assert_close(found.sum(-1), torch.ones(5, *steps))


@pytest.mark.parametrize(
    ("kind", "cell", "source", "attention", "bidirectional"),
    [
        ("translation", "gru", ("gru", "lstm"), "additive", True),
        ("translation", "lstm", ("lstm",), "none", False),
        ("translation", "rnn", ("rnn",), "dot", False),
        ("strip_captions", "gru", (), "none", False),
        ("strip_captions", "lstm", ("gru",), "dot", True),
    ],
)
def test_networks_that_write(tiny, kind, cell, source, attention, bidirectional):
    task, data = rows_of(tiny, kind)
    options = {"bidirectional": True} if bidirectional else {}
    network = build_model(task, tiny.writer(cell, *source, attention=attention, units=4, **options))
    output = backward(task, network, data)
    assert isinstance(network, EncoderDecoder)
    assert output.shape == (*data.targets.shape, task.target_vocab_size)
    assert isinstance(network.encoder, RecurrentEncoder if source else DenseEncoder)
    assert (network.decoder.attention is None) is (attention == "none")
    assert (network.embedding is network.decoder.embedding) is (kind == "translation")
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_options_reach_the_network(tiny):
    options = {"initialization": "xavier", "forget_bias": 2.0, "layer_norm": True, "dropout": 0.25, "tbptt_steps": 3}
    network = build_model(tiny.task("digits"), tiny.model("lstm", "rnn", nonlinearity="relu", **options))
    encoder = network.encoder
    assert encoder.tbptt_steps == 3
    assert encoder.layers[0].rnn.bias_ih_l0.detach()[6] == 2.0
    assert encoder.layers[1].rnn.nonlinearity == "relu"
    assert isinstance(encoder.between[0][0], torch.nn.LayerNorm)
    assert encoder.between[0][1].p == network.dropout.p == 0.25

    task = tiny.task("tags")
    network = build_model(task, tiny.model("gru", embedding={"size": 7}, dropout=0.25))
    assert network.embedding.tokens.weight.shape == (task.source_vocab_size, 7)
    assert network.embedding.characters.num_embeddings == task.vocabularies["character"].size
    assert network.encoder.layers[0].rnn.input_size == 7 + 30
    assert build_model(tiny.task("text_class"), tiny.model("gru", pooling="max", **EMBEDDING)).pooling == "max"

    model = tiny.writer("lstm", "gru", attention="additive", bidirectional=True, dropout=0.3, reverse_source=True)
    network = build_model(tiny.task("translation"), model)
    assert network.reverse_source
    assert network.decoder.dropout.p == network.embedding.dropout.p == 0.3
    assert (network.decoder.layer.cell, network.decoder.layer.rnn.input_size) == ("lstm", 5 + 12)


@pytest.mark.parametrize("units", [5, 8])
def test_tied_weights(tiny, units):
    """A projection is needed if the encoding has another size than the vectors."""
    network = build_model(tiny.task("language_model"), tiny.model("lstm", units=units, tie_weights=True, **EMBEDDING))
    assert isinstance(network.head, TiedHead)
    assert network.head.embedding is network.embedding
    assert isinstance(network.head.projection, torch.nn.Identity) is (units == 5)


@pytest.mark.parametrize("kind", ["text_class", "translation"])
def test_pretrained_vectors_and_seeds(tiny, kind):
    task = tiny.task(kind)
    vectors = torch.full((task.source_vocab_size, 5), float("nan"))
    vectors[6:9] = torch.arange(15.0).view(3, 5) + 1
    embedding = {"size": 5, "init": "pretrained", "freeze": True}
    network = build_model(task, tiny.model_for(kind, "gru", embedding=embedding), seed=3, vectors=vectors)
    random = build_model(task, tiny.model_for(kind, "gru"), seed=3)
    weight = network.embedding.tokens.weight
    assert torch.equal(weight[6:9], vectors[6:9])
    assert torch.equal(weight[9:], random.embedding.tokens.weight[9:])
    assert not weight.requires_grad
    other = build_model(task, tiny.model_for(kind, "gru"), seed=4)
    assert not torch.equal(other.embedding.tokens.weight[9:], random.embedding.tokens.weight[9:])


# Faults


@pytest.mark.parametrize(
    ("kind", "model", "words"),
    [
        ("digits", ("writer", "gru", "gru"), ["encoder_decoder", "digits"]),
        ("language_model", ("writer", "gru", "gru"), ["encoder_decoder", "language_model"]),
        ("translation", ("model", "gru"), ["use kind encoder_decoder"]),
        ("strip_captions", ("model",), ["use kind encoder_decoder"]),
        ("price_steps", ("model",), ["kind dense", "each step"]),
        ("text_class", ("model",), ["kind dense", "fixed size"]),
        ("translation", ("writer", "gru"), ["kind dense", "fixed size"]),
        ("price_steps", ("model", "gru", {"bidirectional": True}), ["bidirectional", "price_steps"]),
        ("language_model", ("model", "gru", {"bidirectional": True}), ["bidirectional", "language_model"]),
        ("tags", ("model", "gru", {"pooling": "max"}), ["pooling is max", "tags"]),
        ("text_class", ("model", "gru", {"tie_weights": True}), ["tie_weights", "text_class"]),
        ("digits", ("model", "gru", EMBEDDING), ["no tokens", "embedding"]),
        ("text_class", ("model", "gru", {"embedding": {"size": 5, "init": "pretrained"}}), ["init", "vectors"]),
    ],
)
def test_models_that_do_not_fit_the_task(tiny, kind, model, words):
    make, *arguments = model
    options = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
    (fault,) = model_faults(getattr(tiny, make)(*arguments, **options), tiny.task(kind), tiny.samples(kind))
    assert all(word in fault for word in words)


def test_all_faults_of_an_experiment_are_reported_together(tiny):
    from unroll.config.experiments import Experiment

    kind, task = "language_model", tiny.task("language_model")
    training = tiny.training(seeds=[0, 1])
    model = tiny.model("gru", bidirectional=True, pooling="max")
    experiment = Experiment(domain="articles", task=kind, model=model, training=training)
    with pytest.raises(ParameterError) as caught:
        check_experiment("mine", experiment, task, tiny.samples(kind))
    for key in ("bidirectional", "pooling", "experiments.mine.training.seeds"):
        assert key in str(caught.value)


# The repository's own experiments

REPO = load_all(Path(__file__).parents[3] / "params.yaml")


@pytest.mark.parametrize("name", REPO.experiments)
def test_every_experiment_of_the_repository_takes_a_step(tiny, name):
    experiment = REPO.experiments[name]
    section = REPO.tasks[experiment.task]
    kind = next(
        kind
        for kind in tiny.kinds
        for own in [tiny.section(kind)]
        if (own.domain, own.kind) == (section.domain, section.kind)
        if getattr(own, "every_step", False) == getattr(section, "every_step", False)
    )
    task, data = rows_of(tiny, kind, 8)
    assert not list(model_faults(experiment.model, task, tiny.samples(kind)))
    network = build_model(task, experiment.model)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    before = [value.detach().clone() for value in network.parameters()]
    # A head that starts at zero passes gradients on from the second step.
    for _ in range(2):
        optimizer.zero_grad()
        backward(task, network, data)
        optimizer.step()
    assert not any(torch.equal(value, old) for value, old in zip(network.parameters(), before, strict=True))
