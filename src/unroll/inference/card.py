"""The card of a bundle: the model, its inputs and its outputs."""

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from unroll.config.decoding import DecodingConfig
from unroll.domains import domain_of
from unroll.inference.interface import Interface, TensorType

_Value = TypeVar("_Value")
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$")]
"""Name of a file in the bundle."""


class _Part(BaseModel):
    """A part of the card. Unknown keys are errors, types are not converted, and values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Tensor(_Part):
    """An input or output of the graph. A variable dimension has a name instead of a number."""

    name: str
    dtype: Literal["uint8", "int64", "float32"]
    shape: tuple[int | str, ...]
    unit: str = ""

    def fits(self, wanted: TensorType) -> bool:
        """Return whether dtype and rank are the expected ones."""
        return self.dtype == wanted[0] and len(self.shape) in wanted[1]


class CardTask(_Part):
    """The task that the model was trained for."""

    name: str
    domain: str
    kind: str
    topology: str


class PriceInput(_Part):
    """Inputs from prices: the last `window` days of `columns`, in this order."""

    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    target: str
    known: str | None = None
    """Column of the last known price; null for the target itself."""
    window: Annotated[int, Field(ge=1)]
    """Days that the graph reads."""
    every_step: bool = False


class TextInput(_Part):
    """Inputs from texts: how they become token numbers."""

    column: Annotated[str, Field(min_length=1)]
    """Column of the texts; files without it may have a column `text`."""
    pretokenized: bool = False
    """Whether a text may be a list of tokens, each of which gets a label."""
    vocabulary: _Name
    """File of the vocabulary."""
    max_tokens: Annotated[int, Field(ge=1)]
    truncation: bool = True
    """Whether longer texts are truncated; otherwise they are rejected."""
    first_token: Annotated[int, Field(ge=0)] | None = None
    """Token before every text; it does not count towards max_tokens."""
    characters: Annotated[int, Field(ge=0)] = 0
    """Number of characters of each token that the graph also reads."""
    character_vocabulary: _Name | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.characters > 0) != (self.character_vocabulary is not None):
            raise ValueError("characters and character_vocabulary belong together")
        if self.pretokenized and self.first_token is not None:
            raise ValueError("first_token must be null if pretokenized is true: it would get a label")
        return self


class ArrayInput(_Part):
    """Inputs from arrays: a column of lists in a Parquet file."""

    column: Annotated[str, Field(min_length=1)]
    variable_length: bool
    """Whether rows may have different numbers of time steps."""


class Card(_Part):
    """Description of a bundle."""

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
    """File of the vocabulary of generated tokens."""
    decoding: DecodingConfig | None = None
    """The settings that the task was evaluated with."""
    data: dict[str, str] = Field(default_factory=dict)
    """DVC md5 of the data that the model was trained on."""
    metrics: dict[str, Any] = Field(default_factory=dict)

    @property
    def interface(self) -> Interface:
        """The interface of the models of its kind."""
        return interface_of(self.task.domain, self.task.kind)

    @property
    def title(self) -> str:
        """Domain and kind of the task, for messages."""
        return f"{self.task.domain} {self.task.kind}"

    @property
    def entry(self) -> Tensor:
        """The input `inputs`, the values of the rows."""
        return next(one for one in self.inputs if one.name == "inputs")

    @property
    def takes_lengths(self) -> bool:
        """Whether the graph has an input for the lengths of the rows."""
        return any(one.name == "lengths" for one in self.inputs)

    @property
    def vocabularies(self) -> tuple[str, ...]:
        """Files of all vocabularies."""
        of_text = (self.text.vocabulary, self.text.character_vocabulary) if self.text else ()
        return tuple(dict.fromkeys(name for name in (*of_text, self.output_vocabulary) if name))

    @model_validator(mode="after")
    def _fits(self) -> Self:
        # Later checks rely on earlier ones.
        for check in (_check_sections, _check_tensors, _check_prices, _check_widths):
            check(self)
        return self


def required(part: _Value | None) -> _Value:
    """Return a part of a card that its kind of model always has."""
    if part is None:
        raise ValueError("the card lacks this part, which is for another kind of model")
    return part


def quantile_name(level: float) -> str:
    """Return the name of the column of a quantile: `q10` for 0.1, `q2.5` for 0.025."""
    return f"q{round(100 * level, 6):g}"


def interface_of(domain: str, kind: str) -> Interface:
    """Return the interface of the models of a kind of task.

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
        raise ValueError(f"{len(card.prices.columns)} price columns do not match an input of shape {list(shape)}")
    if card.quantiles is not None and 0.5 not in card.quantiles:
        raise ValueError(f"quantiles {list(card.quantiles)} lack the median, 0.5")


def _check_widths(card: Card) -> None:
    """Check sizes that are in the card twice."""
    shape = card.entry.shape
    if card.text and card.text.pretokenized != ("labels" in card.interface.output.tensors):
        raise ValueError(f"text.pretokenized must be {not card.text.pretokenized} for a {card.title} model")
    if card.text and (shape[2] if len(shape) == 3 else 1) != 1 + card.text.characters:
        raise ValueError(f"a token and {card.text.characters} characters do not match an input of shape {list(shape)}")
    if card.array and not isinstance(shape[2], int):
        raise ValueError(f"the features of a time step must be a number, not {shape[2]!r}")
    probabilities = next((one.shape[1] for one in card.outputs if one.name == "probabilities"), None)
    if card.labels and isinstance(probabilities, int) and probabilities != len(card.labels):
        raise ValueError(f"{len(card.labels)} labels do not match {probabilities} probabilities")
