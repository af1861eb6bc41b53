"""Small trainings that tests start, break off and compare."""

from dataclasses import dataclass, field

import torch

from unroll.training.loop import train
from unroll.training.members import new_network, training_split, validate

CPU = torch.device("cpu")
KINDS = ["digits", "price", "price_steps", "log_return", "return_quantiles"]
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
        data = training_split(samples, fold.train[: self.rows], CPU)
        valid = training_split(samples, fold.valid, CPU)
        rows = {name: tensor[fold.valid] for name, tensor in samples.tensors.items()}
        self.task, self.data = task, data
        self.network = new_network(task, self.model or self.tiny.model("gru"), data, self.seed)

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
            better=task.better,
            on_epoch=report,
            checkpoint=self.folder / "checkpoint.safetensors",
        )


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
