"""Task: translate a sentence."""

from unroll.domains.pairs.config import TranslationTask
from unroll.domains.pairs.metrics import make_metrics
from unroll.domains.task import GENERATED, Task, TensorSpec, generator_card, step_loss, text_card
from unroll.features.samples import Samples
from unroll.models.heads import LinearHead
from unroll.models.preprocessing import Tokens


def make_task(name: str, section: TranslationTask, samples: Samples) -> Task:
    """Return the task, sequence to sequence: tokens of a sentence → tokens of its translation, of one vocabulary."""
    vocabulary = samples.vocabularies["text"]
    return Task(
        name=name,
        domain=section.domain,
        kind=section.kind,
        metrics=make_metrics(section, samples),
        topology="sequence_to_sequence",
        inputs=TensorSpec("inputs", "int64", ("batch", "time"), "token numbers of the source"),
        outputs=GENERATED,
        features=0,
        make_preprocessing=Tokens,
        make_head=lambda size: LinearHead(size, vocabulary.size),
        loss=step_loss,
        details={
            "text": text_card("source", "text", max_tokens=section.max_tokens, truncation=section.truncation),
            **generator_card("text", section.decoding),
        },
        output="tokens",
        variable_length=True,
        vocabularies={"text": vocabulary},
        source_vocab_size=vocabulary.size,
        target_vocab_size=vocabulary.size,
        decoding=section.decoding,
    )
