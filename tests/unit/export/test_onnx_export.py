"""ONNX beside torch: each cell, direction and depth, with and without lengths, at sizes other than the traced ones."""

import json
from shutil import copy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from unroll.errors import ExportError
from unroll.export.bundle import card, inputs_of, seal, takes_lengths
from unroll.export.cases import example, runs
from unroll.export.onnx import export, parity
from unroll.export.recurrent import translation_table
from unroll.files import sha256_of
from unroll.inference.bundle import load_bundle
from unroll.models.recurrent import RecurrentEncoder
from unroll.training.batches import Batches
from unroll.training.members import new_network, training_split, whole_model

CPU = torch.device("cpu")
NODES = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}


def randomised(network):
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.4)
    return network.eval()


# The encoder alone: with lengths, all of its outputs and states


class EncoderOutputs(nn.Module):
    """Outputs and every state of an encoder, as a flat tuple."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, inputs, lengths):
        outputs, states = self.encoder(inputs, lengths)
        return (outputs, *(part for state in states for part in state))


def to_onnx(module, inputs, lengths, path):
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("time")}
    program = torch.onnx.export(
        module,
        (inputs, lengths),
        dynamo=True,
        custom_translation_table=translation_table(),
        input_names=["inputs", "lengths"],
        dynamic_shapes=(axes, {0: axes[0]}),
        verbose=False,
    )
    path.write_bytes(program.model_proto.SerializeToString())
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


ENCODERS = [
    (["rnn"], False, {"nonlinearity": "relu"}),
    (["rnn"], True, {}),
    (["gru"], True, {}),
    (["lstm"], False, {}),
    (["lstm", "lstm"], True, {"layer_norm": True}),
    (["rnn", "gru", "lstm"], True, {}),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:.*will not be used")
@pytest.mark.parametrize(
    ("cells", "bidirectional", "options"),
    ENCODERS,
    ids=["-".join(cells) + ("-both-ways" if both else "") for cells, both, _ in ENCODERS],
)
def test_encoder_with_lengths(cells, bidirectional, options, tmp_path):
    stack = [(cell, 4 + rank) for rank, cell in enumerate(cells)]
    module = EncoderOutputs(randomised(RecurrentEncoder(3, stack, bidirectional=bidirectional, **options)))
    session = to_onnx(module.eval(), torch.randn(3, 5, 3), torch.tensor([5, 2, 3]), tmp_path / "encoder.onnx")
    for batch, time, lengths in (
        (3, 5, [5, 2, 3]),
        (1, 9, [9]),
        (6, 12, [12, 1, 7, 3, 1, 11]),
        (4, 20, [3, 2, 1, 3]),
        (2, 1, [1, 1]),
    ):
        inputs, counts = torch.randn(batch, time, 3), torch.tensor(lengths)
        found = session.run(None, {"inputs": inputs.numpy(), "lengths": counts.numpy()})
        with torch.no_grad():
            expected = module(inputs, counts)
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-5)
        for row, length in enumerate(lengths):
            assert not found[0][row, length:].any()
        # More padding changes nothing.
        wider = torch.cat([inputs, torch.full((batch, 7, 3), 1e3)], dim=1)
        padded = session.run(None, {"inputs": wider.numpy(), "lengths": counts.numpy()})
        np.testing.assert_allclose(padded[0][:, :time], found[0], rtol=0, atol=1e-6)
        for one, other in zip(padded[1:], found[1:], strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


# Whole networks


@pytest.fixture(scope="module")
def exported(tiny, tmp_path_factory):
    """Exports a network of a task, once for all tests that ask for it."""
    made = {}

    def get(kind, cells=("gru",), bidirectional=False, count=1, pooling="last"):
        key = (kind, cells, bidirectional, count, pooling)
        if key not in made:
            task, samples = tiny.task(kind), tiny.samples(kind)
            data = training_split(samples, task, samples.folds[-1].train, CPU)
            options = {"bidirectional": bidirectional, "pooling": pooling} if cells else {}
            if task.source_vocab_size:
                options["embedding"] = {"size": 5}
            networks = [new_network(task, tiny.model(*cells, **options), data, seed) for seed in range(count)]
            for network in networks:
                torch.nn.init.normal_(next(network.head.parameters()), 0, 0.3 if kind in SEQUENCES else 0.1)
            network = whole_model(task, networks)
            path = tmp_path_factory.mktemp("export") / "model.onnx"
            export(network, task, *example(task, data), path, free_time=bool(cells))
            made[key] = (network, task, path, data)
        return made[key]

    return get


FORECASTS = [
    ("digits", ("rnn",), False, 1),
    ("digits", ("lstm",), True, 1),
    ("digits", ("rnn", "gru", "lstm"), False, 1),
    ("digits", (), False, 1),
    ("price", ("lstm", "lstm"), False, 1),
    ("price_steps", ("rnn",), False, 1),
    ("log_return", ("gru",), False, 3),
    ("return_quantiles", ("gru",), True, 2),
]
# Each cell and pooling once, over tokens, tokens with characters and frames of sound.
VARYING = [
    ("text_class", ("lstm",), True, 2, "last"),
    ("text_class", ("gru",), False, 1, "mean"),
    ("recording_class", ("rnn",), True, 1, "max"),
    ("tags", ("lstm",), True, 1),
]
NETWORKS = [*FORECASTS, *VARYING, ("strip_columns", ("gru",), True, 1)]
SEQUENCES = ("text_class", "recording_class", "tags", "strip_columns")


def names_of(networks):
    return ["-".join(map(str, (kind, *(cells or ["dense"]), *rest))) for kind, cells, *rest in networks]


every_network = pytest.mark.parametrize("which", NETWORKS, ids=names_of(NETWORKS))
every_forecast = pytest.mark.parametrize("which", FORECASTS, ids=names_of(FORECASTS))
every_varying = pytest.mark.parametrize("which", VARYING, ids=names_of(VARYING))


def answers(network, feed):
    """torch's, for what ONNX is fed with."""
    with torch.inference_mode():
        found = network(*(torch.from_numpy(one) for one in feed.values()))
    return found if isinstance(found, tuple) else (found,)


def held_against(network, task, path, feeds):
    names = [spec.name for spec in task.outputs]
    return parity(path, names, [(feed, answers(network, feed)) for feed in feeds])


def images(*shapes):
    return [{"inputs": one.numpy()} for one in shapes]


@every_forecast
def test_onnx_agrees_with_torch_at_other_sizes(exported, which):
    network, task, path, data = exported(*which)
    inputs = data.inputs
    shapes = [inputs[:2], inputs[:1], inputs[:17], inputs]
    if which[1]:
        shapes += [inputs[:3, -task.min_steps :], torch.cat([inputs[:5]] * 3, dim=1)]
    found = held_against(network, task, path, images(*shapes))
    assert found["passed"]
    assert found["differing_labels"] == 0
    assert found["max_relative_error"] <= 1e-5
    assert found["shapes_tried"] == [list(one.shape) for one in shapes]
    json.dumps(found, allow_nan=False)


@every_network
def test_the_rows_that_an_export_is_checked_on(exported, which):
    """All test rows, one alone, and where the model takes them others lengths."""
    network, task, path, data = exported(*which)
    tried = list(runs(network, task, data, free_time=bool(which[1])))
    found = parity(path, [spec.name for spec in task.outputs], tried)
    assert found["passed"]
    assert found["max_abs_error"] < 1e-4
    sizes = {tuple(shape[:2]) for shape in found["shapes_tried"]}
    assert len(data) in {rows for rows, _ in sizes}
    assert 1 in {rows for rows, _ in sizes}
    assert len({steps for _, steps in sizes}) > 1 or not which[1]
    if takes_lengths(task):
        lengths = np.concatenate([feed["lengths"] for feed, _ in tried])
        assert {lengths.min(), lengths.max()} == {int(data.lengths.min()), int(data.lengths.max())}


def rows_of(task, data, lengths):
    """Rows of these lengths: the first ones, as often as is needed."""
    count = len(lengths)
    inputs = torch.cat([data.inputs[:count]] * 4, dim=1)[:, : max(lengths)].clone()
    for row, length in enumerate(lengths):
        inputs[row, length:] = 0
    if inputs.dtype == torch.int64:
        # No padding before the end.
        first = inputs[:, :, 0] if inputs.dim() == 3 else inputs
        for row, length in enumerate(lengths):
            first[row, :length].clamp_(min=6)
    return {"inputs": inputs.numpy(), "lengths": np.array(lengths)}


@every_varying
def test_lengths_other_than_the_traced_ones(exported, which):
    """Length 1, and longer than any in training."""
    network, task, path, data = exported(*which)
    longest = int(data.lengths.max())
    feeds = [rows_of(task, data, lengths) for lengths in ([1], [1, 1, 1], [3, longest + 9, 1, 2], [longest + 5])]
    assert held_against(network, task, path, feeds)["passed"]


@every_varying
def test_more_padding_changes_nothing_in_onnx(exported, which):
    _, task, path, data = exported(*which)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    lengths = [5, 1, 9, 3]
    feed = rows_of(task, data, lengths)
    expected = session.run(None, feed)
    fill = 7 if feed["inputs"].dtype == np.int64 else 1e3
    for more, value in ((1, 0), (6, 0), (3, fill)):
        wide = [(0, 0), (0, more), *[(0, 0)] * (feed["inputs"].ndim - 2)]
        inputs = np.pad(feed["inputs"], wide)
        for row, length in enumerate(lengths):
            inputs[row, length:] = value
        found = session.run(None, {**feed, "inputs": inputs})
        for ours, theirs in zip(found, expected, strict=True):
            if task.every_step:
                assert not ours[:, 9:].any()
                ours = ours[:, :9]
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    order = [2, 0, 3, 1]
    found = session.run(None, {name: one[order] for name, one in feed.items()})
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs[order], rtol=0, atol=1e-6)
    for row, length in enumerate(lengths):
        alone = session.run(None, {"inputs": feed["inputs"][row : row + 1, :length], "lengths": np.array([length])})
        for ours, theirs in zip(alone, expected, strict=True):
            part = theirs[row, :length] if task.every_step else theirs[row]
            np.testing.assert_allclose(ours[0], part, rtol=0, atol=1e-6)
            if task.every_step:
                assert not theirs[row, length:].any()


@every_network
def test_graph_holds_onnxs_own_layers(exported, which):
    cells, both, count = which[1:4]
    _, _, path, _ = exported(*which)
    nodes = [node for node in onnx.load(path).graph.node if node.op_type in NODES.values()]
    assert [node.op_type for node in nodes] == [NODES[cell] for _ in range(count) for cell in cells]
    for node in nodes:
        options = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        assert options.get("direction", b"forward") == (b"bidirectional" if both else b"forward")


TYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(int64)": "int64"}


@every_network
def test_graph_is_what_the_task_says(exported, which):
    _, task, path, _ = exported(*which)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    specs = inputs_of(task, free_time=bool(which[1]))
    assert [(one.name, TYPES[one.type]) for one in session.get_inputs()] == [(one.name, one.dtype) for one in specs]
    entry = session.get_inputs()[0]
    assert entry.shape[0] == "batch"
    assert (entry.shape[1] == "time") is bool(which[1])
    assert tuple(entry.shape[2:]) == task.inputs.shape[2:]
    assert [one.shape for one in session.get_inputs()[1:]] == [["batch"]] * (len(specs) - 1)
    assert [(one.name, TYPES[one.type]) for one in session.get_outputs()] == [
        (spec.name, spec.dtype) for spec in task.outputs
    ]
    assert all(len(one.shape) == len(spec.shape) for one, spec in zip(session.get_outputs(), task.outputs, strict=True))


@every_network
def test_graph_tells_nothing_of_this_machine(exported, which, root):
    content = exported(*which)[2].read_bytes()
    for text in (str(root), "site-packages", "/home", "unroll/models"):
        assert text.encode() not in content


@pytest.mark.parametrize("which", [FORECASTS[4], VARYING[1]], ids=names_of([FORECASTS[4], VARYING[1]]))
def test_exports_are_equal_bytes_whatever_they_are_traced_with(exported, tmp_path, which):
    """A test split of one row, too."""
    network, task, path, data = exported(*which)
    lengths = None if data.lengths is None else data.lengths[:1]
    one = Batches(data.inputs[:1], data.targets[:1], lengths)
    export(network, task, *example(task, one), tmp_path / "one.onnx", free_time=True)
    assert (tmp_path / "one.onnx").read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_a_test_split_of_single_steps_can_be_traced(exported, tmp_path):
    network, task, path, data = exported(*VARYING[1])
    short = Batches(data.inputs[:, :1], data.targets, torch.ones(len(data), dtype=torch.int64))
    export(network, task, *example(task, short), tmp_path / "short.onnx", free_time=True)
    assert (tmp_path / "short.onnx").read_bytes() == path.read_bytes()


# Parity that does not hold


def constant(path, value, shape=("batch",)):
    """A graph that gives `value` for every row."""
    outputs = [helper.make_tensor_value_info("price", TensorProto.FLOAT, shape)]
    inputs = [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, ("batch", "time", 1))]
    nodes = [
        helper.make_node("ReduceMean", ["inputs"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "value"], ["price"]),
    ]
    constants = [helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])]
    constants.append(helper.make_tensor("value", TensorProto.FLOAT, [], [value]))
    graph = helper.make_graph(nodes, "constant", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)


ONES = {"inputs": np.ones((3, 8, 1), np.float32)}


@pytest.mark.parametrize(
    ("ours", "theirs", "passes"),
    [
        (1.0, 1.0, True),
        (1.0, 1.1, False),
        (1000.0, 1000.001, True),
        (1000.0, 1000.5, False),
        (0.001, 0.0011, False),
        (float("nan"), 1.0, False),
        (1.0, float("nan"), False),
        (float("nan"), float("nan"), False),
        (float("inf"), 1.0, False),
    ],
)
def test_parity_sees_a_difference(tmp_path, ours, theirs, passes):
    constant(tmp_path / "model.onnx", ours)
    found = parity(tmp_path / "model.onnx", ["price"], [(ONES, (torch.full((3,), theirs),))])
    assert found["passed"] is passes
    if passes:
        assert found["max_abs_error"] == pytest.approx(abs(ours - theirs), abs=1e-4)


def test_the_worst_of_all_runs_counts(tmp_path):
    constant(tmp_path / "model.onnx", 1.0)
    tried = [(ONES, (torch.full((3,), value),)) for value in (1.0, 1.2, 1.0)]
    found = parity(tmp_path / "model.onnx", ["price"], tried)
    assert not found["passed"]
    assert found["max_abs_error"] == pytest.approx(0.2)
    assert found["max_relative_error"] == pytest.approx(0.2 / 1.2)
    assert found["rows"] == 9
    assert found["shapes_tried"] == [[3, 8, 1]] * 3


def test_another_shape_is_an_error(tmp_path):
    constant(tmp_path / "model.onnx", 1.0)
    with pytest.raises(ExportError, match=r"ONNX gives \(3,\), torch \(3, 2\)"):
        parity(tmp_path / "model.onnx", ["price"], [(ONES, (torch.ones(3, 2),))])


def test_labels_that_differ_fail(exported):
    network, task, path, data = exported("digits", ("rnn",), False, 1)
    feed = {"inputs": data.inputs[:5].numpy()}
    labels, probabilities = answers(network, feed)
    found = parity(path, [spec.name for spec in task.outputs], [(feed, ((labels + 1) % 10, probabilities))])
    assert (found["passed"], found["differing_labels"]) == (False, 5)


# The bundle


def sealed(exported, which, folder):
    _, task, path, data = exported(*which)
    folder.mkdir()
    copy(path, folder / "model.onnx")
    figures = {"metric": task.metrics.headline, "test": 1.5, "baseline": {"persistence": 2.5}}
    content = card(
        "an-experiment",
        task,
        task.topology if which[1] else "one_to_one",
        free_time=bool(which[1]),
        data={"data/raw/stock": "0123.dir"},
        figures=figures,
    )
    seal(folder, content, task)
    return task, data.inputs


@every_network
def test_bundle_is_what_its_reader_takes(exported, which, tmp_path):
    """Written here, read by the code that scores with it."""
    task, _ = sealed(exported, which, tmp_path / "bundle")
    found = load_bundle(tmp_path / "bundle")
    assert found.card.task.name == which[0]
    assert found.card.task.kind == task.kind
    assert found.card.metrics["test"] == 1.5
    assert found.card.data == {"data/raw/stock": "0123.dir"}
    assert all(tensor.unit for tensor in (*found.card.inputs, *found.card.outputs))
    assert found.card.reader == task.reader
    assert set(found.vocabularies) == {f"{name}.tokenizer.json" for name in task.vocabularies}
    for name, vocabulary in task.vocabularies.items():
        assert found.vocabularies[f"{name}.tokenizer.json"].tokens == vocabulary.tokens


@pytest.mark.parametrize("kind", ["price", "log_return", "return_quantiles", "digits"])
def test_bundle_of_a_dense_network_is_readable_too(exported, tmp_path, kind):
    """Its time axis is fixed: to the length of the raw input, which is longer than what the network sees of it."""
    _, inputs = sealed(exported, (kind, (), False, 1), tmp_path / "bundle")
    assert load_bundle(tmp_path / "bundle").card.inputs[0].shape == ("batch", *inputs.shape[1:])


@pytest.mark.parametrize(
    ("which", "more"),
    [
        (FORECASTS[4], []),
        (VARYING[1], ["text.tokenizer.json"]),
        (VARYING[3], ["character.tokenizer.json", "token.tokenizer.json"]),
    ],
    ids=["price", "text", "tags"],
)
def test_checksums_are_those_of_the_files(exported, tmp_path, which, more):
    sealed(exported, which, tmp_path / "bundle")
    names = sorted(["card.json", "model.onnx", *more])
    lines = (tmp_path / "bundle" / "SHA256SUMS").read_text().splitlines()
    assert lines == [f"{sha256_of(tmp_path / 'bundle' / name)}  {name}" for name in names]
    assert sorted(path.name for path in (tmp_path / "bundle").iterdir()) == sorted(["SHA256SUMS", *names])


def test_card_by_hand(tiny):
    found = card("x", tiny.task("return_quantiles"), "many_to_one", free_time=True, data={}, figures={})
    assert found["format"] == 1
    assert found["task"] == {"name": "return_quantiles", "kind": "return_quantiles", "topology": "many_to_one"}
    assert found["reader"] == "prices"
    assert found["inputs"][0]["shape"] == ("batch", "time", 1)
    assert found["outputs"][0]["shape"] == ("batch", 5)
    assert found["quantiles"] == [0.1, 0.25, 0.5, 0.75, 0.9]
    assert found["prices"] == {"columns": ["close"], "target": "close", "window": 16, "every_step": False}


def test_time_and_batch_do_not_matter_to_a_bundle(exported):
    """A row's result depends on the row alone, and on its own steps."""
    _, _, path, data = exported("return_quantiles", ("gru",), True, 2)
    inputs = data.inputs
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    whole = session.run(None, {"inputs": inputs[:20].numpy()})[0]
    for row in (0, 7, 19):
        alone = session.run(None, {"inputs": inputs[row : row + 1].numpy()})[0]
        np.testing.assert_allclose(alone[0], whole[row], rtol=0, atol=1e-7)
