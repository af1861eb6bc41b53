"""Small trainings that tests start, break off and compare."""

from dataclasses import dataclass, field

import torch

from unroll.training.batches import make_batches
from unroll.training.build import build_model
from unroll.training.fit import fit_preprocessing
from unroll.training.learner import Learner
from unroll.training.loop import train
from unroll.training.prediction import validate

CPU = torch.device("cpu")


def new_network(task, model, data, seed=0, vectors=None):
    """An untrained network with fitted preprocessing."""
    network = build_model(task, model, seed=seed, vectors=vectors)
    fit_preprocessing(network, data)
    return network


def fit(tiny, task, network, data, checkpoint, *, seed=0, judge=None, report=lambda row, seconds: None, **settings):
    """Train a network with `tiny`'s settings, changed by `settings`."""
    training = tiny.training(**settings)
    learner = Learner(
        network,
        data,
        training,
        seed=seed,
        validate=judge,
        is_better=task.metrics.is_better,
        on_epoch=report,
    )
    return train([learner], task.loss, training, lambda *_: None, checkpoint)[0]


class InterruptedTrainingError(Exception):
    """Ends a training as a killed process would, after an epoch."""


@dataclass
class Job:
    """A small training of a task, and its result."""

    tiny: object
    folder: object
    kind: str = "return_quantiles"
    model: object = None
    seed: int = 0
    rows: int = 64
    validated: bool = True
    settings: dict = field(default_factory=dict)
    reported: list = field(default_factory=list)
    seconds: list = field(default_factory=list)
    scores: list | None = None
    device: str = "cpu"

    def run(self, stop_after=None):
        task, samples = self.tiny.task(self.kind), self.tiny.samples(self.kind)
        fold = samples.shipped
        device = torch.device(self.device)
        data = make_batches(samples, task, fold.train[: self.rows], device)
        valid = make_batches(samples, task, fold.valid, device)
        rows = samples.at(fold.valid)
        self.task, self.data = task, data
        self.model = self.model or self.tiny.model_for(self.kind, "gru")
        self.network = self.fresh()

        def report(row, seconds):
            self.reported.append(row)
            self.seconds.append(seconds)
            if row["epoch"] == stop_after:
                raise InterruptedTrainingError

        def judge(network):
            assert not network.training
            if self.scores is not None:
                return 0.0, self.scores[len(self.reported)]
            return validate(network, task, valid, rows)

        checkpoint = self.folder / "checkpoint.safetensors"
        options = {"seed": self.seed, "judge": judge if self.validated else None, "report": report}
        return fit(self.tiny, task, self.network, data, checkpoint, **options, device=self.device, **self.settings)

    def fresh(self):
        """The network as it was before the training."""
        return new_network(self.task, self.model, self.data, self.seed).to(self.device)


def trained(tiny, task, samples, model, checkpoint, seed=0, **settings):
    """A task's network after a short training, as the stage trains it."""
    fold = samples.shipped
    data, valid = (make_batches(samples, task, index, CPU) for index in (fold.train, fold.valid))
    rows = samples.at(fold.valid)
    network = new_network(task, model, data, seed)
    kept = fit(
        tiny, task, network, data, checkpoint, judge=lambda one: validate(one, task, valid, rows), seed=seed, **settings
    )
    network.load_state_dict(kept.weights)
    return network.eval()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
