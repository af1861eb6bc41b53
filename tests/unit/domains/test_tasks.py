"""The task that a section of params.yaml describes."""

import pytest
from unroll.domains.tunes.config import MelodyTask

from unroll.config.tokenizer import TokenizerConfig
from unroll.domains.articles.config import LanguageTask
from unroll.domains.pairs.config import TranslationTask
from unroll.domains.recordings.config import RecordingTask
from unroll.domains.strips.config import StripCaptionTask, StripColumnTask
from unroll.domains.tagged.config import TaggingTask
from unroll.domains.task import make_task
from unroll.domains.texts.config import TextClassTask
from unroll.errors import DataError

WORDS = TokenizerConfig(kind="word")
NEEDY = [
    TextClassTask(
        domain="texts", kind="classification", dataset="d", tokenizer=WORDS, max_tokens=9, classes=("a", "b")
    ),
    TranslationTask(domain="pairs", kind="translation", dataset="d", tokenizer=WORDS, max_tokens=9),
    LanguageTask(domain="articles", kind="language_model", dataset="d", tokenizer=WORDS),
    MelodyTask(kind="melody", dataset="d"),
    RecordingTask(domain="recordings", kind="classification", dataset="d"),
    StripCaptionTask(domain="strips", kind="captions", dataset="d"),
    TaggingTask(
        domain="tagged", kind="token_classification", dataset="d", tokenizer=TokenizerConfig(kind="split"), max_tokens=9
    ),
]


@pytest.mark.parametrize("section", NEEDY, ids=lambda section: section.kind)
def test_a_task_that_its_samples_describe(section):
    with pytest.raises(DataError, match=rf"tasks\.x of kind {section.kind} .*run `unroll featurize x`"):
        make_task("x", section)


def test_tasks_that_need_no_samples(tiny):
    for kind in ("digits", "price", "price_steps", "log_return", "return_quantiles"):
        assert tiny.task(kind).name == kind
    task = make_task("strips", StripColumnTask(domain="strips", kind="column_labels", dataset="mnist"))
    assert task.steps == 140


def test_only_forecasts_of_each_step_must_not_see_ahead(tiny):
    assert tiny.task("price_steps").causal
    assert not tiny.task("price").causal
    assert not tiny.task("digits").causal


def test_what_the_graph_gives(tiny):
    assert tiny.task("digits").output == "label"
    assert tiny.task("price").output == tiny.task("return_quantiles").output == "values"
