"""`tasks`: what is learned from a dataset."""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from unroll.config.base import Section
from unroll.config.decoding import BeamSearch, DecodingConfig

PriceColumn = Literal["open", "high", "low", "close", "adj_close", "volume"]


class Period(Section):
    """Days of a split, both ends included; an end left out is open."""

    first: date | None = None
    last: date | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first and self.last and self.first > self.last:
            raise ValueError(f"the period starts on {self.first}, after its end on {self.last}")
        return self


PeriodName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]*$")]
"""Becomes a part of a metric's name, for which MLflow takes no other characters."""


class DateSplits(Section):
    """Splits by the date of the forecast day."""

    kind: Literal["dates"]
    train: Period
    valid_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """The last part of the training days, held out to choose epochs."""
    test: Annotated[dict[PeriodName, Period], Field(min_length=1)]
    """Named periods after training; the first one gives the headline figures."""


class LastShareSplits(Section):
    """The last share of all days that can be forecast is the test split."""

    kind: Literal["last_share"]
    test_share: Annotated[float, Field(gt=0, lt=1)]
    valid_share: Annotated[float, Field(ge=0, lt=1)] = 0.1


class WalkForwardSplits(Section):
    """One fold a test year, trained on everything before it."""

    kind: Literal["walk_forward"]
    first_year: int
    last_year: int
    valid_share: Annotated[float, Field(ge=0, lt=1)] = 0.1

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first_year > self.last_year:
            raise ValueError(f"first_year {self.first_year} is after last_year {self.last_year}")
        return self


TimeSplits = Annotated[DateSplits | LastShareSplits | WalkForwardSplits, Field(discriminator="kind")]


class DigitTask(Section):
    """Which digit an image shows: its rows are the time steps, its columns the features."""

    kind: Literal["digits"]
    dataset: str
    valid_rows: Annotated[int, Field(ge=1)] = 5000
    """Training images held out to choose epochs, taken from the end of the training split."""


class _PriceColumns(Section):
    columns: Annotated[tuple[PriceColumn, ...], Field(min_length=1)]
    target: PriceColumn

    @model_validator(mode="after")
    def _target_is_read(self) -> Self:
        if self.target not in self.columns:
            raise ValueError(f"target {self.target!r} must be one of columns ({', '.join(self.columns)})")
        if len(set(self.columns)) != len(self.columns):
            raise ValueError(f"columns names one twice: {', '.join(self.columns)}")
        return self


class PriceTask(_PriceColumns):
    """The next price level from a window of past ones."""

    kind: Literal["price"]
    dataset: str
    window: Annotated[int, Field(ge=2)]
    every_step: bool = False
    """Many to many in step: at each step of the window, the price of the day after it."""
    splits: TimeSplits


class LogReturnTask(_PriceColumns):
    """The next price as a residual over the last known one, on the log-return scale."""

    kind: Literal["log_return"]
    dataset: str

    @model_validator(mode="after")
    def _known_price_is_read(self) -> Self:
        if self.target == "open" and "close" not in self.columns:
            raise ValueError("target open needs close among columns: the last known price before an opening is a close")
        return self

    window: Annotated[int, Field(ge=3)]
    splits: TimeSplits


class ReturnQuantileTask(Section):
    """Quantiles of the next day's log return, seen through an EWMA volatility."""

    kind: Literal["return_quantiles"]
    dataset: str
    window: Annotated[int, Field(ge=3)]
    """Days of standardized returns that the network reads."""
    volatility_window: Annotated[int, Field(ge=10)] = 120
    """Days of returns that each volatility is estimated from; the model reads window + volatility_window + 1 days."""
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.94
    quantiles: Annotated[tuple[float, ...], Field(min_length=3)] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    splits: TimeSplits

    @model_validator(mode="after")
    def _fits(self) -> Self:
        levels = self.quantiles
        if list(levels) != sorted(set(levels)) or levels[0] <= 0 or levels[-1] >= 1:
            raise ValueError("quantiles must rise strictly, between 0 and 1")
        if any(round(1 - q, 9) not in {round(p, 9) for p in levels} or 0.5 not in levels for q in levels):
            raise ValueError("quantiles must be symmetric about 0.5 and contain it: [0.1, 0.5, 0.9], say")
        return self


class ShareSplits(Section):
    """Rows parted by chance, equal or near rows in one split."""

    valid_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    seed: int = 0

    @model_validator(mode="after")
    def _leaves_some(self) -> Self:
        if self.valid_share + self.test_share >= 1:
            raise ValueError("valid_share and test_share leave nothing to train on")
        return self


class Tokenizer(Section):
    """How text becomes tokens; fitted on the training split."""

    kind: Literal["word", "bpe", "split"]
    """Words and punctuation marks; byte-pair encoding within them; or just what stands between blanks."""
    vocabulary_size: Annotated[int, Field(ge=10, le=50_000)] = 10_000
    """With the special tokens."""
    min_count: Annotated[int, Field(ge=1)] = 1
    """Rarer tokens become [UNK]."""
    lowercase: bool = False
    placeholders: bool = False
    """Numbers become [NUM] and addresses [URL]; of kind word."""

    @model_validator(mode="after")
    def _by_words(self) -> Self:
        if self.placeholders and self.kind != "word":
            raise ValueError(f"placeholders go with kind word; {self.kind} leaves the text as it is")
        return self


class _TextTask(Section):
    dataset: str
    tokenizer: Tokenizer
    max_tokens: Annotated[int, Field(ge=1)]
    """Longest input of the model."""
    truncation: bool = True
    """Keep the beginning of a longer text and count it; false: stop."""
    vectors: str | None = None
    """A GloVe or word2vec text file below data/own, for models whose embedding has `init: pretrained`."""

    @model_validator(mode="after")
    def _vectors_of_words(self) -> Self:
        if self.vectors is not None and self.tokenizer.kind == "bpe":
            raise ValueError("vectors are of words: they go with a tokenizer of kind word or split, not bpe")
        return self


TEXT_SAMPLING = DecodingConfig(temperature=0.8, top_k=40)
"""Text is sampled by default: the likeliest text repeats itself."""
TUNE_SAMPLING = DecodingConfig(max_length=400, temperature=0.8, top_k=20)


class TextClassTask(_TextTask):
    """Which class a text is of."""

    kind: Literal["text_class"]
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    """In the order of the outputs; of ratings, from low to high."""
    thresholds: tuple[float, ...] | None = None
    """Ratings between which the classes lie: one fewer than classes; a rating on a threshold counts as the class in
    the middle."""
    rating_noise: Annotated[float, Field(ge=0)] = 0.0
    """Soft labels: a rating is known up to a normal error of this deviation, which spreads it over classes."""
    splits: ShareSplits = ShareSplits()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.thresholds is not None and len(self.thresholds) != len(self.classes) - 1:
            raise ValueError(f"{len(self.classes)} classes need {len(self.classes) - 1} thresholds between them")
        if self.thresholds is not None and list(self.thresholds) != sorted(set(self.thresholds)):
            raise ValueError("thresholds must rise")
        if self.thresholds is None and self.rating_noise:
            raise ValueError("rating_noise is of ratings: it needs thresholds")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes names one twice: {', '.join(self.classes)}")
        return self


class TranslationTask(_TextTask):
    """A sentence into its translation; one tokenizer for both sides."""

    kind: Literal["translation"]
    max_words: Annotated[int, Field(ge=1)] = 12
    """Pairs with a longer side are left out."""
    splits: ShareSplits = ShareSplits()
    decoding: BeamSearch = DecodingConfig()


class LanguageTask(Section):
    """The next word of running text, state carried from window to window."""

    kind: Literal["language_model"]
    dataset: str
    tokenizer: Tokenizer
    window: Annotated[int, Field(ge=2)] = 35
    """Tokens of a window: gradients reach back so far."""
    decoding: Annotated[DecodingConfig, AfterValidator(TEXT_SAMPLING.override)] = TEXT_SAMPLING


class MelodyTask(Section):
    """A tune from its key and first note, token by token, transposed to one tonic."""

    kind: Literal["melody"]
    dataset: str
    max_tokens: Annotated[int, Field(ge=2)] = 500
    min_count: Annotated[int, Field(ge=1)] = 2
    splits: ShareSplits = ShareSplits()
    decoding: Annotated[DecodingConfig, AfterValidator(TUNE_SAMPLING.override)] = TUNE_SAMPLING


class RecordingTask(Section):
    """Which class a recording is of, judged on voices that training has not heard."""

    kind: Literal["recording_class"]
    dataset: str
    voices: Annotated[int, Field(ge=2)] = 6
    """Clusters that stand for speakers, where the data names none."""
    valid_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Of the random split, which is the second figure."""
    normalize: bool = True
    """Each recording's features to mean 0 and deviation 1."""
    deltas: bool = True
    """Differences in time beside the features."""
    seed: int = 0

    @model_validator(mode="after")
    def _leaves_some(self) -> Self:
        if self.valid_share + self.test_share >= 1:
            raise ValueError("valid_share and test_share leave nothing to train on")
        return self


class _StripTask(Section):
    dataset: str
    digits: tuple[int, int] = (2, 5)
    """Least and largest number of digits in a strip."""
    columns: Annotated[int, Field(ge=60)] = 140
    """Width of a strip in pixels."""
    train: Annotated[int, Field(ge=1)] = 12_000
    valid: Annotated[int, Field(ge=1)] = 1_000
    test: Annotated[int, Field(ge=1)] = 2_000
    """Strips composed for each split; those of the test split of test images."""
    seed: int = 0

    @model_validator(mode="after")
    def _room(self) -> Self:
        least, most = self.digits
        if not 1 <= least <= most or most * 28 > self.columns:
            raise ValueError(f"{least} to {most} digits of 28 pixels do not fit into {self.columns} columns")
        return self


class StripColumnsTask(_StripTask):
    """Which digit each pixel column of a strip belongs to, if any."""

    kind: Literal["strip_columns"]


class StripCaptionTask(_StripTask):
    """A strip's digits as a sentence."""

    kind: Literal["strip_captions"]
    decoding: BeamSearch = DecodingConfig(max_length=8)


class TagTask(_TextTask):
    """A tag for each token of a sentence, in IOB."""

    kind: Literal["tags"]
    characters: Annotated[int, Field(ge=0)] = 12
    """Of each token, its first characters are read too; 0 for none."""

    @model_validator(mode="after")
    def _tokens_as_given(self) -> Self:
        if self.tokenizer.kind != "split":
            raise ValueError("the data's tokens are tagged as they are: tokenizer.kind must be split")
        return self


Task = Annotated[
    DigitTask
    | PriceTask
    | LogReturnTask
    | ReturnQuantileTask
    | TextClassTask
    | TranslationTask
    | LanguageTask
    | MelodyTask
    | RecordingTask
    | StripColumnsTask
    | StripCaptionTask
    | TagTask,
    Field(discriminator="kind"),
]
