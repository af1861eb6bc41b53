"""Decoding settings of a bundle's card, overridden by a caller's, as inputs of the graph."""

from collections.abc import Container, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unroll.config.decoding import DecodingConfig
from unroll.errors import ParameterError
from unroll.features.random import uniforms
from unroll.features.special_tokens import NEVER_GENERATED
from unroll.inference.bundle import Bundle
from unroll.inference.card import required

_SAMPLING = ("temperature", "top_k", "seed")


def resolve(bundle: Bundle, overrides: DecodingConfig | None) -> DecodingConfig | None:
    """Return the card's settings with the caller's in their place; None for a model that writes nothing.

    Raises:
        ParameterError: This model cannot decode as the caller asks.
    """
    card = bundle.card
    overrides = overrides or DecodingConfig()
    given = overrides.model_fields_set
    if card.decoding is None:
        if given:
            raise ParameterError(
                f"{card.name} is a {card.task.kind} model, which writes no text: leave out {_options(given)}"
            )
        return None
    sampling = given & set(_SAMPLING)
    if sampling and all(one.name != "temperature" for one in card.inputs):
        raise ParameterError(f"{card.name} uses beam search and cannot sample: leave out {_options(sampling)}")
    decoding = card.decoding.override(overrides)
    if "beams" not in given:
        # Samples are independent of each other, so none beyond those that are returned is of use.
        beams = decoding.n_best if decoding.temperature else max(decoding.beams, decoding.n_best)
        decoding = decoding.model_copy(update={"beams": beams})
    if decoding.n_best > decoding.beams:
        raise ParameterError(f"--n-best {decoding.n_best} needs at least as many beams; --beams is {decoding.beams}")
    first_tokens = bundle.vocabularies[required(card.output_vocabulary)].size - len(NEVER_GENERATED)
    if decoding.beams > first_tokens and not decoding.temperature:
        raise ParameterError(
            f"--beams is {decoding.beams}, but {card.name} can begin with only {first_tokens} tokens; lower it to that"
        )
    return decoding


def graph_inputs(
    decoding: DecodingConfig, names: Container[str], rows: NDArray[np.int64]
) -> dict[str, NDArray[np.generic]]:
    """Return the settings that a graph with inputs of these names takes.

    `rows` int64 [batch] are the rows' numbers in their file; together with the seed they determine what is sampled.
    """
    values: dict[str, NDArray[Any]] = {
        "max_length": np.array(decoding.max_length, np.int64),
        "beams": np.array(decoding.beams, np.int64),
        "length_penalty": np.array(decoding.length_penalty, np.float32),
        "temperature": np.array(decoding.temperature, np.float32),
        "top_k": np.array(decoding.top_k, np.int64),
    }
    found: dict[str, NDArray[np.generic]] = {name: value for name, value in values.items() if name in names}
    if "uniforms" in names:
        found["uniforms"] = (
            uniforms(decoding.seed, rows, decoding.beams, decoding.max_length)
            if decoding.temperature
            else np.zeros((len(rows), decoding.beams, decoding.max_length), np.float32)
        )
    return found


def _options(names: Iterable[str]) -> str:
    return ", ".join("--" + name.replace("_", "-") for name in DecodingConfig.model_fields if name in names)
