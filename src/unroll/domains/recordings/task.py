"""Task: classify a recording."""

import torch.nn.functional as F

from unroll.domains.recordings.config import RecordingTask
from unroll.domains.recordings.metrics import class_count, make_metrics
from unroll.domains.task import Task, TensorSpec
from unroll.features.samples import Samples
from unroll.models.heads import LinearHead
from unroll.models.preprocessing import Frames


def make_task(name: str, section: RecordingTask, samples: Samples) -> Task:
    """Return the task, many to one: the frames of a recording → one class."""
    features, classes = samples.tensors["inputs"].shape[2], class_count(samples)
    return Task(
        name=name,
        domain=section.domain,
        kind=section.kind,
        metrics=make_metrics(section, samples),
        topology="many_to_one",
        inputs=TensorSpec("inputs", "float32", ("batch", "time", features), "features of each frame, as recorded"),
        outputs=(
            TensorSpec("label", "int64", ("batch",), "the most probable class"),
            TensorSpec("probabilities", "float32", ("batch", classes), "probability of each class, 0 to 1"),
        ),
        features=features * (1 + section.deltas),
        make_preprocessing=lambda: Frames(features, normalize=section.normalize, deltas=section.deltas),
        make_head=lambda size: LinearHead(size, classes),
        loss=F.cross_entropy,
        details={
            "labels": [str(label) for label in range(classes)],
            "array": {"column": "frames", "variable_length": True},
        },
        output="label",
        variable_length=True,
    )
