"""Task: classify a text by its label, or by the range of its rating."""

import torch.nn.functional as F

from unroll.domains.task import Task, TensorSpec, text_card
from unroll.domains.texts.config import TextClassTask
from unroll.domains.texts.metrics import make_metrics
from unroll.features.samples import Samples
from unroll.models.heads import LinearHead
from unroll.models.preprocessing import Tokens


def make_task(name: str, section: TextClassTask, samples: Samples) -> Task:
    """Return the task, many to one: the tokens of a text → one class."""
    classes, vocabulary = section.classes, samples.vocabularies["text"]
    return Task(
        name=name,
        domain=section.domain,
        kind=section.kind,
        metrics=make_metrics(section, samples),
        topology="many_to_one",
        inputs=TensorSpec("inputs", "int64", ("batch", "time"), "token numbers"),
        outputs=(
            TensorSpec("label", "int64", ("batch",), f"the most probable of {', '.join(classes)}"),
            TensorSpec("probabilities", "float32", ("batch", len(classes)), "probability of each class, 0 to 1"),
        ),
        features=0,
        make_preprocessing=Tokens,
        make_head=lambda size: LinearHead(size, len(classes)),
        # Targets are probabilities: a rating near a threshold is shared between the classes on both sides.
        loss=F.cross_entropy,
        details={
            "labels": list(classes),
            "text": text_card("text", "text", max_tokens=section.max_tokens, truncation=section.truncation),
        },
        output="label",
        variable_length=True,
        vocabularies={"text": vocabulary},
        source_vocab_size=vocabulary.size,
    )
