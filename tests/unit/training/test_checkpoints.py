"""An interrupted training resumes and ends as the uninterrupted one; one builder for every task and model."""

from pathlib import Path

import pytest
import torch
from small_trainings import CPU, InterruptedTrainingError, fit_preprocessing, same

from unroll.config.reading import load_all
from unroll.errors import TrainingError
from unroll.models.heads import TiedHead
from unroll.training.batches import make_batches
from unroll.training.build import build_model
from unroll.training.checkpoints import checkpoint_key
from unroll.training.checks import model_faults

KINDS = ["text_class", "recording_class", "tags", "language_model", "translation", "strip_captions"]


def resumed(job, *stops, **options):
    """The result of a training that is interrupted after the epochs `stops`, and its last process."""
    part = job(**options)
    for stop in stops:
        with pytest.raises(InterruptedTrainingError):
            part.run(stop_after=stop)
        part = job(folder=part.folder, **options)
    return part.run(), part


@pytest.mark.parametrize(
    ("optimizer", "stop"), [("adam", 1), ("adamw", 3), ("sgd", 4), ("rmsprop", 3)], ids=lambda value: str(value)
)
def test_a_resumed_training_equals_the_uninterrupted_one(job, tiny, optimizer, stop):
    options = {
        "model": tiny.model("lstm", "gru", dropout=0.2, layer_norm=True),
        "settings": {"epochs": 5, "optimizer": optimizer, "schedule": "one_cycle", "weight_decay": 0.01},
    }
    expected = job(**options).run()
    found, last = resumed(job, stop, **options)
    assert same(found.weights, expected.weights)
    assert found.history == expected.history
    assert [row["epoch"] for row in last.reported] == list(range(stop + 1, 6))
    # Times and throughput are of the whole training, not of its last process.
    assert found.samples == expected.samples == 5 * 64
    assert found.seconds > sum(last.seconds)


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_resumes(job, tiny, kind):
    options = {"kind": kind, "model": tiny.model_for(kind, "lstm", dropout=0.2), "rows": 40}
    options["settings"] = {"epochs": 3, "schedule": "one_cycle"}
    expected, (found, _) = job(**options).run(), resumed(job, 2, **options)
    assert same(found.weights, expected.weights)
    assert found.history == expected.history


@pytest.mark.parametrize("keep", ["best", "last"])
def test_patience_and_kept_weights_survive_two_interruptions(job, keep):
    scores = [0.9, 0.5, 0.7, 0.6, 0.8, 0.8, 0.8]
    options = {"settings": {"epochs": 7, "patience": 3, "keep": keep}}
    expected = job(**options, scores=scores).run()
    part = job(**options, scores=scores)
    for stop in (2, 4):
        with pytest.raises(InterruptedTrainingError):
            part.run(stop_after=stop)
        part = job(**options, folder=part.folder, scores=scores[stop:])
    found = part.run()
    assert len(found.history) == 5
    assert same(found.weights, expected.weights)
    assert found.history == expected.history


def test_a_finished_training_is_not_repeated(job):
    first = job()
    trained = first.run()
    second = job(folder=first.folder)
    again = second.run()
    assert same(again.weights, trained.weights)
    assert (again.history, again.samples, again.seconds) == (trained.history, trained.samples, trained.seconds)
    assert not second.reported


@pytest.mark.parametrize("damage", ["truncated", "other network", "text"])
def test_a_checkpoint_that_does_not_fit(job, tiny, damage):
    first = job(settings={"epochs": 2})
    with pytest.raises(InterruptedTrainingError):
        first.run(stop_after=1)
    path = first.folder / "checkpoint.safetensors"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:200])
    elif damage == "text":
        path.write_text("hello")
    model = tiny.model("lstm") if damage == "other network" else None
    with pytest.raises(TrainingError, match=str(path)):
        job(folder=first.folder, model=model, settings={"epochs": 2}).run()


def test_the_key_changes_with_all_that_determines_a_training(tmp_path):
    data, code = tmp_path / "samples", tmp_path / "a.py"
    data.write_bytes(b"1")
    code.write_text("a = 1")
    keys = [checkpoint_key("x", [data, code]), checkpoint_key("y", [data, code])]
    for path in (data, code):
        path.write_text("2")
        keys.append(checkpoint_key("x", [data, code]))
    assert len(set(keys)) == 4
    assert checkpoint_key("x", [data, code]) == keys[-1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize(("kind", "autocast"), [("digits", "none"), *((kind, "bf16") for kind in KINDS)])
def test_training_on_cuda_resumes(job, kind, autocast):
    options = {"kind": kind, "device": "cuda", "settings": {"epochs": 4, "autocast": autocast}}
    expected, (found, _) = job(**options).run(), resumed(job, 2, **options)
    assert all(value.device == CPU for value in found.weights.values())
    for row, other in zip(found.history, expected.history, strict=True):
        assert row["train_loss"] == pytest.approx(other["train_loss"], rel=0.05)


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
        ("forecast", ("writer", "gru", "gru", {"attention": "dot", "embedding": {}}), ["encoder_decoder", "attention"]),
        ("translation", ("writer", "gru"), ["kind dense", "fixed size"]),
        ("price_steps", ("model", "gru", {"bidirectional": True}), ["bidirectional", "price_steps"]),
        ("language_model", ("model", "gru", {"bidirectional": True}), ["bidirectional", "language_model"]),
        ("tags", ("model", "gru", {"pooling": "max"}), ["pooling is max", "tags"]),
        ("text_class", ("model", "gru", {"tie_weights": True}), ["tie_weights", "text_class"]),
        (
            "text_class",
            ("model", "gru", {"sampled_softmax": {"first": 9, "sampled": 9}}),
            ["sampled_softmax", "text_class"],
        ),
        ("digits", ("model", "gru", EMBEDDING), ["no tokens", "embedding"]),
        (
            "strip_reading",
            ("model", "gru", {"convolutions": [{"channels": 4, "stride": 40}]}),
            ["leave 2 of 70 steps", "need 3"],
        ),
        ("strip_columns", ("model", "gru", {"convolutions": [{"channels": 4}]}), ["convolutions", "strip_columns"]),
        ("text_class", ("model", "gru", {"embedding": {"size": 5, "init": "pretrained"}}), ["init", "vectors"]),
    ],
)
def test_models_that_do_not_fit_the_task(tiny, kind, model, words):
    make, *arguments = model
    options = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
    (fault,) = model_faults(getattr(tiny, make)(*arguments, **options), tiny.task(kind), tiny.samples(kind))
    assert all(word in fault for word in words)


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
