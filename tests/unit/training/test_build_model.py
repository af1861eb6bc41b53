"""One builder for every task and every model, and what it refuses."""

import json
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter
from small_trainings import CPU, FORECASTS, KINDS, SEQUENCES, WRITERS

from unroll.config.experiments import Model
from unroll.config.reading import load_all
from unroll.domains.task import make_task
from unroll.errors import ParameterError
from unroll.models.dense import DenseEncoder
from unroll.models.generators import EncoderDecoder, LanguageModel
from unroll.models.network import SequenceNetwork, TiedHead
from unroll.models.recurrent import RecurrentEncoder
from unroll.training.build import build_model
from unroll.training.members import training_split

MODELS = [((), False)]
MODELS += [(cells, both) for cells in (("rnn",), ("gru",), ("lstm",), ("rnn", "gru", "lstm")) for both in (False, True)]
SHAPES = {
    "digits": (5, 10),
    "price": (5,),
    "price_steps": (5, 8),
    "log_return": (5,),
    "return_quantiles": (5, 5),
}
READ = ("text_class", "tags", "language_model", "translation")
FORETELLING = ("price_steps", "language_model")


def batch(task, section, count=5):
    """Random raw inputs and targets, as the task's samples are."""
    torch.manual_seed(0)
    if section.kind == "digits":
        return torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8), torch.randint(0, 10, (count,))
    window = task.details["prices"]["window"]
    inputs = torch.exp(torch.cumsum(torch.randn(count, window, task.inputs.shape[2]) * 0.02, dim=1) + 4)
    if section.kind == "return_quantiles":
        return inputs, torch.randn(count) * 0.02
    last = inputs if task.every_step else inputs[:, -1]
    return inputs, last[..., 0] * 1.01


def some(tiny, kind, count=5):
    """The first test rows of a task."""
    samples = tiny.samples(kind)
    task = tiny.task(kind)
    data = training_split(samples, task, samples.folds[-1].test[:count], CPU)
    return task, data.at(torch.arange(count))


def step(task, network, inputs, targets, lengths=None):
    network.preprocessing.fit(inputs, targets, lengths)
    output, _ = network.output(inputs, lengths, targets)
    loss = task.loss(output, network.preprocessing.encode_target(targets, inputs))
    assert loss.shape == ()
    assert torch.isfinite(loss)
    loss.backward()
    return output


@pytest.mark.parametrize(
    ("cells", "bidirectional"),
    MODELS,
    ids=lambda value: (
        "-".join(value or ["dense"]) if isinstance(value, tuple) else ("both-ways" if value else "one-way")
    ),
)
@pytest.mark.parametrize("kind", FORECASTS)
def test_every_forecast_with_every_model(tiny, kind, cells, bidirectional):
    section, task = tiny.section(kind), tiny.task(kind)
    model = tiny.model(*cells, **({"bidirectional": True} if bidirectional else {}))
    if kind == "price_steps" and (bidirectional or not cells):
        with pytest.raises(ParameterError, match="price_steps"):
            build_model(task, model)
        return
    inputs, targets = batch(task, section)
    network = build_model(task, model)
    step(task, network, inputs, targets)
    found = network(inputs)
    assert found.shape == SHAPES[kind]
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "both-ways"])
@pytest.mark.parametrize("cells", [("rnn",), ("gru",), ("lstm",), ("rnn", "gru", "lstm")], ids="-".join)
@pytest.mark.parametrize("kind", SEQUENCES)
def test_every_sequence_with_every_recurrent_model(tiny, kind, cells, bidirectional):
    task, rows = some(tiny, kind)
    options = {"embedding": {"size": 5}} if kind in READ else {}
    model = tiny.model(*cells, bidirectional=bidirectional, **options)
    if bidirectional and kind in FORETELLING:
        with pytest.raises(ParameterError, match=rf"task '{kind}' tells what comes next.*bidirectional: false"):
            build_model(task, model)
        return
    network = build_model(task, model)
    output = step(task, network, rows.inputs, rows.targets, rows.lengths)
    found = network(rows.inputs, rows.lengths)
    steps = rows.inputs.shape[1:2] if task.every_step else ()
    assert found.shape == output.shape == (5, *steps, output.shape[-1])
    torch.testing.assert_close(found.sum(-1), torch.ones(5, *steps))
    assert isinstance(network, LanguageModel if kind in ("language_model") else SequenceNetwork)


@pytest.mark.parametrize("attention", [False, True], ids=["plain", "attention"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "both-ways"])
@pytest.mark.parametrize("read", [("rnn",), ("gru", "lstm"), ("lstm", "gru"), ()], ids=lambda cells: "-".join(cells))
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("kind", WRITERS)
def test_every_writer_with_every_encoder_and_decoder(tiny, kind, cell, read, bidirectional, attention):
    if not read and (attention or bidirectional or kind == "translation"):
        return  # refused by the parameters, or below
    task, rows = some(tiny, kind)
    options = {"bidirectional": True} if bidirectional else {}
    network = build_model(task, tiny.writer(cell, *read, attention=attention, units=4, **options))
    output = step(task, network, rows.inputs, rows.targets, rows.lengths)
    assert isinstance(network, EncoderDecoder)
    assert output.shape == (*rows.targets.shape, task.target_vocab_size)
    assert isinstance(network.encoder, RecurrentEncoder if read else DenseEncoder)
    assert (network.decoder.attention is not None) is attention
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_options_reach_the_encoder(tiny):
    options = {"initialization": "xavier", "forget_bias": 2.0, "layer_norm": True, "dropout": 0.25, "tbptt_steps": 3}
    network = build_model(tiny.task("digits"), tiny.model("lstm", "rnn", nonlinearity="relu", **options))
    encoder = network.encoder
    assert encoder.tbptt_steps == 3
    assert encoder.layers[0].rnn.bias_ih_l0.detach()[6] == 2.0
    assert encoder.layers[1].rnn.nonlinearity == "relu"
    assert isinstance(encoder.between[0][0], torch.nn.LayerNorm)
    assert encoder.between[0][1].p == network.dropout.p == 0.25
    assert build_model(tiny.task("digits"), tiny.model("gru", "gru", bidirectional=True)).encoder.output_size == 12


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_pooling_and_embedding_reach_the_network(tiny, pooling):
    task = tiny.task("text_class")
    network = build_model(task, tiny.model("gru", embedding={"size": 7}, pooling=pooling, dropout=0.25))
    assert network.pooling == pooling
    assert network.embedding.tokens.weight.shape == (task.source_vocab_size, 7)
    assert network.embedding.dropout.p == 0.25


@pytest.mark.parametrize("attention", [False, True])
def test_options_reach_the_decoder(tiny, attention):
    model = tiny.writer("lstm", "gru", attention=attention, bidirectional=True, dropout=0.3, reverse_source=True)
    network = build_model(tiny.task("translation"), model)
    assert network.reverse_source
    # One vocabulary for both sides, so one set of vectors.
    assert network.decoder.embedding is network.embedding
    assert network.decoder.dropout.p == network.embedding.dropout.p == 0.3
    assert network.decoder.layer.cell == "lstm"
    assert network.decoder.layer.rnn.input_size == 5 + (12 if attention else 0)


def test_images_are_not_read_with_the_decoders_vectors(tiny):
    network = build_model(tiny.task("strip_captions"), tiny.writer("gru", "gru", attention=True))
    assert network.embedding is None
    assert network.decoder.embedding.tokens.num_embeddings == 16


@pytest.mark.parametrize("units", [5, 8])
def test_tied_weights(tiny, units):
    """Of another size than the encoding's, there is a map between them."""
    task = tiny.task("language_model")
    network = build_model(task, tiny.model("lstm", units=units, embedding={"size": 5}, tie_weights=True))
    assert isinstance(network.head, TiedHead)
    assert network.head.embedding is network.embedding
    assert isinstance(network.head.projection, torch.nn.Identity) is (units == 5)
    names = [name for name, _ in network.named_parameters()]
    assert sum("tokens.weight" in name for name in names) == 1
    untied = build_model(task, tiny.model("lstm", units=units, embedding={"size": 5}))
    assert untied.head.weight.shape == (task.target_vocab_size, units)


def test_characters_reach_the_embedding(tiny):
    task = tiny.task("tags")
    network = build_model(task, tiny.model("lstm", embedding={"size": 7}))
    assert network.embedding.characters.num_embeddings == task.vocabularies["character"].size
    assert network.encoder.layers[0].rnn.input_size == 7 + 30


def test_tags_without_characters(tiny):
    task, samples = tiny.task("tags", characters=0), tiny.samples("tags", characters=0)
    data = training_split(samples, task, samples.folds[0].test, CPU)
    network = build_model(task, tiny.model("lstm", embedding={"size": 7}))
    assert network.encoder.layers[0].rnn.input_size == 7
    rows = data.at(torch.arange(5))
    assert rows.inputs.shape[2] == 1
    step(task, network, rows.inputs, rows.targets, rows.lengths)


# Vectors to begin with


def given_vectors(size, count=3):
    vectors = torch.full((size, 5), float("nan"))
    vectors[6 : 6 + count] = torch.arange(5.0 * count).view(count, 5) + 1
    return vectors


@pytest.mark.parametrize("freeze", [True, False])
@pytest.mark.parametrize("kind", ["text_class", "translation", "language_model"])
def test_vectors_are_what_the_embedding_begins_with(tiny, kind, freeze):
    task, rows = some(tiny, kind)
    embedding = {"size": 5, "init": "pretrained", "freeze": freeze}
    vectors = given_vectors(task.source_vocab_size)
    torch.manual_seed(0)
    network = build_model(task, tiny.model_for(kind, "gru", embedding=embedding), vectors)
    torch.manual_seed(0)
    chance = build_model(task, tiny.model_for(kind, "gru"))
    weight = network.embedding.tokens.weight
    assert torch.equal(weight[6:9], vectors[6:9])
    # A token without a vector begins by chance, padding with zeros.
    assert torch.equal(weight[9:], chance.embedding.tokens.weight[9:])
    assert not weight[0].any()
    assert weight.requires_grad is not freeze
    before = weight.detach().clone()
    optimizer = torch.optim.Adam(network.parameters(), 0.1)
    step(task, network, rows.inputs, rows.targets, rows.lengths)
    optimizer.step()
    assert torch.equal(weight, before) is freeze


def test_without_vectors_an_embedding_is_there_to_be_filled(tiny):
    """As where trained weights are loaded."""
    embedding = {"size": 5, "init": "pretrained", "freeze": True}
    network = build_model(tiny.task("text_class"), tiny.model("gru", embedding=embedding))
    assert network.embedding.tokens.weight.shape == (40, 5)


# What is refused


def refused(task, model, *parts, vectors=None):
    with pytest.raises(ParameterError) as caught:
        build_model(task, model, vectors)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("digits", "wants one output"),
        ("text_class", "wants one output"),
        ("strip_columns", "wants an output for each step"),
        ("language_model", "wants an output for each step"),
    ],
)
def test_an_encoder_decoder_for_what_is_not_written(tiny, kind, wanted):
    refused(tiny.task(kind), tiny.writer("gru", "gru"), f"task '{kind}'", wanted, "use recurrent")


@pytest.mark.parametrize("cells", [("gru",), ()], ids=["recurrent", "dense"])
@pytest.mark.parametrize("kind", WRITERS)
def test_no_decoder_for_what_is_written(tiny, kind, cells):
    refused(tiny.task(kind), tiny.model(*cells), f"task '{kind}'", "use an encoder_decoder model")


@pytest.mark.parametrize("kind", ["digits", "text_class", "tags", "strip_columns"])
def test_tied_weights_for_what_writes_no_tokens(tiny, kind):
    options = {"embedding": {"size": 5}} if kind in READ else {}
    refused(
        tiny.task(kind), tiny.model("gru", tie_weights=True, **options), f"task '{kind}'", "tie_weights", "leave it out"
    )


def test_an_embedding_for_what_has_no_tokens(tiny):
    refused(tiny.task("digits"), tiny.model("gru", embedding={"size": 5}), "task 'digits' has no tokens")
    refused(tiny.task("recording_class"), tiny.model("gru", embedding={"size": 5}), "leave `embedding` out")


@pytest.mark.parametrize("kind", ["price_steps", "strip_columns", "tags"])
def test_a_dense_model_for_every_step(tiny, kind):
    refused(tiny.task(kind), tiny.model(), f"task '{kind}' wants one a step", "use recurrent")


@pytest.mark.parametrize("kind", ["text_class", "recording_class", "language_model"])
def test_a_dense_model_for_what_varies(tiny, kind):
    refused(tiny.task(kind), tiny.model(), f"one size, task '{kind}' has not", "use recurrent")


def test_a_dense_encoder_for_what_varies(tiny):
    refused(tiny.task("translation"), tiny.writer("gru"), "one size, task 'translation' has not", "use recurrent")


@pytest.mark.parametrize("kind", FORETELLING)
def test_a_backward_layer_for_what_comes_next(tiny, kind):
    options = {"embedding": {"size": 5}} if kind in READ else {}
    refused(tiny.task(kind), tiny.model("gru", bidirectional=True, **options), kind, "bidirectional: false")


@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize("kind", ["price_steps", "tags"])
def test_pooling_of_every_step(tiny, kind, pooling):
    options = {"embedding": {"size": 5}} if kind in READ else {}
    refused(tiny.task(kind), tiny.model("gru", pooling=pooling, **options), kind, "leave `pooling` out")


@pytest.mark.parametrize(
    "changes",
    [{"embedding": {"size": 5}}, {"pooling": "mean"}, {"tie_weights": True}],
    ids=lambda changes: next(iter(changes)),
)
def test_an_option_in_the_encoder_that_would_do_nothing(tiny, changes):
    content = json.loads(tiny.writer("gru", "gru").model_dump_json())
    content["encoder"] |= changes
    model = TypeAdapter(Model).validate_json(json.dumps(content))
    refused(tiny.task("translation"), model, next(iter(changes)))


@pytest.mark.parametrize("kind", ["text_class", "translation"])
def test_vectors_of_another_width(tiny, kind):
    task = tiny.task(kind)
    model = tiny.model_for(kind, "gru", embedding={"size": 6, "init": "pretrained"})
    parts = [f"tasks.{kind}.vectors have 5 numbers", "embedding.size is 6"]
    refused(task, model, *parts, vectors=given_vectors(task.source_vocab_size))


def test_every_refusal_is_one_of_the_tasks(tiny):
    """None of them stands in the way of what the task can do: each kind builds with a model of its own."""
    for kind in KINDS:
        build_model(tiny.task(kind), tiny.model_for(kind, "gru"))


# The repository's own experiments

REPO = load_all(Path(__file__).parents[3] / "params.yaml")


def stood_in(tiny, name, section):
    """Inputs, targets and lengths of a few rows of a task: of the tiny data, cut by the repository's own settings."""
    if section.kind in FORECASTS:
        task = make_task(name, section)
        return task, *batch(task, section, 4), None
    samples = tiny.samples(section.kind)
    if section.kind.startswith("strip"):
        section = section.model_copy(update={"columns": 70})
    task = make_task(name, section, samples)
    data = training_split(samples, task, samples.folds[-1].train[:8], CPU)
    rows = data.at(torch.arange(len(data)))
    targets = rows.targets
    if section.kind == "text_class" and targets.shape[1] != len(section.classes):
        targets = torch.eye(len(section.classes))[torch.arange(len(targets)) % len(section.classes)]
    return task, rows.inputs, targets, rows.lengths


@pytest.mark.parametrize("name", REPO.experiments)
def test_every_experiment_of_the_repository_builds_and_takes_a_step(tiny, name):
    experiment = REPO.experiments[name]
    task, inputs, targets, lengths = stood_in(tiny, experiment.task, REPO.tasks[experiment.task])
    torch.manual_seed(0)
    network = build_model(task, experiment.model)
    network.preprocessing.fit(inputs, targets, lengths)
    before = [value.detach().clone() for value in network.parameters()]
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    # A head that begins at zero lets gradients through from the second step on.
    for _ in range(2):
        optimizer.zero_grad()
        output, _ = network.output(inputs, lengths, targets)
        task.loss(output, network.preprocessing.encode_target(targets, inputs)).backward()
        optimizer.step()
    assert all(not torch.equal(value, old) for value, old in zip(network.parameters(), before, strict=True))
    with torch.no_grad():
        assert torch.isfinite(network.eval().output(inputs, lengths, targets)[0]).all()
