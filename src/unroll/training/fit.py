"""Networks of an experiment, from features to kept weights."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from unroll.config.experiments import Experiment, Model, RecurrentModel
from unroll.domains.task import Task
from unroll.features.samples import Samples
from unroll.models.generators import Network
from unroll.training.batches import Batches, make_batches, pick_device
from unroll.training.build import build_model
from unroll.training.learner import Learner, Row, Trained
from unroll.training.loop import train
from unroll.training.members import Member
from unroll.training.prediction import validate

STACKED_UNITS = 64
"""Largest layer of networks that gain from being trained together."""


def group_members(members: Sequence[Member], experiment: Experiment, task: Task) -> list[list[Member]]:
    """Return the members that are trained together: all of them if their networks can be stacked, else each alone."""
    training = experiment.training
    on_cpu = pick_device(training.device).type == "cpu" and training.autocast == "none"
    together = on_cpu and _stackable(experiment.model, task)
    return [list(members)] if together else [[member] for member in members]


def _stackable(model: Model, task: Task) -> bool:
    """Whether `unroll.models.stack` takes such networks and is faster; oneDNN's LSTM is as fast without it."""
    return (
        isinstance(model, RecurrentModel)
        and all(layer.cell != "lstm" and layer.units <= STACKED_UNITS for layer in model.layers)
        and not (model.bidirectional or model.layer_norm or model.dropout or model.tbptt_steps or model.convolutions)
        and model.pooling == "last"
        and not (task.every_step or task.variable_length or task.source_vocab_size)
    )


def train_members(
    task: Task,
    experiment: Experiment,
    samples: Samples,
    members: Sequence[Member],
    checkpoints: Path,
    on_step: Callable[[int, int, int, Tensor], None],
    on_epoch: Callable[[Member, Row, float], None],
) -> list[Trained]:
    """Train networks of a group together.

    Args:
        task: What they learn.
        experiment: How.
        samples: Samples of the task.
        members: From `group_members`.
        checkpoints: Folder of the checkpoint.
        on_step: See `unroll.training.loop.train`.
        on_epoch: Called after each epoch of a member with its row of the history and its seconds.
    """
    device = pick_device(experiment.training.device)
    vectors = None if samples.vectors is None else torch.from_numpy(samples.vectors)

    def learner(member: Member) -> Learner:
        data, valid = (make_batches(samples, task, part, device) for part in (member.fold.train, member.fold.valid))
        valid_rows = samples.at(member.fold.valid)
        network = build_model(task, experiment.model, seed=member.seed, vectors=vectors)
        fit_preprocessing(network, data)
        network.to(device)
        return Learner(
            network,
            data if len(members) == 1 else prepared(network, data),
            experiment.training,
            seed=member.seed,
            validate=(lambda network: validate(network, task, valid, valid_rows)) if len(valid) else None,
            is_better=task.metrics.is_better,
            on_epoch=lambda row, seconds: on_epoch(member, row, seconds),
            name="" if len(members) == 1 else str(member),
        )

    learners = [learner(member) for member in members]
    return train(learners, task.loss, experiment.training, on_step, checkpoints / members[0].file)


def fit_preprocessing(network: Network, data: Batches) -> None:
    """Fit a network's preprocessing to the training split."""
    network.preprocessing.fit(data.inputs.cpu(), data.targets.cpu(), data.lengths)


def prepared(network: Network, data: Batches) -> Batches:
    """Return the features and encoded targets of samples of equal length."""
    with torch.no_grad():
        features = network.preprocessing.prepare(data.inputs)
        return Batches(features, network.encode_target(data.targets, data.inputs))
