"""The card of a bundle: what the model is, what goes in, what comes out. `KINDS` says what each kind of task needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from unroll.config.decoding import DecodingConfig

Answer = Literal["classes", "price", "quantiles", "labels", "text"]
"""What the outputs become in a file of predictions: see `unroll.inference.answers`."""
Verb = Literal["predict", "translate", "generate", "classify"]
Shape = tuple[str, tuple[int, ...]]
"""A dtype, and the ranks that are allowed."""

_SEARCH: Mapping[str, Shape] = {
    "max_length": ("int64", (0,)),
    "beams": ("int64", (0,)),
    "length_penalty": ("float32", (0,)),
}
_DRAW: Mapping[str, Shape] = {
    **_SEARCH,
    "temperature": ("float32", (0,)),
    "top_k": ("int64", (0,)),
    "uniforms": ("float32", (3,)),
}
_CLASSES: Mapping[str, Shape] = {"label": ("int64", (1,)), "probabilities": ("float32", (2,))}
_LABELS: Mapping[str, Shape] = {"labels": ("int64", (2,)), "scores": ("float32", (2,))}
_TEXT: Mapping[str, Shape] = {"tokens": ("int64", (3,)), "scores": ("float32", (2,))}


@dataclass(frozen=True)
class Kind:
    """What a bundle of one kind of task has to be.

    Attributes:
        reader: How files are read for it.
        inputs: The input `inputs`. What varies in length also has `lengths`.
        outputs: What the graph must give.
        answer: What the outputs become.
        decoding: Inputs that say how text is written; none for a model that writes none.
        verb: The verb of the command line that tries it with one line of text.
    """

    reader: str
    inputs: Shape
    outputs: Mapping[str, Shape]
    answer: Answer
    decoding: Mapping[str, Shape] | None = None
    verb: Verb = "predict"


KINDS: Mapping[str, Kind] = {
    "digits": Kind("digits", ("uint8", (3,)), _CLASSES, "classes"),
    "price": Kind("prices", ("float32", (3,)), {"price": ("float32", (1, 2))}, "price"),
    "log_return": Kind("prices", ("float32", (3,)), {"price": ("float32", (1,))}, "price"),
    "return_quantiles": Kind("prices", ("float32", (3,)), {"log_return_quantiles": ("float32", (2,))}, "quantiles"),
    "text_class": Kind("text", ("int64", (2,)), _CLASSES, "classes", verb="classify"),
    "recording_class": Kind("arrays", ("float32", (3,)), _CLASSES, "classes"),
    "tags": Kind("text", ("int64", (2, 3)), _LABELS, "labels"),
    "strip_columns": Kind("arrays", ("uint8", (3,)), _LABELS, "labels"),
    "translation": Kind("text", ("int64", (2,)), _TEXT, "text", _SEARCH, "translate"),
    "strip_captions": Kind("arrays", ("uint8", (3,)), _TEXT, "text", _SEARCH),
    "language_model": Kind("text", ("int64", (2,)), _TEXT, "text", _DRAW, "generate"),
    "melody": Kind("text", ("int64", (2,)), _TEXT, "text", _DRAW, "generate"),
}

_Stated = TypeVar("_Stated")
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$")]
"""Of a file in the bundle."""


class _Part(BaseModel):
    """A part of the card: nothing misspelt, nothing converted, nothing changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Tensor(_Part):
    """An input or output of the graph. A dimension is a number, or a name where it varies."""

    name: str
    dtype: Literal["uint8", "int64", "float32"]
    shape: tuple[int | str, ...]
    unit: str = ""

    def fits(self, wanted: Shape) -> bool:
        """Whether dtype and rank are as wanted."""
        return self.dtype == wanted[0] and len(self.shape) in wanted[1]


class CardTask(_Part):
    """What the model was trained for."""

    name: str
    kind: str
    topology: str


class PriceInput(_Part):
    """What a row of inputs is made of: the last `window` days of `columns`, in this order."""

    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    target: str
    known: str | None = None
    """The column whose last value is the last known price; None: the target's."""
    window: Annotated[int, Field(ge=1)]
    """Days that go into the graph."""
    every_step: bool = False


class TextInput(_Part):
    """How a row's text becomes token numbers."""

    column: Literal["text", "source", "prompt", "tokens"]
    vocabulary: _Name
    """The file of the tokens."""
    max_tokens: Annotated[int, Field(ge=1)]
    truncation: bool = True
    """Whether longer texts are cut; otherwise they are rejected."""
    first_token: Annotated[int, Field(ge=0)] | None = None
    """Stands before the tokens of every text, and is not counted among them."""
    characters: Annotated[int, Field(ge=0)] = 0
    """Of each token, so many characters are read, too."""
    character_vocabulary: _Name | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.characters > 0) != (self.character_vocabulary is not None):
            raise ValueError("characters and character_vocabulary belong together")
        if self.column == "tokens" and self.first_token is not None:
            raise ValueError("nothing stands before tokens that are tagged: first_token must be null")
        return self


class ArrayInput(_Part):
    """Which column of a Parquet file holds the inputs."""

    column: Literal["frames", "pixels"]
    variable_length: bool
    """Whether rows may have different numbers of time steps."""


class Card(_Part):
    """What the bundle says about itself."""

    format: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    task: CardTask
    reader: str
    inputs: Annotated[tuple[Tensor, ...], Field(min_length=1)]
    outputs: Annotated[tuple[Tensor, ...], Field(min_length=1)]
    prices: PriceInput | None = None
    quantiles: tuple[float, ...] | None = None
    text: TextInput | None = None
    array: ArrayInput | None = None
    labels: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Names of the classes or tags, by number."""
    output_vocabulary: _Name | None = None
    """The file of the tokens that are written."""
    decoding: DecodingConfig | None = None
    """The settings that the task was evaluated with."""
    data: dict[str, str] = Field(default_factory=dict)
    """DVC md5 of the data that the model was trained on."""
    metrics: dict[str, Any] = Field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """What the task's kind needs."""
        return KINDS[self.task.kind]

    @property
    def entry(self) -> Tensor:
        """The input that a row's values go into."""
        return next(one for one in self.inputs if one.name == "inputs")

    @property
    def takes_lengths(self) -> bool:
        """Whether the graph is told the length of each row."""
        return any(one.name == "lengths" for one in self.inputs)

    @property
    def vocabularies(self) -> tuple[str, ...]:
        """Every vocabulary's file."""
        of_text = (self.text.vocabulary, self.text.character_vocabulary) if self.text else ()
        return tuple(dict.fromkeys(name for name in (*of_text, self.output_vocabulary) if name))

    @model_validator(mode="after")
    def _fits(self) -> Self:
        # One fault at a time: what comes later builds on what comes before.
        for check in (_check_kind, _check_tensors, _check_sections, _check_prices, _check_widths):
            check(self)
        return self


def stated(part: _Stated | None) -> _Stated:
    """A part of a card that is there because its kind needs it, and the card was checked."""
    if part is None:
        raise ValueError("this part of the card is that of another kind of model")
    return part


def quantile_name(level: float) -> str:
    """Name of a quantile's column among the predictions: `q10` for 0.1, `q2.5` for 0.025."""
    return f"q{round(100 * level, 6):g}"


def _check_kind(card: Card) -> None:
    kind = KINDS.get(card.task.kind)
    if kind is None:
        raise ValueError(f"task.kind is {card.task.kind!r}; this unroll knows {', '.join(KINDS)}")
    if card.reader != kind.reader:
        raise ValueError(f"a {card.task.kind} model needs reader {kind.reader}, not {card.reader}")


def _check_tensors(card: Card) -> None:
    kind = card.kind
    wanted = {"inputs": kind.inputs, **(kind.decoding or {})}
    if card.reader == "text" or (card.array and card.array.variable_length):
        wanted["lengths"] = ("int64", (1,))
    names = [one.name for one in card.inputs]
    if sorted(names) != sorted(wanted):
        raise ValueError(f"a {card.task.kind} model has the inputs {sorted(wanted)}; the card has {sorted(names)}")
    for side, stated, needed in (("input", card.inputs, wanted), ("output", card.outputs, kind.outputs)):
        there = {one.name: one for one in stated}
        for name, shape in needed.items():
            if name not in there:
                raise ValueError(f"a {card.task.kind} model needs an {side} {name!r}; there are {sorted(there)}")
            if not there[name].fits(shape):
                ranks = " or ".join(map(str, shape[1]))
                raise ValueError(f"{side} {name!r} must be {shape[0]} of rank {ranks}")


def _check_sections(card: Card) -> None:
    """Which parts of the card a kind has, and which it must not have."""
    kind, name = card.kind, card.task.kind
    for section, reader in (("prices", "prices"), ("text", "text"), ("array", "arrays")):
        if (card.reader == reader) != (getattr(card, section) is not None):
            raise ValueError(f"reader {reader} and the section {section} belong together")
    if (name == "return_quantiles") != (card.quantiles is not None):
        raise ValueError("quantiles stand in the card of a return_quantiles model, and nowhere else")
    for section in ("decoding", "output_vocabulary"):
        if (kind.decoding is not None) != (getattr(card, section) is not None):
            raise ValueError(f"{section} stands in the card of a model that writes text, and nowhere else")
    if card.labels is not None and kind.answer not in ("classes", "labels"):
        raise ValueError(f"labels stand in the card of a model of classes or tags, not in that of a {name} model")
    if name == "tags" and card.labels is None:
        raise ValueError("a tags model needs the names of its tags: labels")


def _check_prices(card: Card) -> None:
    shape = card.entry.shape
    if card.prices and shape[2] != len(card.prices.columns):
        raise ValueError(f"{len(card.prices.columns)} price columns do not fill an input {list(shape)}")
    if card.quantiles is not None and 0.5 not in card.quantiles:
        raise ValueError(f"quantiles {list(card.quantiles)} lack the median, 0.5")


def _check_widths(card: Card) -> None:
    """Holds sizes that are said twice against each other."""
    shape = card.entry.shape
    if card.text and (card.text.column == "tokens") != (card.task.kind == "tags"):
        raise ValueError(f"a {card.task.kind} model does not read the column {card.text.column}")
    if card.text and (shape[2] if len(shape) == 3 else 1) != 1 + card.text.characters:
        raise ValueError(f"a token and {card.text.characters} characters do not fill an input {list(shape)}")
    if card.array and not isinstance(shape[2], int):
        raise ValueError(f"the features of a time step must be a number, not {shape[2]!r}")
    probabilities = next((one.shape[1] for one in card.outputs if one.name == "probabilities"), None)
    if card.labels and isinstance(probabilities, int) and probabilities != len(card.labels):
        raise ValueError(f"{len(card.labels)} labels do not name {probabilities} probabilities")
