"""The task that a section of params.yaml describes."""

import pytest

from unroll import config
from unroll.domains.tasks import task_of
from unroll.errors import DataError

WORDS = config.Tokenizer(kind="word")
NEEDY = [
    config.TextClassTask(kind="text_class", dataset="d", tokenizer=WORDS, max_tokens=9, classes=("a", "b")),
    config.TranslationTask(kind="translation", dataset="d", tokenizer=WORDS, max_tokens=9),
    config.LanguageTask(kind="language_model", dataset="d", tokenizer=WORDS),
    config.MelodyTask(kind="melody", dataset="d"),
    config.RecordingTask(kind="recording_class", dataset="d"),
    config.StripCaptionTask(kind="strip_captions", dataset="d"),
    config.TagTask(kind="tags", dataset="d", tokenizer=config.Tokenizer(kind="split"), max_tokens=9),
]


@pytest.mark.parametrize("section", NEEDY, ids=lambda section: section.kind)
def test_a_task_that_its_samples_describe(section):
    with pytest.raises(DataError, match=rf"tasks\.x of kind {section.kind} .*run `unroll featurize x`"):
        task_of("x", section)


def test_tasks_that_need_no_samples(tiny):
    for kind in ("digits", "price", "price_steps", "log_return", "return_quantiles"):
        assert tiny.task(kind).name == kind
    task = task_of("strips", config.StripColumnsTask(kind="strip_columns", dataset="mnist"))
    assert task.steps == 140


def test_only_forecasts_of_each_step_must_not_see_ahead(tiny):
    assert tiny.task("price_steps").causal
    assert not tiny.task("price").causal
    assert not tiny.task("digits").causal


def test_what_the_graph_gives(tiny):
    assert tiny.task("digits").output == "label"
    assert tiny.task("price").output == tiny.task("return_quantiles").output == "values"
