"""The task that a section of params.yaml describes."""

import pytest

from unroll import params
from unroll.errors import DataError
from unroll.tasks import task_of

WORDS = params.Tokenizer(kind="word")
NEEDY = [
    params.TextClassTask(kind="text_class", dataset="d", tokenizer=WORDS, max_tokens=9, classes=("a", "b")),
    params.TranslationTask(kind="translation", dataset="d", tokenizer=WORDS, max_tokens=9),
    params.LanguageTask(kind="language_model", dataset="d", tokenizer=WORDS),
    params.MelodyTask(kind="melody", dataset="d"),
    params.RecordingTask(kind="recording_class", dataset="d"),
    params.StripCaptionTask(kind="strip_captions", dataset="d"),
    params.TagTask(kind="tags", dataset="d", tokenizer=params.Tokenizer(kind="split"), max_tokens=9),
]


@pytest.mark.parametrize("section", NEEDY, ids=lambda section: section.kind)
def test_a_task_that_its_samples_describe(section):
    with pytest.raises(DataError, match=rf"tasks\.x of kind {section.kind} .*run `unroll featurize x`"):
        task_of("x", section)


def test_tasks_that_need_no_samples(tiny):
    for kind in ("digits", "price", "price_steps", "log_return", "return_quantiles"):
        assert tiny.task(kind).name == kind
    task = task_of("strips", params.StripColumnsTask(kind="strip_columns", dataset="mnist"))
    assert task.steps == 140


def test_only_forecasts_of_each_step_must_not_see_ahead(tiny):
    assert not tiny.task("price_steps").sees_ahead
    assert tiny.task("price").sees_ahead
    assert tiny.task("digits").sees_ahead


def test_what_the_graph_gives(tiny):
    assert tiny.task("digits").output == "label"
    assert tiny.task("price").output == tiny.task("return_quantiles").output == "values"
