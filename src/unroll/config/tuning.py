"""`tune` in an experiment's row of params.yaml: which settings are searched, and for how long.

Not in `experiments.py`, which every training depends on: a change of the search makes no training stale.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, ValidationError, model_validator

from unroll.config.experiments import Experiment, Positive
from unroll.config.section import Section
from unroll.errors import ParameterError

_SEARCHED = ("model", "training")
_FIXED = ("training.seeds", "training.device", "training.threads")
"""They are not settings to choose by a metric: the best seed is luck."""


class _Range(Section):
    @property
    def values(self) -> tuple[Any, ...]:
        """The ends of the range."""
        return (self.low, self.high)  # type: ignore[attr-defined]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        low, high = self.values
        if low >= high:
            raise ValueError(f"low is {low:g} and high {high:g}; low has to be the smaller one")
        if self.log and low <= 0:  # type: ignore[attr-defined]
            raise ValueError(f"log needs a low above 0, not {low:g}")
        return self


class IntRange(_Range):
    """Whole numbers from low to high."""

    kind: Literal["int"]
    low: int
    high: int
    step: Positive = 1
    """Distance of the numbers, counted from low."""
    log: bool = False
    """Search on a logarithmic scale, for ranges over powers of ten; it has no step."""

    @model_validator(mode="after")
    def _steps(self) -> Self:
        if self.log and self.step != 1:
            raise ValueError("log has no step: leave one of them out")
        return self


class FloatRange(_Range):
    """Numbers from low to high, of three significant digits."""

    kind: Literal["float"]
    low: float
    high: float
    log: bool = False
    """Search on a logarithmic scale, as for learning rates."""


class Choices(Section):
    """Values to choose from; each may be anything that the parameter may be, a list of layers as well."""

    kind: Literal["categorical"]
    choices: Annotated[tuple[JsonValue, ...], Field(min_length=2)]

    @property
    def values(self) -> tuple[Any, ...]:
        """All choices."""
        return self.choices


Dimension = Annotated[IntRange | FloatRange | Choices, Field(discriminator="kind")]


class Tuning(Section):
    """A search for better settings: `unroll tune`. No stage of DVC reads it."""

    trials: Annotated[int, Field(ge=2)] = 30
    """Settings to try; the first is that of the row itself, if it lies in the space."""
    timeout: Annotated[float, Field(gt=0)] | None = None
    """Seconds after which no other trial begins."""
    retrain: Annotated[int, Field(ge=2)] = 3
    """Fresh seeds with which the best and the present settings are trained at the end, to be compared on the test
    split."""
    space: Annotated[dict[str, Dimension], Field(min_length=1)]
    """Parameters of `model` and `training` by dotted name, such as `training.learning_rate` or
    `model.layers.0.units`, and their ranges."""


class ExperimentRow(Experiment):
    """An experiment with its search."""

    tune: Tuning | None = None

    @model_validator(mode="after")
    def _space_fits(self) -> Self:
        faults = [] if self.tune is None else list(_faults(self, self.tune.space))
        if faults:
            raise ValueError("; ".join(faults))
        return self


def with_values(experiment: Experiment, values: Mapping[str, Any]) -> Experiment:
    """Return an experiment with other values of some parameters, checked as those of params.yaml are.

    Raises:
        ParameterError: A parameter does not exist, or the values do not fit it or each other.
    """
    content = experiment.model_dump(mode="json", exclude={"tune"})
    for name, value in values.items():
        inner, key = _locate(content, name)
        inner[key] = value
    try:
        return Experiment.model_validate_json(json.dumps(content))
    except ValidationError as error:
        found = "; ".join(dict.fromkeys(fault["msg"].removeprefix("Value error, ") for fault in error.errors()))
        given = ", ".join(f"{name} = {json.dumps(value)}" for name, value in values.items())
        raise ParameterError(f"{given}: {found}") from None


def value_of(experiment: Experiment, name: str) -> Any:
    """Return the value of a parameter by its dotted name, defaults included."""
    inner, key = _locate(experiment.model_dump(mode="json"), name)
    return inner[key]


def _locate(content: dict[str, Any], name: str) -> tuple[Any, Any]:
    """Return the mapping or list that holds a parameter, and its key there."""
    inner: Any = None
    found: Any = content
    key: Any = ""
    for part in name.split("."):
        inner, key = found, int(part) if isinstance(found, list) and part.isdecimal() else part
        try:
            found = inner[key]
        except (KeyError, IndexError, TypeError):
            raise ParameterError(f"{name}: unknown parameter (misspelled?)") from None
    return inner, key


def _faults(experiment: Experiment, space: Mapping[str, Dimension]) -> Iterator[str]:
    for name, dimension in space.items():
        if name.partition(".")[0] not in _SEARCHED or name in _FIXED:
            searched = " and ".join(f"{one}." for one in _SEARCHED)
            yield f"tune.space.{name}: only parameters below {searched} are searched, without {', '.join(_FIXED)}"
            continue
        inside = [other for other in space if other.startswith(f"{name}.")]
        if inside:
            yield f"tune.space.{name}: it contains {inside[0]}; leave one of them out"
        for value in dimension.values:
            try:
                with_values(experiment, {name: value})
            except ParameterError as error:
                yield f"tune.space.{error}"
                break
