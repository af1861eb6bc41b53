"""Task: predict the next word of running text."""

from unroll.domains.articles.config import LanguageTask
from unroll.domains.articles.metrics import make_metrics
from unroll.domains.task import GENERATED, Task, TensorSpec, generator_card, step_loss, text_card
from unroll.features.samples import Samples
from unroll.features.special_tokens import EOS
from unroll.models.heads import LinearHead
from unroll.models.preprocessing import Tokens

PROMPT = 1000
"""Maximum length of a prompt, in tokens."""


def make_task(name: str, section: LanguageTask, samples: Samples) -> Task:
    """Return the task, one to many: from a prompt to a text, token by token."""
    vocabulary = samples.vocabularies["text"]
    return Task(
        name=name,
        domain=section.domain,
        kind=section.kind,
        metrics=make_metrics(section, samples),
        topology="one_to_many",
        inputs=TensorSpec("inputs", "int64", ("batch", "time"), "token numbers of a prompt that begins with <eos>"),
        outputs=GENERATED,
        features=0,
        make_preprocessing=Tokens,
        make_head=lambda size: LinearHead(size, vocabulary.size),
        loss=step_loss,
        details={
            "text": text_card("prompt", "text", max_tokens=PROMPT, truncation=False, first_token=EOS),
            **generator_card("text", section.decoding),
        },
        output="tokens",
        every_step=True,
        causal=True,
        stateful=True,
        input_steps=section.window,
        steps=section.window,
        vocabularies={"text": vocabulary},
        source_vocab_size=vocabulary.size,
        target_vocab_size=vocabulary.size,
        decoding=section.decoding,
    )
