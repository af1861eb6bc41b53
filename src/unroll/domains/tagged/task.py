"""Task: tag each token of a sentence, such as with the IOB2 tags of persons and places."""

from unroll.domains.tagged.config import TaggingTask
from unroll.domains.tagged.metrics import make_metrics
from unroll.domains.task import Task, TensorSpec, step_loss, text_card
from unroll.features.samples import Samples
from unroll.models.heads import LinearHead
from unroll.models.preprocessing import Tokens


def make_task(name: str, section: TaggingTask, samples: Samples) -> Task:
    """Return the task, many to many in step: the tokens of a sentence and their first letters → a tag for each."""
    tags = list(samples.notes["tags"])
    characters = section.characters
    names = ("token", "character") if characters else ("token",)
    shape: tuple[int | str, ...] = ("batch", "time", 1 + characters)
    return Task(
        name=name,
        domain=section.domain,
        kind=section.kind,
        metrics=make_metrics(section, samples),
        topology="many_to_many",
        inputs=TensorSpec("inputs", "int64", shape, "token number, then the numbers of its first characters"),
        outputs=(
            TensorSpec("labels", "int64", ("batch", "time"), "tag of each token; 0 after the end of the sentence"),
            TensorSpec("scores", "float32", ("batch", "time"), "probability of that tag, 0 to 1"),
        ),
        features=0,
        make_preprocessing=Tokens,
        make_head=lambda size: LinearHead(size, len(tags)),
        loss=step_loss,
        details={
            "labels": tags,
            "text": text_card(
                "tokens",
                "token",
                max_tokens=section.max_tokens,
                truncation=section.truncation,
                characters=characters,
                pretokenized=True,
            ),
        },
        output="labels",
        every_step=True,
        variable_length=True,
        vocabularies={one: samples.vocabularies[one] for one in names},
        source_vocab_size=samples.vocabularies["token"].size,
        characters=characters,
        character_vocab_size=samples.vocabularies["character"].size if characters else 0,
    )
