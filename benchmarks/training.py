"""Training throughput: the project's loop beside the barest one that trains the same network."""

import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.digits import digits
from benchmarks.figures import Report, compare, side_by_side
from unroll.config.experiments import Experiment
from unroll.config.reading import load_section
from unroll.domains.task import Task, make_task
from unroll.features.samples import Samples
from unroll.training.batches import Batches
from unroll.training.build import build_model
from unroll.training.fit import fit_preprocessing
from unroll.training.learner import Learner
from unroll.training.loop import train
from unroll.training.optimizers import make_optimizer

EXPERIMENT = "mnist-lstm"
SAMPLES = 12_800
REPEATS = 9


def measure() -> Report:
    """Train on the same samples with both loops, in turn, one thread."""
    experiment = load_section("experiments", EXPERIMENT)
    task = make_task(experiment.task, load_section("tasks", experiment.task), Samples({}, ()))
    settings = experiment.training.model_copy(update={"epochs": 1, "device": "cpu"})
    pixels, labels = digits("train")
    data = Batches(torch.from_numpy(pixels[:SAMPLES].copy()), torch.from_numpy(labels[:SAMPLES].copy()))
    floats = (data.inputs.float() - data.inputs.float().mean()) / data.inputs.float().std()

    def ours() -> float:
        return len(data) / epoch_seconds(experiment, task, data)

    def bare() -> float:
        network = BareNetwork(task.features, experiment.model.layers[0].units, classes=10)
        optimizer = make_optimizer(network.parameters(), settings)
        began = time.perf_counter()
        bare_epoch(network, optimizer, floats, data.targets, settings.batch_size)
        return len(data) / (time.perf_counter() - began)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ours(), bare()  # the first ones also fill caches
        speeds = side_by_side(ours, bare, REPEATS)
    finally:
        torch.set_num_threads(threads)
    figure = compare(f"{EXPERIMENT}, {len(data):,} samples", *speeds, "samples/s", target=0.9, at_least=True)
    note = (
        f"One epoch of {len(data):,} digits of the train split, batches of {settings.batch_size}, one thread. "
        "Ours: `unroll.training.loop.train`, from bytes to the checkpoint, without validation. "
        "Reference: torch's LSTM and a linear layer, the same optimizer, samples already scaled and in order; "
        "forward, backward, step, nothing else."
    )
    return Report("Training throughput", (figure,), note)


def epoch_seconds(experiment: Experiment, task: Task, data: Batches) -> float:
    """Return the seconds of one epoch of the project's loop, from raw data to the checkpoint."""
    network = build_model(task, experiment.model)
    fit_preprocessing(network, data)
    settings = experiment.training.model_copy(update={"epochs": 1, "device": "cpu"})
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        learner = Learner(
            network,
            data,
            settings,
            seed=0,
            validate=None,
            is_better=task.metrics.is_better,
            on_epoch=lambda row, seconds: None,
        )
        train([learner], task.loss, settings, lambda *_: None, Path(folder) / "checkpoint.safetensors")
        return time.perf_counter() - began


class BareNetwork(nn.Module):
    """The experiment's network as anyone would write it."""

    def __init__(self, features: int, units: int, classes: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, units, batch_first=True)
        self.head = nn.Linear(units, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """float32 [batch, time, feature] → logits [batch, class]."""
        _, (hidden, _) = self.lstm(inputs)
        logits: Tensor = self.head(hidden[0])
        return logits


def bare_epoch(
    network: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor, batch_size: int
) -> None:
    """Forward, backward, step."""
    for batch, labels in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
        optimizer.zero_grad()
        F.cross_entropy(network(batch), labels).backward()
        optimizer.step()
