"""Task: classify an image, whose rows are read one after the other."""

import torch.nn.functional as F

from unroll.domains.digits.config import DigitTask
from unroll.domains.digits.metrics import class_names, make_metrics
from unroll.domains.task import Task, TensorSpec
from unroll.features.samples import Samples
from unroll.models.heads import LinearHead
from unroll.models.preprocessing import ByteImages


def make_task(name: str, section: DigitTask, samples: Samples) -> Task:
    """Return the task, many to one: the rows of an image → one class."""
    _, height, width = samples.tensors["inputs"].shape
    names = class_names(samples)
    return Task(
        name=name,
        domain=section.domain,
        kind=section.kind,
        metrics=make_metrics(section, samples),
        topology="many_to_one",
        inputs=TensorSpec("inputs", "uint8", ("batch", height, width), "gray value, 0 (paper) to 255 (ink)"),
        outputs=(
            TensorSpec("label", "int64", ("batch",), "the most probable class"),
            TensorSpec("probabilities", "float32", ("batch", len(names)), "probability of each class, 0 to 1"),
        ),
        features=width,
        make_preprocessing=ByteImages,
        make_head=lambda size: LinearHead(size, len(names)),
        loss=F.cross_entropy,
        details={"labels": names} if "labels" in samples.notes else {},
        output="label",
        input_steps=height,
        steps=height,
    )
