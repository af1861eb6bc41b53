"""Sections of params.yaml for labeled texts."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from unroll.config.sources import RowDataset, TextSettings
from unroll.config.splits import ShareSplits
from unroll.config.tokenizer import TextTask


class TextDataset(TextSettings, RowDataset):
    """Labeled texts: tables, or JSON objects, with the columns that `text_column` and `label_column` name."""

    domain: Literal["texts"]
    label_column: str = "label"
    labels: Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    """Allowed labels; null if labels are numbers (ratings)."""


class TextClassTask(TextTask):
    """Classify a text."""

    domain: Literal["texts"]
    kind: Literal["classification"]
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    """Classes in the order of the outputs; for ratings, from low to high."""
    thresholds: tuple[float, ...] | None = None
    """Ratings that separate the classes, one fewer than there are classes. A rating on a threshold belongs to the class
    nearer to the middle."""
    rating_noise: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of a rating's error. Above 0, each rating is spread over the classes (soft labels)."""
    splits: ShareSplits = ShareSplits()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.thresholds is not None and len(self.thresholds) != len(self.classes) - 1:
            raise ValueError(f"{len(self.classes)} classes need {len(self.classes) - 1} thresholds between them")
        if self.thresholds is not None and list(self.thresholds) != sorted(set(self.thresholds)):
            raise ValueError("thresholds must increase")
        if self.thresholds is None and self.rating_noise:
            raise ValueError("rating_noise needs thresholds: it applies to ratings")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"a class is listed twice: {', '.join(self.classes)}")
        return self
