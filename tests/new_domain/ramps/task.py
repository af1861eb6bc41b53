"""Whether a sequence rises or falls, read number by number."""

import torch.nn.functional as F
from unroll.domains.ramps.metrics import make_metrics
from unroll.domains.ramps.samples import DIRECTIONS

from unroll.domains.task import Task, TensorSpec
from unroll.models.heads import LinearHead
from unroll.models.preprocessing import Frames


def make_task(name, section, samples):
    """Return the task, many to one."""
    return Task(
        name=name,
        domain=section.domain,
        kind=section.kind,
        metrics=make_metrics(section, samples),
        topology="many_to_one",
        inputs=TensorSpec("inputs", "float32", ("batch", "time", 1), "numbers"),
        outputs=(
            TensorSpec("label", "int64", ("batch",), "the more probable direction"),
            TensorSpec("probabilities", "float32", ("batch", 2), "probability of each direction"),
        ),
        features=1,
        make_preprocessing=lambda: Frames(1, normalize=False, deltas=False),
        make_head=lambda size: LinearHead(size, 2),
        loss=F.cross_entropy,
        details={"labels": list(DIRECTIONS), "array": {"column": "values", "variable_length": True}},
        output="label",
        variable_length=True,
    )
