"""Task: classify a recording."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F

from unroll.domains.recordings.config import RecordingTask
from unroll.domains.recordings.metrics import class_count, class_names, make_metrics
from unroll.domains.task import Task, TensorSpec
from unroll.features.samples import Samples
from unroll.models.front_end import SoundFrames
from unroll.models.heads import LinearHead
from unroll.models.preprocessing import Frames


def make_task(name: str, section: RecordingTask, samples: Samples) -> Task:
    """Return the task, many to one: the samples or frames of a recording → one class."""
    width, classes, sound = samples.tensors["inputs"].shape[2], class_count(samples), samples.notes.get("sound")
    unit, features = "features of each frame, as recorded", width
    array: dict[str, Any] = {"column": "frames", "variable_length": True}
    if sound:
        rate, front_end = sound["sample_rate"], section.front_end
        unit = f"samples from -1 to 1, {rate} a second; a time step is {width} of them"
        array = {"column": "samples", "variable_length": True, "sample_rate": rate}
        features = front_end.mels if front_end.kind == "log_mel" else front_end.coefficients
    return Task(
        name=name,
        domain=section.domain,
        kind=section.kind,
        metrics=make_metrics(section, samples),
        topology="many_to_one",
        inputs=TensorSpec("inputs", "float32", ("batch", "time", width), unit),
        outputs=(
            TensorSpec("label", "int64", ("batch",), "the most probable class"),
            TensorSpec("probabilities", "float32", ("batch", classes), "probability of each class, 0 to 1"),
        ),
        features=features * (1 + section.deltas),
        make_preprocessing=lambda: _preprocessing(section, width, sound),
        make_head=lambda size: LinearHead(size, classes),
        loss=F.cross_entropy,
        details={"labels": class_names(samples), "array": array, "remarks": samples.notes.get("remarks", [])},
        output="label",
        variable_length=True,
    )


def _preprocessing(section: RecordingTask, width: int, sound: Mapping[str, int] | None) -> Frames:
    if not sound:
        return Frames(width, normalize=section.normalize, deltas=section.deltas)
    rate, front_end = sound["sample_rate"], section.front_end
    return SoundFrames(
        rate,
        hop=width,
        window=max(width, round(rate * front_end.window_ms / 1000)),
        mels=front_end.mels,
        low_hz=front_end.low_hz,
        coefficients=front_end.coefficients if front_end.kind == "mfcc" else 0,
        normalize=section.normalize,
        deltas=section.deltas,
    )
