"""ONNX beside torch: every cell, direction and pooling, at sizes other than the traced ones; and the bundle."""

import json
from dataclasses import replace
from shutil import copy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from small_networks import randomized
from small_trainings import CPU, new_network
from torch import nn

from unroll import paths
from unroll.errors import ExportError
from unroll.export.bundle import graph_inputs, make_card, takes_lengths, write_card
from unroll.export.onnx import export, to_onnx
from unroll.export.parity import example, parity, parity_cases
from unroll.export.quantization import compare, quantize
from unroll.files import read_json, sha256_of, write_json
from unroll.inference.bundle import load_bundle
from unroll.models.encoders import RecurrentEncoder
from unroll.stages import export as stage
from unroll.training.batches import Batches, make_batches
from unroll.training.build import combine
from unroll.training.prediction import predict

NODES = {"rnn": "Scan", "gru": "GRU", "lstm": "LSTM"}


class EncoderOutputs(nn.Module):
    """Outputs and every state of an encoder, as a flat tuple."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, inputs, lengths):
        outputs, states = self.encoder(inputs, lengths)
        return (outputs, *(part for state in states for part in state))


@pytest.mark.parametrize(
    ("cells", "bidirectional", "options"),
    [
        (["rnn"], False, {"nonlinearity": "relu"}),
        (["lstm", "lstm"], False, {"layer_norm": True}),
        (["rnn", "gru", "lstm"], True, {}),
    ],
)
def test_encoder_with_lengths(cells, bidirectional, options, tmp_path):
    stack = [(cell, 4 + rank) for rank, cell in enumerate(cells)]
    module = EncoderOutputs(randomized(RecurrentEncoder(3, stack, bidirectional=bidirectional, **options))).eval()
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("time")}
    example_inputs = (torch.randn(3, 5, 3), torch.tensor([5, 2, 3]))
    model = to_onnx(module, example_inputs, (axes, {0: axes[0]}), ["inputs", "lengths"])
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for time, lengths in ((9, [9]), (12, [12, 1, 7, 3, 1, 11]), (20, [3, 2, 1, 3]), (1, [1, 1])):
        inputs, lengths = torch.randn(len(lengths), time, 3), torch.tensor(lengths)
        found = session.run(None, {"inputs": inputs.numpy(), "lengths": lengths.numpy()})
        with torch.no_grad():
            expected = module(inputs, lengths)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-5)
        wider = torch.cat([inputs, torch.full((len(lengths), 7, 3), 1e3)], dim=1)
        padded = session.run(None, {"inputs": wider.numpy(), "lengths": lengths.numpy()})
        np.testing.assert_allclose(padded[0][:, :time], found[0], rtol=0, atol=1e-6)
        assert not padded[0][:, time:].any()
        for one, other in zip(padded[1:], found[1:], strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


# Whole networks: kind of task, cells, bidirectional, number of networks, pooling or a decoder of steps to come

FIXED = [
    ("digits", ("rnn", "gru", "lstm"), True, 1, "last"),
    ("digits", (), False, 1, "last"),
    ("price_steps", ("lstm",), False, 1, "last"),
    ("log_return", ("gru",), False, 3, "last"),
    ("return_quantiles", ("rnn",), True, 2, "last"),
    ("forecast", ("gru",), False, 1, "max"),
    ("forecast", ("lstm",), False, 2, "decoder"),
    ("strip_reading", ("lstm",), True, 1, "last"),
]
VARIABLE = [
    ("text_class", ("lstm",), True, 2, "mean"),
    ("recording_class", ("rnn",), True, 1, "max"),
    ("sound_class", ("gru",), True, 2, "mean"),
    ("tags", ("gru",), True, 1, "last"),
]


def named(networks):
    return ["-".join(map(str, (kind, *(cells or ["dense"]), *rest))) for kind, cells, *rest in networks]


every_network = pytest.mark.parametrize("which", [*FIXED, *VARIABLE], ids=named([*FIXED, *VARIABLE]))
every_variable = pytest.mark.parametrize("which", VARIABLE, ids=named(VARIABLE))


@pytest.fixture(scope="module")
def exported(tiny, tmp_path_factory):
    """Export a network of a task, once for all tests that need it."""
    made = {}

    def get(kind, cells, bidirectional, count, pooling):
        key = (kind, cells, bidirectional, count, pooling)
        if key not in made:
            task, samples = tiny.task(kind), tiny.samples(kind)
            data = make_batches(samples, task, samples.shipped.train, CPU)
            options = {"bidirectional": bidirectional, "pooling": pooling} if cells else {}
            if task.source_vocab_size:
                options["embedding"] = {"size": 5}
            model = tiny.writer(*cells, *cells) if pooling == "decoder" else tiny.model(*cells, **options)
            networks = [new_network(task, model, data, seed).eval() for seed in range(count)]
            for network in networks:
                torch.nn.init.normal_(next(network.head.parameters()), 0, 0.3 if task.output != "values" else 0.1)
            network = combine(task, networks)
            path = tmp_path_factory.mktemp("export") / "model.onnx"
            export(network, task, *example(task, data), path, dynamic_time=bool(cells) and task.ahead is None)
            made[key] = (network, task, path, data)
        return made[key]

    return get


@every_network
def test_onnx_agrees_with_torch_at_other_sizes(exported, which):
    network, task, path, data = exported(*which)
    dynamic_time = bool(which[1]) and task.ahead is None
    cases = list(parity_cases(network, task, data, dynamic_time=dynamic_time))
    found = parity(path, [spec.name for spec in task.outputs], cases)
    assert found["passed"]
    assert found["max_abs_error"] < 1e-4
    assert {len(data), 1} <= {shape[0] for shape in found["shapes_tried"]}
    assert (len({shape[1] for shape in found["shapes_tried"]}) > 1) is dynamic_time
    if takes_lengths(task):
        lengths = np.concatenate([feed["lengths"] for feed, _ in cases])
        assert {lengths.min(), lengths.max()} == {int(data.lengths.min()), int(data.lengths.max())}
    json.dumps(found, allow_nan=False)


@every_variable
def test_lengths_and_padding_other_than_the_traced_ones(exported, which):
    network, task, path, data = exported(*which)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    lengths = np.array([int(data.lengths.max()) + 9, 1, 9, 3])
    repeats = 1 + lengths[0] // data.inputs.shape[1]
    inputs = torch.cat([data.inputs[:4]] * (1 + repeats), dim=1)[:, : lengths[0]].clone()
    if task.source_vocab_size:
        (inputs if inputs.dim() == 2 else inputs[:, :, 0]).clamp_(min=6)
    inputs[torch.arange(lengths[0]) >= torch.from_numpy(lengths)[:, None]] = 0
    expected = session.run(None, {"inputs": inputs.numpy(), "lengths": lengths})
    with torch.inference_mode():
        for ours, theirs in zip(expected, network(inputs, torch.from_numpy(lengths)), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    wider = torch.cat([inputs, torch.full_like(inputs[:, :3], 7)], dim=1).numpy()
    found = session.run(None, {"inputs": wider, "lengths": lengths})
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours[:, : lengths[0]] if task.every_step else ours, theirs, rtol=0, atol=1e-6)


@every_network
def test_the_graph_has_the_tasks_inputs_and_onnxs_layers(exported, which, root):
    _, cells, bidirectional, count, pooling = which
    _, task, path, _ = exported(*which)
    types = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(int64)": "int64"}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    dynamic_time = bool(cells) and task.ahead is None
    specs = graph_inputs(task, dynamic_time=dynamic_time)
    assert [(one.name, types[one.type]) for one in session.get_inputs()] == [(one.name, one.dtype) for one in specs]
    first = session.get_inputs()[0].shape
    assert (first[0], first[1] == "time", tuple(first[2:])) == ("batch", dynamic_time, task.inputs.shape[2:])
    assert [(one.name, types[one.type], len(one.shape)) for one in session.get_outputs()] == [
        (spec.name, spec.dtype, len(spec.shape)) for spec in task.outputs
    ]
    nodes = [node for node in onnx.load(path).graph.node if node.op_type in NODES.values()]
    directions = 2 if bidirectional else 1
    # A Scan has one direction.
    layers = [[NODES[cell]] * (directions if cell == "rnn" else 1) for cell in cells]
    layers *= 2 if pooling == "decoder" else 1
    assert [node.op_type for node in nodes] == [name for _ in range(count) for layer in layers for name in layer]
    for node in (node for node in nodes if node.op_type != "Scan"):
        options = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        assert options.get("direction", b"forward") == (b"bidirectional" if bidirectional else b"forward")
    assert str(root).encode() not in path.read_bytes()


@pytest.mark.parametrize("which", [FIXED[2], VARIABLE[0]], ids=named([FIXED[2], VARIABLE[0]]))
def test_exports_are_equal_bytes_for_any_traced_example(exported, tmp_path, which):
    """Also for a test split of one row."""
    network, task, path, data = exported(*which)
    one = Batches(data.inputs[:1], data.targets[:1], None if data.lengths is None else data.lengths[:1])
    export(network, task, *example(task, one), tmp_path / "one.onnx", dynamic_time=True)
    assert (tmp_path / "one.onnx").read_bytes() == path.read_bytes()


# Parity that does not hold


def constant(path, value):
    """A graph that returns `value` for every row."""
    nodes = [
        helper.make_node("ReduceMean", ["inputs"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "value"], ["price"]),
    ]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, ("batch", "time", 1))],
        [helper.make_tensor_value_info("price", TensorProto.FLOAT, ("batch",))],
        [helper.make_tensor(name, TensorProto.FLOAT, [], [one]) for name, one in (("zero", 0.0), ("value", value))],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


ONES = {"inputs": np.ones((3, 8, 1), np.float32)}
NAN = float("nan")


@pytest.mark.parametrize(
    ("ours", "theirs", "passes"),
    [
        (1.0, 1.0, True),
        (1.0, 1.1, False),
        (0.001, 0.0011, False),
        (NAN, 1.0, False),
        (float("inf"), 1.0, False),
    ],
)
def test_parity_detects_differences(tmp_path, ours, theirs, passes):
    constant(tmp_path / "model.onnx", ours)
    assert parity(tmp_path / "model.onnx", ["price"], [(ONES, (torch.full((3,), theirs),))])["passed"] is passes


def test_the_worst_of_all_cases_counts(tmp_path):
    constant(tmp_path / "model.onnx", 1.0)
    cases = [(ONES, (torch.full((3,), value),)) for value in (1.0, 1.2, 1.0)]
    found = parity(tmp_path / "model.onnx", ["price"], cases)
    assert found["max_abs_error"] == pytest.approx(0.2)
    assert found["max_relative_error"] == pytest.approx(0.2 / 1.2)
    assert (found["rows"], found["shapes_tried"]) == (9, [[3, 8, 1]] * 3)
    with pytest.raises(ExportError):
        parity(tmp_path / "model.onnx", ["price"], [(ONES, (torch.ones(3, 2),))])


# int8


@pytest.mark.parametrize("which", [FIXED[0], VARIABLE[0]], ids=named([FIXED[0], VARIABLE[0]]))
def test_int8_weights_and_what_they_lose(exported, which, tmp_path, tiny, monkeypatch):
    network, task, path, data = exported(*which)
    copy(path, tmp_path / "model.onnx")
    metrics = {"metric": task.metrics.headline, "test": 1.5, "baseline": {}}
    write_card(tmp_path, make_card("mine", task, task.topology, dynamic_time=True, data={}, metrics=metrics), task)
    bundle = load_bundle(tmp_path)
    quantize(bundle.model)
    nodes = {node.op_type for node in onnx.load(bundle.model).graph.node}
    assert {"DynamicQuantizeLSTM", "MatMulInteger"} <= nodes
    assert not {"LSTM", "MatMul", "Gemm"} & nodes
    feed, _ = next(parity_cases(network, task, data, dynamic_time=True))
    (_, whole), (_, int8) = (
        onnxruntime.InferenceSession(one, providers=["CPUExecutionProvider"]).run(None, feed)
        for one in (path, bundle.model)
    )
    assert 0 < np.abs(whole - int8).max() < 0.1
    samples = tiny.samples(which[0])
    found = compare(network, task, samples, bundle, bundle.model.read_bytes())
    rows = samples.at(samples.shipped.valid)
    expected = task.metrics.score(predict(network, task, make_batches(samples, task, samples.shipped.valid, CPU)), rows)
    assert (found["float32"], found["split"], found["rows"]) == (expected["accuracy"], "valid", len(rows["targets"]))
    assert found["loss"] == pytest.approx(found["float32"] - found["int8"])
    # The same graph loses nothing; without validation rows, the test rows are taken.
    alone = replace(samples, folds=(replace(samples.shipped, valid=samples.shipped.valid[:0]),))
    assert compare(network, task, alone, bundle, bundle.graph).items() >= {"loss": 0.0, "split": "test"}.items()
    copy(path, bundle.model)
    monkeypatch.chdir(tmp_path)
    write_json(paths.parity("mine"), {"passed": True})
    with pytest.raises(ExportError, match=r"experiments\.mine\.export\.max_loss"):
        stage.quantize_bundle("mine", network, task, samples, tmp_path, max_loss=-1.0)
    assert not read_json(paths.parity("mine"))["passed"]


def test_int8_leaves_the_spectra_of_sound_as_they_are(exported, tmp_path):
    _, _, path, _ = exported(*next(one for one in VARIABLE if one[0] == "sound_class"))
    copy(path, tmp_path / "model.onnx")
    quantize(tmp_path / "model.onnx")
    nodes = onnx.load(tmp_path / "model.onnx").graph.node
    products = [node.input[1] for node in nodes if node.op_type == "MatMul"]
    assert {name.rpartition(".")[2] for name in products} == {"spectrum", "bands", "cosines"}
    assert "MatMulInteger" in {node.op_type for node in nodes}


# The bundle


@every_network
def test_a_bundle_can_be_loaded(exported, which, tmp_path):
    _, task, path, data = exported(*which)
    copy(path, tmp_path / "model.onnx")
    metrics = {"metric": task.metrics.headline, "test": 1.5, "baseline": {"persistence": 2.5}}
    topology = task.topology if which[1] else "one_to_one"
    options = {"dynamic_time": bool(which[1]), "data": {"data/raw/stock": "0123.dir"}, "metrics": metrics}
    write_card(tmp_path, make_card("mine", task, topology, **options), task)
    card, vocabularies = load_bundle(tmp_path).card, load_bundle(tmp_path).vocabularies
    assert (card.task.name, card.task.kind, card.metrics["test"]) == (which[0], task.kind, 1.5)
    if not which[1]:
        assert card.inputs[0].shape == ("batch", *data.inputs.shape[1:])
    for name, vocabulary in task.vocabularies.items():
        assert vocabularies[f"{name}.tokenizer.json"].tokens == vocabulary.tokens
    names = sorted(["card.json", "model.onnx", *(f"{name}.tokenizer.json" for name in task.vocabularies)])
    lines = (tmp_path / "SHA256SUMS").read_text().splitlines()
    assert lines == [f"{sha256_of(tmp_path / name)}  {name}" for name in names]
