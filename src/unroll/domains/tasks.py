"""One file a kind of problem; `task_of` picks it by the parameters."""

from typing import assert_never

from unroll import config
from unroll.domains.articles import task as language
from unroll.domains.digits import task as digits
from unroll.domains.pairs import task as translation
from unroll.domains.prices import quantiles
from unroll.domains.prices import task as prices
from unroll.domains.recordings import task as recordings
from unroll.domains.strips import captions
from unroll.domains.strips import task as strips
from unroll.domains.tagged import task as tags
from unroll.domains.task import Task
from unroll.domains.texts import task as texts
from unroll.domains.tunes import task as melodies
from unroll.errors import DataError
from unroll.features.samples import Samples


def task_of(name: str, section: config.Task, samples: Samples | None = None) -> Task:
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
        case config.DigitTask():
            return digits.digit_task(name)
        case config.PriceTask():
            return prices.price_task(name, section)
        case config.LogReturnTask():
            return prices.log_return_task(name, section)
        case config.ReturnQuantileTask():
            return quantiles.quantile_task(name, section)
        case config.StripColumnsTask():
            return strips.strip_columns_task(name, section)
    if samples is None:
        raise DataError(
            f"tasks.{name} of kind {section.kind} is described by its samples: run `unroll featurize {name}`"
        )
    match section:
        case config.TextClassTask():
            return texts.text_class_task(name, section, samples)
        case config.TranslationTask():
            return translation.translation_task(name, section, samples)
        case config.LanguageTask():
            return language.language_task(name, section, samples)
        case config.MelodyTask():
            return melodies.melody_task(name, section, samples)
        case config.RecordingTask():
            return recordings.recording_task(name, section, samples)
        case config.StripCaptionTask():
            return captions.strip_captions_task(name, section, samples)
        case config.TagTask():
            return tags.tag_task(name, section, samples)
        case _:
            assert_never(section)
