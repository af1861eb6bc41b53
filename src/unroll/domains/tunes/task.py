"""Task: predict the next token of a tune."""

from unroll.domains.task import GENERATED, Task, TensorSpec, generator_card, step_loss, text_card
from unroll.domains.tunes.config import TuneTask
from unroll.domains.tunes.metrics import make_metrics
from unroll.features.samples import Samples
from unroll.features.special_tokens import BOS
from unroll.models.heads import LinearHead
from unroll.models.preprocessing import Tokens


def make_task(name: str, section: TuneTask, samples: Samples) -> Task:
    """Return the task, one to many: from a meter, a key and first notes to a tune."""
    vocabulary = samples.vocabularies["tune"]
    return Task(
        name=name,
        domain=section.domain,
        kind=section.kind,
        metrics=make_metrics(section, samples),
        topology="one_to_many",
        inputs=TensorSpec("inputs", "int64", ("batch", "time"), "token numbers of a prompt that begins with <bos>"),
        outputs=GENERATED,
        features=0,
        make_preprocessing=Tokens,
        make_head=lambda size: LinearHead(size, vocabulary.size),
        loss=step_loss,
        details={
            "text": text_card("prompt", "tune", max_tokens=section.max_tokens, truncation=False, first_token=BOS),
            **generator_card("tune", section.decoding),
        },
        output="tokens",
        every_step=True,
        causal=True,
        variable_length=True,
        vocabularies={"tune": vocabulary},
        source_vocab_size=vocabulary.size,
        target_vocab_size=vocabulary.size,
        decoding=section.decoding,
    )
