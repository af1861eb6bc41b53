"""Tasks: label each pixel column of a strip of digits, read its digits, or caption it."""

from dataclasses import replace

from unroll.domains.strips.config import StripCaptionTask, StripColumnTask, StripReadingTask
from unroll.domains.strips.metrics import CLASSES, make_metrics
from unroll.domains.strips.samples import BETWEEN
from unroll.domains.task import GENERATED, Task, TensorSpec, ctc_loss, generator_card, step_loss
from unroll.features.samples import Samples
from unroll.models.heads import LinearHead
from unroll.models.preprocessing import ByteImages


def make_task(name: str, section: StripColumnTask | StripCaptionTask | StripReadingTask, samples: Samples) -> Task:
    """Return the task of any kind."""
    if isinstance(section, StripReadingTask):
        return _reading_task(name, section, samples)
    if isinstance(section, StripCaptionTask):
        return _caption_task(name, section, samples)
    return _column_task(name, section, samples)


def _column_task(name: str, section: StripColumnTask | StripReadingTask, samples: Samples) -> Task:
    """Return the task, many to many in step: the pixel columns of a strip from left to right → a label for each."""
    return Task(
        name=name,
        domain=section.domain,
        kind=section.kind,
        metrics=make_metrics(section, samples),
        topology="many_to_many",
        inputs=_strip(section.columns),
        outputs=(
            TensorSpec("labels", "int64", ("batch", "time"), f"digit of each column; {BETWEEN} between digits"),
            TensorSpec("scores", "float32", ("batch", "time"), "probability of that label, 0 to 1"),
        ),
        features=28,
        make_preprocessing=ByteImages,
        make_head=lambda size: LinearHead(size, CLASSES),
        loss=step_loss,
        details={
            "labels": [*(str(digit) for digit in range(BETWEEN)), "between"],
            "array": {"column": "pixels", "variable_length": False},
        },
        output="labels",
        every_step=True,
        input_steps=section.columns,
        steps=section.columns,
    )


def _reading_task(name: str, section: StripReadingTask, samples: Samples) -> Task:
    """Return the task, many to many without an alignment: the pixel columns of a strip → its digits."""
    in_step = _column_task(name, section, samples)
    return replace(
        in_step,
        outputs=(
            TensorSpec(
                "symbol_probabilities",
                "float32",
                ("batch", "step", CLASSES),
                "probability of no new digit, and of each digit; equal neighbors are one digit",
            ),
        ),
        loss=ctc_loss,
        details={**in_step.details, "labels": ["", *(str(digit) for digit in range(10))]},
        output="values",
        unaligned=True,
    )


def _caption_task(name: str, section: StripCaptionTask, samples: Samples) -> Task:
    """Return the task, one to many: a strip, read as a whole → its digits as words."""
    vocabulary = samples.vocabularies["caption"]
    return Task(
        name=name,
        domain=section.domain,
        kind=section.kind,
        metrics=make_metrics(section, samples),
        topology="one_to_many",
        inputs=_strip(section.columns),
        outputs=GENERATED,
        features=28,
        make_preprocessing=ByteImages,
        make_head=lambda size: LinearHead(size, vocabulary.size),
        loss=step_loss,
        details={
            "array": {"column": "pixels", "variable_length": False},
            **generator_card("caption", section.decoding),
        },
        output="tokens",
        input_steps=section.columns,
        steps=section.columns,
        vocabularies={"caption": vocabulary},
        target_vocab_size=vocabulary.size,
        decoding=section.decoding,
    )


def _strip(columns: int) -> TensorSpec:
    return TensorSpec("inputs", "uint8", ("batch", columns, 28), "gray value, 0 (paper) to 255 (ink), column by column")
