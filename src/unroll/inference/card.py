"""The card of a bundle: what the model is, what goes in, what comes out."""

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from unroll.config.decoding import DecodingConfig
from unroll.domains import domain_of
from unroll.inference.interface import Interface, TensorType

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

    def fits(self, wanted: TensorType) -> bool:
        """Whether dtype and rank are as wanted."""
        return self.dtype == wanted[0] and len(self.shape) in wanted[1]


class CardTask(_Part):
    """The task that the model was trained for."""

    name: str
    domain: str
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

    column: Annotated[str, Field(min_length=1)]
    variable_length: bool
    """Whether rows may have different numbers of time steps."""


class Card(_Part):
    """What the bundle says about itself."""

    format: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    task: CardTask
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
    def interface(self) -> Interface:
        """What models of its kind take and give."""
        return interface_of(self.task.domain, self.task.kind)

    @property
    def title(self) -> str:
        """Domain and kind of the task, for messages."""
        return f"{self.task.domain} {self.task.kind}"

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
        for check in (_check_sections, _check_tensors, _check_prices, _check_widths):
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


def interface_of(domain: str, kind: str) -> Interface:
    """Return what the models of a kind of task take and give.

    Raises:
        ValueError: There is no such domain or kind.
    """
    try:
        interfaces: dict[str, Interface] = domain_of(domain).part("reader").INTERFACES
    except KeyError:
        raise ValueError(f"this version of unroll has no domain {domain!r}") from None
    if kind not in interfaces:
        raise ValueError(f"domain {domain!r} has no task of kind {kind!r}; it has {', '.join(interfaces)}")
    return interfaces[kind]


def _check_tensors(card: Card) -> None:
    interface = card.interface
    wanted = {"inputs": interface.inputs, **(interface.decoding or {})}
    if card.text or (card.array and card.array.variable_length):
        wanted["lengths"] = ("int64", (1,))
    names = [one.name for one in card.inputs]
    if sorted(names) != sorted(wanted):
        raise ValueError(f"a {card.title} model has the inputs {sorted(wanted)}; the card has {sorted(names)}")
    for side, given, needed in (("input", card.inputs, wanted), ("output", card.outputs, interface.output.tensors)):
        known = {one.name: one for one in given}
        for name, shape in needed.items():
            if name not in known:
                raise ValueError(f"a {card.title} model needs an {side} {name!r}; the card has {sorted(known)}")
            if not known[name].fits(shape):
                ranks = " or ".join(map(str, shape[1]))
                raise ValueError(f"{side} {name!r} must be {shape[0]} of rank {ranks}")


def _check_sections(card: Card) -> None:
    """Check which sections the card has."""
    interface = card.interface
    for section in ("prices", "text", "array"):
        if (interface.reader.section == section) != (getattr(card, section) is not None):
            raise ValueError(f"the section {section} does not match a {card.title} model")
    if ("log_return_quantiles" in interface.output.tensors) != (card.quantiles is not None):
        raise ValueError("quantiles belong in the card of a quantile model, and in no other")
    for section in ("decoding", "output_vocabulary"):
        if (interface.decoding is not None) != (getattr(card, section) is not None):
            raise ValueError(f"{section} belongs in the card of a model that generates text, and in no other")
    labeled = {"label", "labels"} & set(interface.output.tensors)
    if card.labels is not None and not labeled:
        raise ValueError(f"labels belong in the card of a classifier, not in that of a {card.title} model")
    if card.labels is None and card.text and labeled:
        raise ValueError("a classifier of texts needs labels")


def _check_prices(card: Card) -> None:
    shape = card.entry.shape
    if card.prices and shape[2] != len(card.prices.columns):
        raise ValueError(f"{len(card.prices.columns)} price columns do not fill an input {list(shape)}")
    if card.quantiles is not None and 0.5 not in card.quantiles:
        raise ValueError(f"quantiles {list(card.quantiles)} lack the median, 0.5")


def _check_widths(card: Card) -> None:
    """Holds sizes that are said twice against each other."""
    shape = card.entry.shape
    if card.text and (card.text.column == "tokens") != ("labels" in card.interface.output.tensors):
        raise ValueError(f"a {card.title} model does not read the column {card.text.column}")
    if card.text and (shape[2] if len(shape) == 3 else 1) != 1 + card.text.characters:
        raise ValueError(f"a token and {card.text.characters} characters do not fill an input {list(shape)}")
    if card.array and not isinstance(shape[2], int):
        raise ValueError(f"the features of a time step must be a number, not {shape[2]!r}")
    probabilities = next((one.shape[1] for one in card.outputs if one.name == "probabilities"), None)
    if card.labels and isinstance(probabilities, int) and probabilities != len(card.labels):
        raise ValueError(f"{len(card.labels)} labels do not name {probabilities} probabilities")
