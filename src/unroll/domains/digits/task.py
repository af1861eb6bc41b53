"""Task: classify the digit in an image, whose rows are read one after the other."""

import torch.nn.functional as F

from unroll.domains.digits.config import DigitTask
from unroll.domains.digits.metrics import CLASSES, make_metrics
from unroll.domains.task import Task, TensorSpec
from unroll.features.samples import Samples
from unroll.models.heads import LinearHead
from unroll.models.preprocessing import ByteImages


def make_task(name: str, section: DigitTask, samples: Samples) -> Task:
    """Return the task, many to one: 28 rows of 28 pixels → one of ten classes."""
    return Task(
        name=name,
        domain=section.domain,
        kind=section.kind,
        metrics=make_metrics(section, samples),
        topology="many_to_one",
        inputs=TensorSpec("inputs", "uint8", ("batch", "time", 28), "gray value, 0 (paper) to 255 (ink)"),
        outputs=(
            TensorSpec("label", "int64", ("batch",), "the most probable digit"),
            TensorSpec("probabilities", "float32", ("batch", CLASSES), "probability of each digit, 0 to 1"),
        ),
        features=28,
        make_preprocessing=ByteImages,
        make_head=lambda size: LinearHead(size, CLASSES),
        loss=F.cross_entropy,
        output="label",
        input_steps=28,
        steps=28,
    )
