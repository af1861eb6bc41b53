"""Small networks trained together, beside the same ones trained one after the other."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

from benchmarks.figures import Report, compare, side_by_side
from unroll.config.reading import load_section
from unroll.domains.task import make_task
from unroll.features.samples import Fold, Samples
from unroll.training.fit import group_members, train_members
from unroll.training.members import Member

EXPERIMENT = "stock-quantiles-gru"
ROWS = (768, 1020, 1272, 1524, 1776, 2027)
"""Training rows of its folds."""
EPOCHS = 4
REPEATS = 3


def measure() -> Report:
    """Train all folds and seeds both ways, in turn, one thread."""
    experiment = load_section("experiments", EXPERIMENT)
    training = experiment.training.model_copy(update={"epochs": EPOCHS, "device": "cpu"})
    experiment = experiment.model_copy(update={"training": training})
    section = load_section("tasks", experiment.task)
    task = make_task(experiment.task, section, Samples({}, ()))
    samples = _random_walk(task.input_steps)
    members = [Member(fold, seed) for fold in samples.folds for seed in training.seeds]

    def seconds(groups: Sequence[Sequence[Member]]) -> float:
        with tempfile.TemporaryDirectory() as folder:
            began = time.process_time()
            for group in groups:
                train_members(task, experiment, samples, group, Path(folder), lambda *_: None, lambda *_: None)
            return time.process_time() - began

    together, alone = group_members(members, experiment, task), [[member] for member in members]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds(together)  # the first one also fills caches
        times = side_by_side(lambda: seconds(together), lambda: seconds(alone), REPEATS)
    finally:
        torch.set_num_threads(threads)
    figure = compare(f"{EXPERIMENT}, {len(members)} networks", *times, "s", target=0.25, at_least=False)
    note = (
        f"{EPOCHS} epochs of all folds and seeds on windows of a random walk, in seconds of processor time, one "
        "thread, from raw prices to the checkpoints. Ours: all as one stack. Reference: the same loop, one after the "
        "other."
    )
    return Report("Small networks trained together", (figure,), note)


def _random_walk(days: int) -> Samples:
    returns = np.random.default_rng(0).normal(0.0004, 0.012, days + max(ROWS)).astype(np.float32)
    inputs = sliding_window_view(100 * np.exp(np.cumsum(returns[:-1])), days)[..., np.newaxis].copy()
    none = np.arange(0)
    folds = tuple(Fold(str(count), np.arange(count), none, none) for count in ROWS)
    return Samples({"inputs": inputs, "targets": returns[days:]}, folds)
