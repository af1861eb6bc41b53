"""Small trainings that tests start, break off and compare."""

from dataclasses import dataclass, field

import torch

from unroll.training.loop import train
from unroll.training.members import new_network, training_split, validate

CPU = torch.device("cpu")
FORECASTS = ["digits", "price", "price_steps", "log_return", "return_quantiles"]
"""Kinds of fixed length, and a network for each cell alike."""
SEQUENCES = ["text_class", "recording_class", "strip_columns", "tags", "language_model"]
"""Kinds that one recurrent network does, most of them of varying length."""
WRITERS = ["translation", "strip_captions"]
"""Kinds that need an encoder and a decoder."""
KINDS = [*FORECASTS, *SEQUENCES, *WRITERS]
CELLS = ["rnn", "gru", "lstm"]


class BrokenOffError(Exception):
    """Stands for a process that is killed after an epoch."""


@dataclass
class Job:
    """A small training of a task, and what came of it."""

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

    def run(self, stop_after=None):
        task, samples = self.tiny.task(self.kind), self.tiny.samples(self.kind)
        fold = samples.folds[-1]
        data = training_split(samples, task, fold.train[: self.rows], CPU)
        valid = training_split(samples, task, fold.valid, CPU)
        rows = samples.at(fold.valid)
        self.task, self.data = task, data
        self.model = self.model or self.tiny.model_for(self.kind, "gru")
        self.network = self.fresh()

        def report(row, seconds):
            self.reported.append(row)
            self.seconds.append(seconds)
            if row["epoch"] == stop_after:
                raise BrokenOffError

        def judge(network):
            assert not network.training
            if self.scores is not None:
                return 0.0, self.scores[len(self.reported)]
            return validate(network, task, valid, rows)

        return train(
            self.network,
            task.loss,
            data,
            self.tiny.training(**self.settings),
            seed=self.seed,
            validate=judge if self.validated else None,
            better=task.metrics.is_better,
            on_epoch=report,
            checkpoint=self.folder / "checkpoint.safetensors",
        )

    def fresh(self):
        """The network as it was before the training."""
        return new_network(self.task, self.model, self.data, self.seed)


def trained(tiny, task, samples, model, checkpoint, seed=0, **settings):
    """A task's network after a short training, as the stages train it."""
    fold = samples.folds[-1]
    data, valid = (training_split(samples, task, index, CPU) for index in (fold.train, fold.valid))
    rows = samples.at(fold.valid)
    network = new_network(task, model, data, seed)
    kept = train(
        network,
        task.loss,
        data,
        tiny.training(**settings),
        seed=seed,
        validate=lambda one: validate(one, task, valid, rows),
        better=task.metrics.is_better,
        on_epoch=lambda row, seconds: None,
        checkpoint=checkpoint,
    )
    network.load_state_dict(kept.weights)
    return network.eval()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
