"""A generator as one graph: ONNX writes what torch writes, token by token, at any size."""

from collections import Counter
from dataclasses import replace
from shutil import copy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from small_networks import randomized
from small_trainings import CPU, new_network

from unroll.export import quantization
from unroll.export.bundle import can_sample, graph_inputs, make_card, takes_lengths, write_card
from unroll.export.decoding import export_generator
from unroll.export.parity import TOLERANCE, example, parity, parity_cases
from unroll.features.random import uniforms
from unroll.features.special_tokens import BOS, EOS, PAD
from unroll.inference.bundle import load_bundle
from unroll.models.decoding import decode
from unroll.training.batches import Batches, make_batches
from unroll.training.prediction import predict

FAST = {"attention": "translation", "tied": "language_model"}
SLOW = {"dot": "translation", "plain": "translation", "captions": "strip_captions", "deep": "language_model"}
KINDS = FAST | SLOW
every_generator = pytest.mark.parametrize(
    "which", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
every_sampler = pytest.mark.parametrize("which", ["tied", pytest.param("deep", marks=pytest.mark.slow)])


def model_of(tiny, which):
    return {
        "attention": lambda: tiny.writer("gru", "lstm", attention="additive", bidirectional=True),
        "dot": lambda: tiny.writer("lstm", "gru", attention="dot", bidirectional=True),
        "plain": lambda: tiny.writer("lstm", "gru", "lstm", reverse_source=True),
        "captions": lambda: tiny.writer("gru"),
        "deep": lambda: tiny.model("lstm", "gru", embedding={"size": 5}, layer_norm=True),
        "tied": lambda: tiny.model("rnn", embedding={"size": 5}, tie_weights=True),
    }[which]()


def inputs_for(task, data, rows, steps):
    """Inputs of up to `steps` tokens, and their lengths."""
    inputs = torch.cat([data.inputs] * (1 + rows // len(data)))[:rows]
    if not takes_lengths(task):
        return inputs, None
    lengths = 1 + (torch.arange(rows) * 3) % steps
    lengths[-1] = steps
    inputs = torch.cat([inputs] * (1 + steps // inputs.shape[1]), dim=1)[:, :steps].clamp(min=BOS)
    return torch.where(torch.arange(steps) < lengths[:, None], inputs, PAD), lengths


def let_some_end(network, inputs, lengths):
    """Raise the bias of `<eos>` until a third of the sequences end, which random weights seldom let happen."""
    bias = (network.decoder if hasattr(network, "decoder") else network.head).bias
    for _ in range(40):
        tokens, _ = decode(network, inputs, lengths, max_length=30)
        if (tokens == EOS).any(-1).float().mean() > 1 / 3:
            break
        with torch.no_grad():
            bias[EOS] += 1
    return network


@pytest.fixture(scope="module")
def exported(tiny, tmp_path_factory):
    """Export a generator, once for all tests that need it."""
    made = {}

    def get(which):
        if which not in made:
            task, samples = tiny.task(KINDS[which]), tiny.samples(KINDS[which])
            data = make_batches(samples, task, samples.shipped.train, CPU)
            network = randomized(new_network(task, model_of(tiny, which), data), std=0.7)
            network = let_some_end(network, *inputs_for(task, data, 30, 6))
            path = tmp_path_factory.mktemp("export") / "model.onnx"
            export_generator(network, task, *example(task, data), path, sampling=can_sample(task))
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            made[which] = (network, task, path, data, session)
        return made[which]

    return get


def run(session, task, inputs, lengths, *, max_length, beams, noise=None, **settings):
    settings = {"length_penalty": 1.0, "temperature": 0.0, "top_k": 0, **settings}
    feed = {"inputs": inputs.numpy(), "max_length": np.array(max_length), "beams": np.array(beams)}
    feed["length_penalty"] = np.array(settings["length_penalty"], np.float32)
    if lengths is not None:
        feed["lengths"] = lengths.numpy()
    if can_sample(task):
        feed["temperature"], feed["top_k"] = np.array(settings["temperature"], np.float32), np.array(settings["top_k"])
        feed["uniforms"] = uniforms(0, range(len(inputs)), beams, max_length) if noise is None else noise
    return session.run(["tokens", "scores"], feed)


def compare(exported, which, rows, time, **settings):
    network, task, _, data, session = exported(which)
    inputs, lengths = inputs_for(task, data, rows, time)
    tokens, scores = run(session, task, inputs, lengths, **settings)
    noise = torch.from_numpy(uniforms(0, range(rows), settings["beams"], settings["max_length"]))
    expected, expected_scores = decode(network, inputs, lengths, uniforms=noise, **settings)
    assert np.array_equal(tokens, expected.numpy())
    np.testing.assert_allclose(scores, expected_scores.numpy(), rtol=1e-5, atol=1e-5)


@every_generator
@pytest.mark.parametrize(
    ("rows", "time", "beams", "max_length", "length_penalty"),
    [
        (2, 5, 1, 6, 1.0),
        (1, 1, 4, 1, 1.0),
        (7, 3, 2, 3, 2.0),
        (13, 31, 3, 20, 0.6),
        (3, 2, 10, 2, 0.0),
        (30, 6, 1, 30, 1.0),  # rows end, and are dropped, one after another
        (1, 6, 1, 30, 0.5),
    ],
)
def test_searching(exported, which, rows, time, beams, max_length, length_penalty):
    compare(exported, which, rows, time, beams=beams, max_length=max_length, length_penalty=length_penalty)


@every_sampler
@pytest.mark.parametrize(
    ("rows", "time", "beams", "max_length", "temperature", "top_k"),
    [(1, 1, 1, 1, 0.5, 0), (1, 7, 3, 12, 2.0, 0), (9, 5, 2, 20, 1.0, 4), (5, 2, 4, 3, 0.7, 1), (2, 3, 2, 9, 1.3, 1000)],
)
def test_sampling(exported, which, rows, time, beams, max_length, temperature, top_k):
    settings = {"beams": beams, "max_length": max_length, "temperature": temperature, "top_k": top_k}
    compare(exported, which, rows, time, length_penalty=0.5, **settings)


@pytest.mark.parametrize("which", FAST)
def test_padding_changes_nothing(exported, which):
    _, task, _, data, session = exported(which)
    inputs, lengths = inputs_for(task, data, 6, 8)
    tokens, scores = run(session, task, inputs, lengths, beams=3, max_length=7)
    wide = torch.nn.functional.pad(inputs, (0, 4))
    wide = torch.where(torch.arange(wide.shape[1]) < lengths[:, None], wide, 7)
    found, found_scores = run(session, task, wide, lengths, beams=3, max_length=7)
    assert np.array_equal(found, tokens)
    np.testing.assert_allclose(found_scores, scores, rtol=0, atol=1e-6)


@every_generator
def test_decoding_stops_when_all_hypotheses_are_finished(exported, which):
    _, task, _, data, session = exported(which)
    inputs, lengths = inputs_for(task, data, 30, 6)
    tokens, _ = run(session, task, inputs, lengths, beams=1, max_length=60)
    finished = torch.tensor([row for row in range(30) if EOS in tokens[row, 0]])
    assert len(finished)
    lengths = None if lengths is None else lengths[finished]
    found, _ = run(session, task, inputs[finished], lengths, beams=1, max_length=10_000)
    assert found.shape[2] == max(tokens[row, 0].tolist().index(EOS) + 1 for row in finished)


@every_generator
def test_parity_cases_cover_every_way_to_decode(exported, which):
    network, task, path, data, _ = exported(which)
    few = Batches(data.inputs[:9], data.targets[:9], None if data.lengths is None else data.lengths[:9])
    cases = list(parity_cases(network, task, few, dynamic_time=True))
    found = parity(path, ["tokens", "scores"], cases)
    assert found["passed"]
    assert found["max_relative_error"] <= TOLERANCE
    assert {shape[0] for shape in found["shapes_tried"]} == {9, 1}
    assert {int(feed["beams"]) for feed, _ in cases} >= {1, max(2, task.decoding.beams)}
    assert any(feed.get("temperature", 0) > 0 for feed, _ in cases) is can_sample(task)
    wrong = parity(path, ["tokens", "scores"], [(feed, (tokens + 1, scores)) for feed, (tokens, scores) in cases])
    assert not wrong["passed"]
    assert wrong["differing_labels"] == sum(tokens.numel() for _, (tokens, _) in cases)


def initializers(graph):
    """Every weight of a graph, those of its loops included."""
    found = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found += initializers(attribute.g)
    return found


@every_generator
def test_the_graph_has_the_cards_inputs_one_loop_each_and_weights_once(exported, which, root):
    _, task, path, _, session = exported(which)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    specs = graph_inputs(task, dynamic_time=which != "captions")
    assert {one.name: len(one.shape) for one in session.get_inputs()} == {one.name: len(one.shape) for one in specs}
    assert [(one.name, one.shape) for one in session.get_outputs()] == [
        ("tokens", ["batch", "beam", "step"]),
        ("scores", ["batch", "beam"]),
    ]
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds["Loop"] == (3 if can_sample(task) else 2)
    layers = {"attention": 1, "dot": 1, "plain": 2, "captions": 0, "deep": 2, "tied": 1}
    assert sum(kinds[name] for name in ("Scan", "GRU", "LSTM")) == layers[which]
    weights = [numpy_helper.to_array(one) for one in initializers(model.graph)]
    assert len({(one.dtype.str, one.shape, one.tobytes()) for one in weights}) == len(weights)
    assert str(root).encode() not in path.read_bytes()


@pytest.mark.parametrize("which", FAST)
def test_int8_weights_in_loops_and_what_they_lose(exported, which, tmp_path, tiny):
    network, task, path, *_ = exported(which)
    copy(path, tmp_path / "model.onnx")
    write_card(tmp_path, make_card("mine", task, task.topology, dynamic_time=True, data={}, metrics={}), task)
    bundle = load_bundle(tmp_path)
    quantization.quantize(bundle.model)
    matrices = [one for one in initializers(onnx.load(bundle.model).graph) if min((*one.dims, 0)[:2]) > 3]
    assert {one.data_type for one in matrices} <= {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    samples = tiny.samples(KINDS[which])
    found = quantization.compare(network, task, samples, bundle, bundle.model.read_bytes())
    inside = samples.shipped.valid
    expected = task.metrics.score(
        predict(network, task, replace(make_batches(samples, task, inside, CPU), stateful=False)), samples.at(inside)
    )
    assert found["float32"] == pytest.approx(expected[task.metrics.headline], rel=1e-5)
    # Translations by random weights have a BLEU of 0.
    assert (found["int8"] != found["float32"]) is (which == "tied")
    assert abs(found["loss"]) < 0.3


@pytest.mark.parametrize("which", FAST)
def test_a_bundle_can_be_loaded(exported, which, tmp_path):
    _, task, path, _, _ = exported(which)
    copy(path, tmp_path / "model.onnx")
    write_card(tmp_path, make_card("mine", task, task.topology, dynamic_time=True, data={}, metrics={}), task)
    card = load_bundle(tmp_path).card
    (vocabulary,) = task.vocabularies
    assert card.output_vocabulary == card.text.vocabulary == f"{vocabulary}.tokenizer.json"
    assert card.decoding == task.decoding
    assert card.text.first_token == (EOS if which == "tied" else None)
