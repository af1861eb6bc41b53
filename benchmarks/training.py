"""A training step of the project's loop beside the same network in a bare torch loop, in Lightning and in Keras."""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import frameworks
from benchmarks.figures import Figure, Report, least_step, processor_ratio
from unroll.config.experiments import Experiment, Training
from unroll.domains.task import Task
from unroll.models.embedding import TokenEmbedding
from unroll.models.encoders import RecurrentEncoder
from unroll.models.generators import Network
from unroll.models.heads import LinearHead
from unroll.models.network import SequenceNetwork
from unroll.models.preprocessing import ByteImages, Tokens
from unroll.training.batches import Batches
from unroll.training.build import build_model
from unroll.training.fit import fit_preprocessing
from unroll.training.learner import Learner
from unroll.training.loop import train

BATCH, STEPS, REPEATS = 64, 8, 5
VOCABULARY, SIZE, UNITS, CLASSES = 10_000, 128, 128, 10
CELLS = ("lstm", "gru", "rnn", "bilstm")
SETTINGS = Training(epochs=1, batch_size=BATCH, learning_rate=0.001, optimizer="adam", device="cpu")


def measure() -> Report:
    """Take the same steps with each loop, in turn, one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        figures = [figure for make in (texts, rows) for cell in CELLS for figure in _figures(cell, make())]
    finally:
        torch.set_num_threads(threads)
    note = (
        f"A training step in processor time, one thread, batches of {BATCH}; {UNITS} units in each direction. Text: "
        f"48 to 60 tokens, padded to the longest, vocabulary {VOCABULARY:,}, embedding {SIZE}. Rows: images of 28 × 28 "
        "bytes. Ours: `unroll.training.loop.train`. References: torch's layer on packed and on padded sequences in a "
        "loop of forward, backward, Adam; the latter network in Lightning; the same layers in Keras on JAX, padding "
        f"masked. The least step of {REPEATS} runs of {STEPS} steps each; of Keras, a run's mean."
    )
    return Report("Training step", tuple(figures), " ".join([note, *frameworks.missing()]))


class Unsorted(Batches):
    """Batches in the order of the samples, whatever their lengths."""

    def shuffled(self, size: int) -> list[Tensor]:
        """Return the positions of an epoch's batches."""
        return list(torch.arange(len(self)).split(size))


def texts() -> Batches:
    """Return random texts and their classes; the lengths of a batch are spread evenly over 48 to 60 tokens."""
    lengths = torch.linspace(48, 60, BATCH).round().long().repeat(STEPS)
    tokens = torch.randint(4, VOCABULARY, (len(lengths), 60))
    tokens[torch.arange(60) >= lengths[:, None]] = 0
    return Unsorted(tokens, torch.randint(CLASSES, (len(lengths),)), lengths)


def rows() -> Batches:
    """Return random images and their classes."""
    count = BATCH * STEPS
    return Unsorted(torch.randint(256, (count, 28, 28), dtype=torch.uint8), torch.randint(CLASSES, (count,)))


def _figures(cell: str, data: Batches) -> list[Figure]:
    padded = data.lengths is not None
    runs: dict[str, tuple[Callable[[], float], float]] = {"a bare loop": (partial(_bare, cell, data, False), 1.0)}
    if padded:
        wanted = 1.6 if "lstm" in cell else 1.0
        runs = {"a bare loop with packing": (partial(_bare, cell, data, True), wanted), **runs}
    if frameworks.has_lightning():
        network = partial(BareNetwork, cell, padded, False)
        runs["Lightning"] = partial(frameworks.lightning_step, network, list(_prepared(data))), 1.0
    if frameworks.has_keras():
        runs["Keras on JAX"] = frameworks.keras_stepper(cell, _prepared(data), VOCABULARY, SIZE, UNITS, CLASSES), 1.0
    name = f"{cell.upper().replace('BI', 'bidirectional ')}, {'text' if padded else 'rows'}"
    ours = partial(_ours, cell, data)
    return [processor_ratio(f"{name}, to {other}", ours, run, REPEATS, goal) for other, (run, goal) in runs.items()]


def _ours(cell: str, data: Batches) -> float:
    """Return the processor seconds of a step of the project's loop."""
    layers = [(cell.removeprefix("bi"), UNITS)]
    embedding = None if data.lengths is None else TokenEmbedding(VOCABULARY, SIZE)
    encoder = RecurrentEncoder(SIZE if embedding else 28, layers, bidirectional=cell.startswith("bi"))
    preprocessing = Tokens() if embedding else ByteImages()
    network = SequenceNetwork(preprocessing, encoder, LinearHead(encoder.output_size, CLASSES), embedding=embedding)
    ends: list[float] = []
    run_loop(network, F.cross_entropy, data, SETTINGS, lambda *_: ends.append(time.process_time()))
    return least_step(ends)


def _bare(cell: str, data: Batches, packed: bool) -> float:
    """Return the processor seconds of a step of the loop that everybody writes."""
    network = BareNetwork(cell, data.lengths is not None, packed)
    optimizer = torch.optim.Adam(network.parameters(), lr=SETTINGS.learning_rate, fused=True)
    ends = []
    for inputs, targets, lengths in _prepared(data):
        optimizer.zero_grad()
        F.cross_entropy(network(inputs, lengths), targets).backward()
        optimizer.step()
        ends.append(time.process_time())
    return least_step(ends)


class BareNetwork(nn.Module):
    """The network as anyone would write it; `packed` minds the lengths, otherwise it reads on into the padding."""

    def __init__(self, cell: str, reads_tokens: bool, packed: bool) -> None:
        super().__init__()
        self.packed = packed
        self.embedding = nn.Embedding(VOCABULARY, SIZE, padding_idx=0) if reads_tokens else nn.Identity()
        kind: Any = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[cell.removeprefix("bi")]
        two = cell.startswith("bi")
        self.rnn = kind(SIZE if reads_tokens else 28, UNITS, batch_first=True, bidirectional=two)
        self.head = nn.Linear(UNITS * (1 + two), CLASSES)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Tokens int64 [batch, time] or rows float32 [batch, time, 28] → logits [batch, class]."""
        values = self.embedding(inputs)
        if self.packed:
            values = nn.utils.rnn.pack_padded_sequence(values, lengths, batch_first=True, enforce_sorted=False)
        state = self.rnn(values)[1]
        hidden = state[0] if isinstance(state, tuple) else state
        logits: Tensor = self.head(torch.cat(list(hidden), -1))
        return logits


def _prepared(data: Batches) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return ready batches of inputs, targets and lengths; pixels are scaled."""
    batches = [data.at(index) for index in data.shuffled(BATCH)]
    return [
        (
            batch.inputs / 255 if data.lengths is None else batch.inputs,
            batch.targets,
            torch.full((len(batch.inputs),), batch.inputs.shape[1]) if batch.lengths is None else batch.lengths,
        )
        for batch in batches
    ]


def epoch_seconds(experiment: Experiment, task: Task, data: Batches) -> float:
    """Return the seconds of one epoch of the project's loop, from raw data to the checkpoint."""
    settings = experiment.training.model_copy(update={"epochs": 1, "device": "cpu"})
    network = build_model(task, experiment.model)
    began = time.perf_counter()
    run_loop(network, task.loss, data, settings, lambda *_: None)
    return time.perf_counter() - began


def run_loop(
    network: Network,
    loss: Callable[[Tensor, Tensor], Tensor],
    data: Batches,
    settings: Training,
    on_step: Callable[[int, int, int, Tensor], None],
) -> None:
    """Train by the project's loop, without validation."""
    fit_preprocessing(network, data)
    learner = Learner(
        network,
        data,
        settings,
        seed=0,
        validate=None,
        is_better=lambda *_: True,
        on_epoch=lambda row, seconds: None,
    )
    with tempfile.TemporaryDirectory() as folder:
        train([learner], loss, settings, on_step, Path(folder) / "checkpoint.safetensors")
