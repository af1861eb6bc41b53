"""One file a kind of problem; `task_of` picks it by the parameters."""

from typing import assert_never

from unroll import params
from unroll.errors import DataError
from unroll.features.samples import Samples
from unroll.tasks import (
    captions,
    digits,
    language,
    melodies,
    prices,
    quantiles,
    recordings,
    strips,
    tags,
    texts,
    translation,
)
from unroll.tasks.task import Task


def task_of(name: str, section: params.Task, samples: Samples | None = None) -> Task:
    """The task that a section of params.yaml describes.

    Args:
        name: In params.yaml.
        section: Its parameters.
        samples: Its samples, whose vocabularies and notes tell how much is read and written; digits, strips of labels
            and prices do without.

    Raises:
        DataError: The task needs samples, and has none.
    """
    match section:
        case params.DigitTask():
            return digits.digit_task(name)
        case params.PriceTask():
            return prices.price_task(name, section)
        case params.LogReturnTask():
            return prices.log_return_task(name, section)
        case params.ReturnQuantileTask():
            return quantiles.quantile_task(name, section)
        case params.StripColumnsTask():
            return strips.strip_columns_task(name, section)
    if samples is None:
        raise DataError(
            f"tasks.{name} of kind {section.kind} is described by its samples: run `unroll featurize {name}`"
        )
    match section:
        case params.TextClassTask():
            return texts.text_class_task(name, section, samples)
        case params.TranslationTask():
            return translation.translation_task(name, section, samples)
        case params.LanguageTask():
            return language.language_task(name, section, samples)
        case params.MelodyTask():
            return melodies.melody_task(name, section, samples)
        case params.RecordingTask():
            return recordings.recording_task(name, section, samples)
        case params.StripCaptionTask():
            return captions.strip_captions_task(name, section, samples)
        case params.TagTask():
            return tags.tag_task(name, section, samples)
        case _:
            assert_never(section)
