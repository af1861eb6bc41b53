"""One network of an experiment, from features to kept weights."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from unroll.config.experiments import Experiment
from unroll.domains.task import Task
from unroll.features.samples import Samples
from unroll.models.generators import Network
from unroll.training.batches import Batches, make_batches, pick_device
from unroll.training.build import build_model
from unroll.training.loop import Row, Trained, train
from unroll.training.members import Member
from unroll.training.prediction import validate


def train_member(
    task: Task,
    experiment: Experiment,
    samples: Samples,
    member: Member,
    checkpoint: Path,
    on_step: Callable[[int, int, int, Tensor], None],
    on_epoch: Callable[[Row, float], None],
) -> Trained:
    """Train one network; see `unroll.training.loop.train` for the last three arguments."""
    device = pick_device(experiment.training.device)
    data, valid = (make_batches(samples, task, part, device) for part in (member.fold.train, member.fold.valid))
    valid_rows = samples.at(member.fold.valid)
    vectors = None if samples.vectors is None else torch.from_numpy(samples.vectors)
    network = build_model(task, experiment.model, seed=member.seed, vectors=vectors)
    fit_preprocessing(network, data)
    return train(
        network.to(device),
        task.loss,
        data,
        experiment.training,
        seed=member.seed,
        validate=(lambda network: validate(network, task, valid, valid_rows)) if len(valid) else None,
        is_better=task.metrics.is_better,
        on_step=on_step,
        on_epoch=on_epoch,
        checkpoint=checkpoint,
    )


def fit_preprocessing(network: Network, data: Batches) -> None:
    """Fit a network's preprocessing to the training split."""
    network.preprocessing.fit(data.inputs.cpu(), data.targets.cpu(), data.lengths)
