"""How a model writes: as its card says, or as it was asked for instead."""

import math
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll.errors import ParameterError
from unroll.features.random import uniforms
from unroll.inference.bundle import Bundle
from unroll.inference.card import stated

_NEVER_WRITTEN = 3
"""Special tokens that no model writes: [PAD], [UNK], <go>."""
_LIMITS: Mapping[str, tuple[float, float]] = {
    "beams": (1, 1000),
    "length_penalty": (0, 10),
    "max_length": (1, 10_000),
    "temperature": (0.01, 100),
    "top_k": (0, 1_000_000),
    "seed": (0, 2**63 - 1),
    "n_best": (1, 1000),
}


@dataclass(frozen=True)
class Wishes:
    """What is asked of a model that writes; None leaves it to the card.

    Attributes:
        beams: Hypotheses that are followed; where tokens are drawn, sequences.
        length_penalty: Log probabilities are divided by the length to this power.
        max_length: Tokens that are written at most.
        temperature: Above 0, tokens are drawn instead of searched for; below 1 the likely ones more often.
        top_k: Draw from so many of the likeliest tokens; 0 for all.
        seed: Of what is drawn. Equal seeds give equal texts.
        n_best: So many answers a row, not only the best.
    """

    beams: int | None = None
    length_penalty: float | None = None
    max_length: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    seed: int | None = None
    n_best: int | None = None


NO_WISHES = Wishes()


@dataclass(frozen=True)
class Decoding:
    """How a model writes, all of it settled; `n_best` 0 gives the best answer alone."""

    beams: int
    length_penalty: float
    max_length: int
    temperature: float
    top_k: int
    seed: int
    n_best: int

    def feeds(self, names: Container[str], rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Those inputs of a graph that say how to write.

        Args:
            names: Of the inputs that it has.
            rows: int64 [batch], the number of each row in its file.
        """
        values: dict[str, NDArray[Any]] = {
            "max_length": np.array(self.max_length, np.int64),
            "beams": np.array(self.beams, np.int64),
            "length_penalty": np.array(self.length_penalty, np.float32),
            "temperature": np.array(self.temperature, np.float32),
            "top_k": np.array(self.top_k, np.int64),
        }
        found = {name: value for name, value in values.items() if name in names}
        if "uniforms" in names:
            found["uniforms"] = (
                uniforms(self.seed, rows, self.beams, self.max_length)
                if self.temperature
                else np.zeros((len(rows), self.beams, self.max_length), np.float32)
            )
        return found


def settled(bundle: Bundle, wishes: Wishes) -> Decoding | None:
    """The card's decoding with what is wished for instead; None for a model that writes nothing.

    Raises:
        ParameterError: A wish is out of bounds, or this kind of model cannot fulfil it.
    """
    card = bundle.card
    wished = {name: value for name, value in vars(wishes).items() if value is not None}
    if card.decoding is None:
        if wished:
            raise ParameterError(
                f"{card.name} is a {card.task.kind} model, which writes no text: leave out {_options(wished)}"
            )
        return None
    _check(wished)
    drawn = [name for name in wished if name in ("temperature", "top_k", "seed")]
    names = {one.name for one in card.inputs}
    if drawn and "temperature" not in names:
        raise ParameterError(f"{card.name} searches for its text and draws nothing: leave out {_options(drawn)}")
    values: dict[str, Any] = {**stated(card.decoding).model_dump(), "seed": 0, "n_best": 0, **wished}
    if values["temperature"] and "beams" not in wished:
        values["beams"] = max(1, values["n_best"])  # what is drawn is drawn independently: no more than is asked for
    if values["n_best"] > values["beams"]:
        if "beams" in wished:
            raise ParameterError(f"{values['n_best']} answers need as many beams, not {values['beams']}")
        values["beams"] = values["n_best"]
    most = bundle.vocabularies[stated(card.output_vocabulary)].size - _NEVER_WRITTEN
    if values["beams"] > most and not values["temperature"]:
        raise ParameterError(
            f"{values['beams']} beams are more than {card.name} has tokens to begin with: at most {most}"
        )
    return Decoding(**values)


def _check(wished: Mapping[str, Any]) -> None:
    for name, value in wished.items():
        least, most = _LIMITS[name]
        if name == "temperature" and value == 0:
            continue  # which searches
        if not (math.isfinite(value) and least <= value <= most):
            between = (
                f"0, or between {least:g} and {most:,g}"
                if name == "temperature"
                else f"between {least:g} and {most:,g}"
            )
            raise ParameterError(f"{_options([name])} is {value}; it must be {between}")


def _options(names: Iterable[str]) -> str:
    return ", ".join("--" + name.replace("_", "-") for name in names)
