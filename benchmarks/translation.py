"""Sequences of varying length: bucketed training, decoding within the graph, and tokenizing."""

import time
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import Tensor

from benchmarks.digits import bundle
from benchmarks.figures import CORES, BenchmarkError, Figure, Report, compare, side_by_side
from benchmarks.training import epoch_seconds
from unroll import paths
from unroll.config.experiments import Experiment
from unroll.config.reading import load_section
from unroll.domains.task import Task, make_task
from unroll.export.onnx import to_onnx
from unroll.export.parity import example
from unroll.features.samples import Index, Samples, linspace_indices
from unroll.features.special_tokens import BOS, EOS, IGNORE_INDEX, NEVER_GENERATED, PAD
from unroll.features.text import Vocabulary
from unroll.models.attention import AdditiveAttention, Memory
from unroll.models.cells import State
from unroll.models.generators import EncoderDecoder
from unroll.training.batches import Batches, make_batches
from unroll.training.members import load_networks

EXPERIMENT = "translate-lstm-attention"
PAIRS = 6_400
SENTENCES = 256
LONGEST = 40
"""Tokens of a translation at most."""
TOKENIZED = 100_000
REPEATS = 5


def measure() -> Report:
    """Train on the same pairs in both orders, translate in both ways, and tokenize."""
    bundle(EXPERIMENT)
    experiment = load_section("experiments", EXPERIMENT)
    samples = Samples.load(paths.features(experiment.task))
    task = make_task(experiment.task, load_section("tasks", experiment.task), samples)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        figures = (
            _training(experiment, task, samples),
            *(_decoding(experiment, task, samples, batch, target) for batch, target in ((1, 1.8), (64, 1.5))),
            _tokenizing(samples.vocabularies["text"], samples),
        )
    finally:
        torch.set_num_threads(threads)
    return Report("Text", figures, _note(experiment))


def _note(experiment: Experiment) -> str:
    return (
        f"Training: one epoch of {PAIRS:,} sentence pairs, batches of {experiment.training.batch_size}, one thread, "
        "the same loop and network; ours makes batches of like lengths, the reference by chance, padded to the "
        f"longest. Decoding: greedy, {SENTENCES} test sentences, one thread; ours is one call of the graph a batch, "
        "the reference calls a graph of the encoder once, and one that gives the next token's logits until all of the "
        f"batch have ended. Both gave the same tokens. Tokenizing: {TOKENIZED:,} English and French sentences in one "
        f"call, {CORES} cores."
    )


class _Shuffled(Batches):
    """Batches whose samples have any lengths."""

    def shuffled(self, size: int) -> list[Tensor]:
        return list(torch.randperm(len(self)).split(size))


def _training(experiment: Experiment, task: Task, samples: Samples) -> Figure:
    data = make_batches(samples, task, _some(samples.shipped.train, PAIRS), torch.device("cpu"))
    tokens = int((data.targets != IGNORE_INDEX).sum())
    shuffled = _Shuffled(**vars(data))
    speeds = side_by_side(
        lambda: tokens / epoch_seconds(experiment, task, data),
        lambda: tokens / epoch_seconds(experiment, task, shuffled),
        REPEATS,
    )
    return compare("training, bucketed to shuffled", *speeds, "target tokens/s", target=1.5, at_least=True)


def _decoding(experiment: Experiment, task: Task, samples: Samples, batch: int, target: float) -> Figure:
    fold = samples.shipped
    (network,) = load_networks(task, experiment.model, paths.weights(EXPERIMENT), fold, experiment.training.seeds)
    if not isinstance(network, EncoderDecoder):
        raise BenchmarkError(f"{EXPERIMENT} is not an encoder-decoder any more")
    data = make_batches(samples, task, _some(fold.test, SENTENCES), torch.device("cpu"))
    pair = example(task, data)
    encoder, step = _reference(network, *pair)
    whole = _session((bundle(EXPERIMENT) / "model.onnx").read_bytes())
    first, further = _session(encoder.SerializeToString()), _session(step.SerializeToString())
    starts, steps = ([entry.name for entry in session.get_inputs()] for session in (first, further))
    carries, penalty = len(further.get_outputs()) - 1, np.array(1.0, np.float32)
    batches = []
    for index in data.ordered(batch):
        part = data.at(index)
        ends = torch.full((len(index),), part.inputs.shape[1]) if part.lengths is None else part.lengths
        batches.append((part.inputs.numpy(), ends.numpy()))

    def in_graph(inputs: NDArray[Any], lengths: NDArray[Any]) -> NDArray[Any]:
        feed = {"inputs": inputs, "lengths": lengths, "max_length": np.array(LONGEST), "beams": np.array(1)}
        found: NDArray[Any] = whole.run(["tokens"], {**feed, "length_penalty": penalty})[0]
        return found[:, 0]

    def by_host(inputs: NDArray[Any], lengths: NDArray[Any]) -> NDArray[Any]:
        values = first.run(None, dict(zip(starts, (inputs, lengths), strict=True)))
        state, memory = values[:carries], values[carries:]
        last, ended, written = np.full((len(inputs), 1), BOS), np.zeros((len(inputs), 1), bool), []
        for _ in range(LONGEST):
            logits, *state = further.run(None, dict(zip(steps, [last, *state, *memory], strict=True)))
            logits[:, :, list(NEVER_GENERATED)] = -np.inf
            last = np.where(ended, PAD, logits.argmax(-1))
            ended |= last == EOS
            written.append(last[:, 0])
            if ended.all():
                break
        return np.stack(written, 1)

    for inputs, lengths in batches:
        if not np.array_equal(in_graph(inputs, lengths), by_host(inputs, lengths)):
            raise BenchmarkError("the graph and the host loop write different tokens")

    def speed(translate: Any) -> float:
        began = time.perf_counter()
        for inputs, lengths in batches:
            translate(inputs, lengths)
        return SENTENCES / (time.perf_counter() - began)

    speeds = side_by_side(lambda: speed(in_graph), lambda: speed(by_host), REPEATS)
    what = f"greedy decoding in the graph to a host loop, batch {batch}"
    return compare(what, *speeds, "sentences/s", target=target, at_least=True)


class _Encoder(torch.nn.Module):
    """What people export who write the loop themselves: the decoder's first state, and what it attends to."""

    def __init__(self, network: EncoderDecoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, lengths: Tensor | None) -> tuple[State, Memory]:
        state, memory = self.network.encode(inputs, lengths)
        return tuple(part.unsqueeze(1) for part in state), memory


class _Step(torch.nn.Module):
    """And a step, by the decoder's equations: the last tokens and the states → logits and the states."""

    def __init__(self, network: EncoderDecoder) -> None:
        super().__init__()
        self.decoder = network.decoder

    def forward(self, last: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        embedded, attention = self.decoder.embedding(last), self.decoder.attention
        if attention is None:
            raise BenchmarkError(f"{EXPERIMENT} has no attention any more")
        if isinstance(attention, AdditiveAttention):
            context, _ = attention(state[0], memory)
            state = self.decoder.layer.step(torch.cat([embedded, context], -1), state)
        else:
            state = self.decoder.layer.step(embedded, state)
            context, _ = attention(state[0], memory)
        hidden = torch.tanh(self.decoder.readout(torch.cat([state[0], context, embedded], -1)))
        return self.decoder.logits(hidden), state


def _reference(network: EncoderDecoder, inputs: Tensor, lengths: Tensor | None) -> tuple[ModelProto, ModelProto]:
    """Return the encoder and a step as graphs."""
    batch, time_axis = torch.export.Dim("batch"), torch.export.Dim("time")
    rows, along = {0: batch}, {0: batch, 1: time_axis}
    with torch.inference_mode():
        state, memory = _Encoder(network)(inputs, lengths)
    state, memory = (tuple(part.clone() for part in group) for group in (state, memory))
    shapes = (rows, tuple(rows for _ in state), tuple(along for _ in memory))
    last = torch.full((len(inputs), 1), BOS)
    encoder = to_onnx(_Encoder(network).eval(), (inputs, lengths), (along, rows))
    return encoder, to_onnx(_Step(network).eval(), (last, state, memory), shapes)


def _tokenizing(vocabulary: Vocabulary, samples: Samples) -> Figure:
    texts = [*samples.tensors["source"], *samples.tensors["target"]][:TOKENIZED]
    speeds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        vocabulary.encode(texts)
        speeds.append(len(texts) / (time.perf_counter() - began))
    fastest = sorted(speeds)[len(speeds) // 2]
    return Figure("tokenizing (BPE)", fastest, None, None, "sentences/s", 50_000, True, REPEATS)


def _some(positions: Index, count: int) -> Index:
    return positions[linspace_indices(len(positions), count)]


def _session(graph: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
