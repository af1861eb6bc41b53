"""Networks that are trained together learn what each learns alone."""

import pytest
import torch
from small_trainings import InterruptedTrainingError, same

from unroll.config.experiments import Experiment
from unroll.errors import TrainingError
from unroll.training.fit import group_members, train_members
from unroll.training.members import Member

EPOCHS = 4


@pytest.fixture
def together(tiny, tmp_path):
    """Train two seeds of every fold: in which groups, and interrupted after which epoch of which member."""
    count = iter(range(99))

    def make(kind, model, groups=None, stop=None, folder=None, seeds=(0, 1), **settings):
        task, samples = tiny.task(kind), tiny.samples(kind)
        settings = {"epochs": EPOCHS, "schedule": "one_cycle", "seeds": seeds, **settings}
        experiment = Experiment(domain=task.domain, task=kind, model=model, training=tiny.training(**settings))
        members = [Member(fold, seed) for fold in samples.folds for seed in seeds]
        found = group_members(members, experiment, task)
        folder = folder or tmp_path / str(next(count))

        def report(member, row, seconds):
            if (str(member), row["epoch"]) == stop:
                raise InterruptedTrainingError

        trained = {}
        for group in found if groups is None else groups(members):
            results = train_members(task, experiment, samples, group, folder, lambda *_: None, report)
            trained |= dict(zip(map(str, group), results, strict=True))
        return trained

    return make


def alone(members):
    return [[member] for member in members]


@pytest.mark.parametrize(
    ("kind", "cells", "optimizer", "settings"),
    [
        # Folds of different sizes, with a smaller last batch.
        ("return_quantiles", ("gru",), "adamw", {"keep": "last", "clip_norm": 0.3}),
        ("price", ("rnn", "gru"), "sgd", {"keep": "best", "patience": 1}),
        ("price", ("gru",), "rmsprop", {"clip_norm": None, "weight_decay": 0.1}),
    ],
)
def test_networks_trained_together_equal_those_trained_alone(tiny, together, kind, cells, optimizer, settings):
    options = {"model": tiny.model(*cells), "optimizer": optimizer, **settings}
    found, expected = together(kind, **options), together(kind, groups=alone, **options)
    assert found.keys() == expected.keys()
    for name, one in expected.items():
        assert len(found[name].history) == len(one.history)
        for row, other in zip(found[name].history, one.history, strict=True):
            assert row == pytest.approx(other, rel=1e-4)
        assert found[name].samples == one.samples
        for key, weight in one.weights.items():
            torch.testing.assert_close(found[name].weights[key], weight, rtol=1e-4, atol=1e-5)


def test_together_they_resume(tiny, together, tmp_path):
    options = {"kind": "return_quantiles", "model": tiny.model("gru"), "keep": "last"}
    expected = together(**options)
    name = list(expected)[2]
    with pytest.raises(InterruptedTrainingError):
        together(**options, stop=(name, 2), folder=tmp_path / "broken")
    found = together(**options, folder=tmp_path / "broken")
    for name, one in expected.items():
        assert same(found[name].weights, one.weights)
        assert found[name].history == one.history


def test_a_loss_that_is_not_finite_names_its_network(tiny, together):
    with pytest.raises(TrainingError, match=r"the loss of .+ seed 0 is .+ in epoch 1 at step"):
        together("price", tiny.model("gru"), optimizer="sgd", learning_rate=1e30, clip_norm=None)


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("return_quantiles", {"cells": ("lstm",)}),
        ("return_quantiles", {"cells": ("gru",), "units": 128}),
        ("return_quantiles", {"cells": ("gru",), "dropout": 0.1}),
        ("return_quantiles", {"cells": ("gru",), "bidirectional": True}),
        ("return_quantiles", {"cells": ("gru",), "pooling": "max"}),
        ("price_steps", {"cells": ("gru",)}),
        ("text_class", {"cells": ("gru",), "embedding": {"size": 5}}),
        ("recording_class", {"cells": ("gru",)}),
    ],
)
def test_other_networks_are_trained_alone(tiny, kind, model):
    task, samples = tiny.task(kind), tiny.samples(kind)
    cells = model.pop("cells")
    experiment = Experiment(
        domain=task.domain, task=kind, model=tiny.model(*cells, **model), training=tiny.training(seeds=[0, 1])
    )
    members = [Member(samples.shipped, seed) for seed in (0, 1)]
    assert group_members(members, experiment, task) == alone(members)
