"""The card of a bundle: the model, its inputs and its outputs."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from unroll.config.decoding import DecodingConfig
from unroll.domains import domain_of
from unroll.errors import ParameterError
from unroll.inference.interface import Interface

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


class SeriesInput(_Part):
    """Inputs from series: the last `history` steps of the columns, and what is known of the next `horizon` steps."""

    targets: Annotated[tuple[str, ...], Field(min_length=1)]
    inputs: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    history: Annotated[int, Field(ge=1)]
    horizon: Annotated[int, Field(ge=1)]
    step: tuple[int, Literal["seconds", "weekdays", "months"], bool]
    """Step between the times: number, unit, and whether times are last days of months."""
    periods: tuple[str, ...] = ()
    """Periods of the calendar whose sine and cosine the graph reads after the columns."""
    fill: Literal["none", "previous", "linear"] = "none"


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


class ArrayInput(_Part):
    """Inputs from arrays: a column of lists in a Parquet file."""

    column: Annotated[str, Field(min_length=1)]
    variable_length: bool
    """Whether rows may have different numbers of time steps."""
    sample_rate: Annotated[int, Field(ge=1)] | None = None
    """Samples a second, if a row is sound; a time step is then a number of samples, the last one filled with zeros."""


class Card(_Part):
    """Description of a bundle."""

    format: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    task: CardTask
    inputs: Annotated[tuple[Tensor, ...], Field(min_length=1)]
    outputs: Annotated[tuple[Tensor, ...], Field(min_length=1)]
    prices: PriceInput | None = None
    series: SeriesInput | None = None
    quantiles: tuple[float, ...] | None = None
    text: TextInput | None = None
    array: ArrayInput | None = None
    labels: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Names of the classes or tags, by number."""
    output_vocabulary: _Name | None = None
    """File of the vocabulary of generated tokens."""
    decoding: DecodingConfig | None = None
    """The settings that the task was evaluated with."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings with which the files of the dataset were read, and files to score are read, except the defaults."""
    data: dict[str, str] = Field(default_factory=dict)
    """DVC md5 of the data that the model was trained on."""
    metrics: dict[str, Any] = Field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    """Sentences about the data and splits that the metrics are to be read with."""

    @property
    def interface(self) -> Interface:
        """The interface of the models of its kind."""
        return interface_of(self.task.domain, self.task.kind)

    @property
    def file_settings(self) -> Any:
        """The settings of files as the reader of its kind takes them, an instance of `interface.reader.settings`."""
        return self.interface.reader.settings.model_validate_json(json.dumps(self.settings))

    def with_settings(self, changes: Mapping[str, Any]) -> "Card":
        """Return the card with other settings of files.

        Raises:
            ParameterError: A setting is unknown to models of its kind, or has a value that it cannot have.
        """
        card = self.model_copy(update={"settings": {**self.settings, **changes}})
        try:
            _ = card.file_settings
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            raise ParameterError(f"settings of files for {self.title} models: {faults}") from None
        return card

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
        """Check that the card has what its kind of model reads and gives. Sizes are checked by the tests of exports."""
        interface = self.interface
        _ = self.file_settings
        outputs = interface.output.tensors.keys()
        generates, labeled = interface.decoding is not None, {"label", "labels", "symbol_probabilities"} & outputs
        for section, needed in {
            "prices": interface.reader.section == "prices",
            "series": interface.reader.section == "series",
            "text": interface.reader.section == "text",
            "array": interface.reader.section == "array",
            "quantiles": bool({"quantiles", "log_return_quantiles"} & outputs),
            "decoding": generates,
            "output_vocabulary": generates,
            "labels": bool(labeled) and (self.text is not None or self.labels is not None),
        }.items():
            if needed != (getattr(self, section) is not None):
                raise ValueError(f"a {self.title} model {'needs' if needed else 'has no'} {section}")
        lengths = {"lengths": ("int64", (1,))} if self.text or (self.array and self.array.variable_length) else {}
        inputs = {"inputs": interface.inputs, **(interface.decoding or {}), **lengths}
        if (names := {one.name for one in self.inputs}) != inputs.keys():
            raise ValueError(f"a {self.title} model has the inputs {sorted(inputs)}; the card has {sorted(names)}")
        given = {one.name: one for one in (*self.inputs, *self.outputs)}
        for name, (dtype, ranks) in {**inputs, **interface.output.tensors}.items():
            one = given.get(name)
            if one is None or one.dtype != dtype or len(one.shape) not in ranks:
                raise ValueError(f"a {self.title} model needs {name!r}, {dtype} of rank {' or '.join(map(str, ranks))}")
        return self


def required(part: _Value | None) -> _Value:
    """Return a part of a card that its kind of model always has."""
    if part is None:
        raise ValueError("the card lacks this part: it describes another kind of model")
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
