"""A generator as one graph: what ONNX writes is what torch writes, token by token, at any size."""

import json
from collections import Counter
from shutil import copy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from small_networks import randomised

from unroll.export.bundle import card, draws, inputs_of, seal, takes_lengths
from unroll.export.cases import example, runs
from unroll.export.decoding import export_generator
from unroll.export.onnx import TOLERANCE, parity
from unroll.features.random import uniforms
from unroll.features.special_tokens import BOS, EOS, PAD, UNK
from unroll.inference.bundle import load_bundle
from unroll.models.decoding import decode
from unroll.training.batches import Batches
from unroll.training.members import new_network, training_split, whole_model

CPU = torch.device("cpu")
TYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(int64)": "int64"}

# Attention over both directions of an LSTM; tied weights and drawing. The rest takes its time.
FAST = {"attention": "translation", "tie_weights": "language_model"}
SLOW = {
    "plain": "translation",
    "rnn": "translation",
    "captions": "strip_captions",
    "tunes": "melody",
    "words": "language_model",
}
NETWORKS = FAST | SLOW
every_generator = pytest.mark.parametrize(
    "which", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
every_fast = pytest.mark.parametrize("which", FAST)
with_prompts = pytest.mark.parametrize(
    "which", ["tie_weights", *(pytest.param(name, marks=pytest.mark.slow) for name in ("tunes", "words"))]
)


def model_of(tiny, which):
    return {
        "attention": lambda: tiny.writer("gru", "lstm", attention=True, bidirectional=True),
        "plain": lambda: tiny.writer("lstm", "gru", "lstm", reverse_source=True),
        "rnn": lambda: tiny.writer("rnn", "rnn", attention=True, reverse_source=True),
        "captions": lambda: tiny.writer("gru"),
        "tunes": lambda: tiny.model("gru", embedding={"size": 5}),
        "words": lambda: tiny.model("lstm", "gru", embedding={"size": 5}, tie_weights=True, layer_norm=True),
        "tie_weights": lambda: tiny.model("rnn", embedding={"size": 5}, tie_weights=True),
    }[which]()


def may_end(network, inputs, lengths):
    """Raises the bias of `<eos>` until a third of some sequences end: chance weights seldom let one."""
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
    """Exports a generator, once for all tests that ask for it."""
    made = {}

    def get(which):
        if which not in made:
            kind = NETWORKS[which]
            task, samples = tiny.task(kind), tiny.samples(kind)
            data = training_split(samples, task, samples.folds[0].train, CPU)
            network = new_network(task, model_of(tiny, which), data, 0)
            network = may_end(randomised(network, spread=0.7), *inputs_for(task, data, 30, 6))
            network = whole_model(task, [network])
            path = tmp_path_factory.mktemp("export") / "model.onnx"
            export_generator(network, task, *example(task, data), path, draws=draws(task))
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            made[which] = (network, task, path, data, session)
        return made[which]

    return get


def inputs_for(task, data, rows, steps):
    """Inputs of so many rows, up to so many steps long."""
    inputs = torch.cat([data.inputs] * (1 + rows // len(data)))[:rows]
    if not takes_lengths(task):
        return inputs, None
    lengths = 1 + (torch.arange(rows) * 3) % steps
    lengths[-1] = steps
    inputs = torch.cat([inputs] * (1 + steps // inputs.shape[1]), dim=1)[:, :steps].clamp(min=BOS)
    return torch.where(torch.arange(steps) < lengths[:, None], inputs, PAD), lengths


def feed_of(task, inputs, lengths, *, max_length, beams, length_penalty=1.0, temperature=0.0, top_k=0, seed=0):
    feed = {
        "inputs": inputs.numpy(),
        "max_length": np.array(max_length),
        "beams": np.array(beams),
        "length_penalty": np.array(length_penalty, np.float32),
    }
    if lengths is not None:
        feed["lengths"] = lengths.numpy()
    if draws(task):
        feed |= {"temperature": np.array(temperature, np.float32), "top_k": np.array(top_k)}
        feed["uniforms"] = uniforms(seed, range(len(inputs)), beams, max_length)
    return feed


def written(session, task, inputs, lengths, **settings):
    return session.run(["tokens", "scores"], feed_of(task, inputs, lengths, **settings))


def check(network, task, session, inputs, lengths, seed=0, **settings):
    """ONNX's tokens are torch's, its scores to 1e-5."""
    tokens, scores = written(session, task, inputs, lengths, seed=seed, **settings)
    chance = torch.from_numpy(uniforms(seed, range(len(inputs)), settings["beams"], settings["max_length"]))
    expected, expected_scores = decode(network, inputs, lengths, uniforms=chance, **settings)
    assert tokens.shape == tuple(expected.shape)
    assert (tokens == expected.numpy()).all()
    np.testing.assert_allclose(scores, expected_scores.numpy(), rtol=1e-5, atol=1e-5)
    for row in tokens.reshape(-1, tokens.shape[2]).tolist():
        end = row.index(EOS) + 1 if EOS in row else len(row)
        assert not set(row[:end]) & {PAD, UNK, BOS}
        assert not any(row[end:])
    return tokens


SEARCHES = [
    # rows, time, beams, max_length, length_penalty
    (2, 5, 1, 6, 1.0),
    (1, 1, 1, 1, 0.0),
    (1, 1, 4, 1, 1.0),
    (1, 9, 5, 12, 0.0),
    (7, 3, 2, 3, 2.0),
    (13, 31, 3, 20, 0.6),
    (3, 2, 10, 2, 1.0),
]


@every_generator
@pytest.mark.parametrize(("rows", "time", "beams", "max_length", "length_penalty"), SEARCHES)
def test_what_is_searched_for(exported, which, rows, time, beams, max_length, length_penalty):
    network, task, _, data, session = exported(which)
    settings = {"beams": beams, "max_length": max_length, "length_penalty": length_penalty}
    check(network, task, session, *inputs_for(task, data, rows, time), **settings)


DRAWS = [
    # rows, time, beams, max_length, temperature, top_k
    (2, 4, 1, 6, 1.0, 0),
    (1, 1, 1, 1, 0.5, 0),
    (1, 7, 3, 12, 2.0, 0),
    (9, 5, 2, 20, 1.0, 4),
    (5, 2, 4, 3, 0.7, 1),
    (2, 3, 2, 9, 1.3, 1000),
]


@with_prompts
@pytest.mark.parametrize(("rows", "time", "beams", "max_length", "temperature", "top_k"), DRAWS)
def test_what_is_drawn(exported, which, rows, time, beams, max_length, temperature, top_k):
    network, task, _, data, session = exported(which)
    settings = {"beams": beams, "max_length": max_length, "temperature": temperature, "top_k": top_k}
    settings["length_penalty"] = 0.5
    check(network, task, session, *inputs_for(task, data, rows, time), seed=rows, **settings)


@with_prompts
def test_the_likeliest_alone_is_greedy_in_onnx(exported, which):
    _, task, _, data, session = exported(which)
    prompt = inputs_for(task, data, 8, 5)
    greedy, scores = written(session, task, *prompt, beams=1, max_length=9)
    drawn, drawn_scores = written(session, task, *prompt, beams=1, max_length=9, temperature=1.0, top_k=1)
    assert (greedy == drawn).all()
    np.testing.assert_allclose(drawn_scores, scores, rtol=0, atol=1e-6)


@with_prompts
def test_equal_seeds_write_the_same(exported, which):
    _, task, _, data, session = exported(which)
    prompt = inputs_for(task, data, 8, 5)
    settings = {"beams": 2, "max_length": 9, "temperature": 1.0}
    one, again, other = (written(session, task, *prompt, seed=seed, **settings)[0] for seed in (3, 3, 4))
    assert (one == again).all()
    assert one.shape != other.shape or (one != other).any()
    # A row's are its own, whatever batch it is in.
    inputs, lengths = prompt
    feed = feed_of(task, inputs[5:6], lengths[5:6], **settings)
    feed["uniforms"] = uniforms(3, [5], 2, 9)
    alone = session.run(["tokens"], feed)[0]
    assert (alone[0] == one[5, :, : alone.shape[2]]).all()


@every_generator
def test_more_padding_and_another_order_change_nothing(exported, which):
    _, task, _, data, session = exported(which)
    inputs, lengths = inputs_for(task, data, 6, 8)
    for settings in [{"beams": 3}, *([{"beams": 2, "temperature": 1.0}] if draws(task) else [])]:
        tokens, scores = written(session, task, inputs, lengths, max_length=7, **settings)
        if lengths is not None:
            for more, fill in ((1, PAD), (9, PAD), (4, 7)):
                wide = torch.nn.functional.pad(inputs, (0, more), value=fill)
                wide = torch.where(torch.arange(wide.shape[1]) < lengths[:, None], wide, fill)
                found, found_scores = written(session, task, wide, lengths, max_length=7, **settings)
                assert (found == tokens).all()
                np.testing.assert_allclose(found_scores, scores, rtol=0, atol=1e-6)
        for row in range(6):
            if "temperature" in settings:
                break
            own = inputs[row : row + 1] if lengths is None else inputs[row : row + 1, : lengths[row]]
            alone = None if lengths is None else lengths[row : row + 1]
            found, found_scores = written(session, task, own, alone, max_length=7, **settings)
            assert (found[0] == tokens[row, :, : found.shape[2]]).all()
            assert not tokens[row, :, found.shape[2] :].any()
            np.testing.assert_allclose(found_scores[0], scores[row], rtol=0, atol=1e-6)


@every_generator
def test_writing_ends_when_all_are_finished(exported, which):
    """`max_length` is a bound, not a size."""
    _, task, _, data, session = exported(which)
    inputs, lengths = inputs_for(task, data, 30, 6)
    tokens, _ = written(session, task, inputs, lengths, beams=1, max_length=60)
    ends = [row.index(EOS) + 1 if EOS in row else None for row in tokens[:, 0].tolist()]
    finished = [row for row, end in enumerate(ends) if end]
    assert finished
    index = torch.tensor(finished)
    own = (inputs[index], None if lengths is None else lengths[index])
    found, _ = written(session, task, *own, beams=1, max_length=10_000)
    assert found.shape[2] == max(ends[row] for row in finished)


@every_generator
def test_the_rows_that_an_export_is_checked_on(exported, which):
    network, task, path, data, _ = exported(which)
    few = Batches(data.inputs[:9], data.targets[:9], None if data.lengths is None else data.lengths[:9])
    tried = list(runs(network, task, few, free_time=True))
    found = parity(path, [spec.name for spec in task.outputs], tried)
    assert found["passed"]
    assert found["differing_labels"] == 0
    assert found["max_relative_error"] <= TOLERANCE
    assert {shape[0] for shape in found["shapes_tried"]} == {9, 1}
    # Greedy, by search and, where that can be, by chance.
    assert {int(feed["beams"]) for feed, _ in tried} >= {1, max(2, task.decoding.beams)}
    assert any(feed.get("temperature", 0) > 0 for feed, _ in tried) is draws(task)
    json.dumps(found, allow_nan=False)


@every_fast
def test_tokens_that_differ_fail(exported, which):
    network, task, path, data, _ = exported(which)
    few = Batches(data.inputs[:3], data.targets[:3], None if data.lengths is None else data.lengths[:3])
    tried = [(feed, (tokens + 1, scores)) for feed, (tokens, scores) in runs(network, task, few, free_time=True)]
    found = parity(path, [spec.name for spec in task.outputs], tried)
    assert not found["passed"]
    assert found["differing_labels"] == sum(tokens.numel() for _, (tokens, _) in tried)


# The graph


@every_generator
def test_graph_is_what_the_card_says(exported, which):
    _, task, path, _, session = exported(which)
    specs = inputs_of(task, free_time=task.name != "strip_captions")
    assert {one.name: (TYPES[one.type], len(one.shape)) for one in session.get_inputs()} == {
        spec.name: (spec.dtype, len(spec.shape)) for spec in specs
    }
    names = ["inputs", *(["lengths"] if takes_lengths(task) else []), "max_length", "beams", "length_penalty"]
    names += ["temperature", "top_k", "uniforms"] if draws(task) else []
    assert [one.name for one in session.get_inputs()] == names
    assert [(one.name, TYPES[one.type], one.shape) for one in session.get_outputs()] == [
        ("tokens", "int64", ["batch", "beam", "step"]),
        ("scores", "float32", ["batch", "beam"]),
    ]
    onnx.checker.check_model(onnx.load(path), full_check=True)


@every_generator
def test_the_loop_is_in_the_graph(exported, which):
    """One decodes greedily, one searches, one more draws; reading stands outside of them."""
    _, task, path, _, _ = exported(which)
    graph = onnx.load(path).graph
    kinds = Counter(node.op_type for node in graph.node)
    assert kinds["Loop"] == (3 if draws(task) else 2)
    layers = {"translation": {"attention": 1, "plain": 2, "rnn": 1}, "strip_captions": {"captions": 0}}
    expected = layers.get(task.name, {"words": 2, "tunes": 1, "tie_weights": 1})[which]
    assert sum(kinds[name] for name in ("RNN", "GRU", "LSTM")) == expected


def embedding_of(network):
    """Of what is written."""
    return network.decoder.embedding if hasattr(network, "decoder") else network.embedding


def initializers(graph):
    """Every weight of a graph, those of its loops included."""
    found = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found += initializers(attribute.g)
    return found


@every_generator
def test_weights_stand_once(exported, which):
    """Equal ones in reading, searching and drawing; a matrix in two layouts at most: as it reads, and as it steps."""
    network, _, path, _, _ = exported(which)
    found = [numpy_helper.to_array(one) for one in initializers(onnx.load(path).graph)]
    assert len({(one.dtype.str, one.shape, one.tobytes()) for one in found}) == len(found)
    floats = sum(one.size for one in found if one.dtype == np.float32)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    layers = sum(value.numel() for name, value in network.named_parameters() if "encoder" in name and ".rnn." in name)
    writes = embedding_of(network).tokens.weight
    twice = (layers if which in ("words", "tunes", "tie_weights") else 0) + writes.numel()
    # Beside them, what must not be written and where padding goes on.
    assert floats <= parameters + twice + 3 * len(writes) + 20


@every_generator
def test_graph_tells_nothing_of_this_machine(exported, which, root):
    content = exported(which)[2].read_bytes()
    for text in (str(root), "site-packages", "/home", "unroll/models", "/tmp"):  # noqa: S108 -- it is looked for
        assert text.encode() not in content


@pytest.mark.slow
@every_fast
def test_exports_are_equal_bytes_whatever_they_are_traced_with(exported, tmp_path, which):
    """A test split of one row, too."""
    network, task, path, data, _ = exported(which)
    one = Batches(data.inputs[:1], data.targets[:1], None if data.lengths is None else data.lengths[:1])
    export_generator(network, task, *example(task, one), tmp_path / "one.onnx", draws=draws(task))
    assert (tmp_path / "one.onnx").read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_windows_shorter_than_a_prompt_can_be_traced(tiny, tmp_path):
    task, samples = tiny.task("language_model", window=2), tiny.samples("language_model", window=2)
    data = training_split(samples, task, samples.folds[0].test, CPU)
    network = randomised(new_network(task, tiny.model("gru", embedding={"size": 5}), data, 0), spread=0.7)
    path = tmp_path / "short.onnx"
    export_generator(network, task, *example(task, data), path, draws=True)
    found = parity(path, ["tokens", "scores"], runs(network, task, data, free_time=True))
    assert found["passed"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    check(network, task, session, *inputs_for(task, data, 4, 9), beams=3, max_length=5)


# The bundle


@every_generator
def test_bundle_is_what_its_reader_takes(exported, which, tmp_path):
    """Written here, read by the code that scores with it."""
    _, task, path, _, _ = exported(which)
    folder = tmp_path / "bundle"
    folder.mkdir()
    copy(path, folder / "model.onnx")
    figures = {"metric": task.metrics.headline, "test": 1.5, "baseline": {}}
    free_time = task.name != "strip_captions"
    seal(folder, card("an-experiment", task, task.topology, free_time=free_time, data={}, figures=figures), task)
    found = load_bundle(folder)
    (book,) = task.vocabularies
    assert found.card.output_vocabulary == f"{book}.tokenizer.json"
    assert found.vocabularies[f"{book}.tokenizer.json"].tokens == task.vocabularies[book].tokens
    assert found.card.decoding.model_dump() == task.decoding.model_dump()
    if task.reader == "text":
        assert found.card.text.vocabulary == f"{book}.tokenizer.json"
        assert found.card.text.first_token == {"language_model": EOS, "melody": BOS, "translation": None}[task.name]
