"""Inputs and outputs of the bundles of a kind of task. `reader.py` of a domain has an `Interface` for each kind."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.config.sources import FileSettings
from unroll.sources.forms import Form
from unroll.sources.parquet import Chunk

if TYPE_CHECKING:
    from unroll.inference.bundle import Bundle
    from unroll.inference.card import Card
    from unroll.inference.columns import Context
    from unroll.inference.reference import Expectation

Verb = Literal["predict", "translate", "generate", "classify"]
TensorType = tuple[str, tuple[int, ...]]
"""A dtype, and the allowed ranks."""
Numbers = NDArray[np.float64]
Columns = dict[str, Any]
"""NumPy or Arrow arrays, by the name of the column."""

SEARCH: Mapping[str, TensorType] = {
    "max_length": ("int64", (0,)),
    "beams": ("int64", (0,)),
    "length_penalty": ("float32", (0,)),
}
"""Inputs of a graph that generates text by beam search."""
SAMPLE: Mapping[str, TensorType] = {
    **SEARCH,
    "temperature": ("float32", (0,)),
    "top_k": ("int64", (0,)),
    "uniforms": ("float32", (3,)),
}
"""Inputs of a graph that also samples."""


@dataclass(frozen=True)
class InputReader:
    """Reads files into batches of rows for a graph.

    Attributes:
        name: What it reads, for messages.
        section: The section of the card that it needs, if any.
        forms: File formats that it reads.
        read: (path, form, bundle, chunk) → rows of the file, or of a chunk of it, in batches of any size.
        profiled: Names of the columns of `profile`.
        profile: (batch, card) → numbers that describe each row, float64 [row] by name, for bounds and drift; NaN if a
            row has no such number.
        bounds: (profile of the training split, card) → bounds that every row has to be within.
        settings: The settings of files that it takes.
        divisible: (card) → whether it can read a chunk of a Parquet file as it reads these rows in the whole file.
    """

    name: str
    section: Literal["prices", "series", "text", "array"] | None
    forms: tuple[Form, ...]
    read: Callable[[Path, Form, "Bundle", Chunk | None], Iterator[pa.RecordBatch]]
    profiled: tuple[str, ...]
    profile: Callable[[pa.RecordBatch, "Card"], dict[str, Numbers]]
    bounds: Callable[[Mapping[str, Numbers], "Card"], tuple["Expectation", ...]]
    settings: type[FileSettings] = FileSettings
    divisible: Callable[["Card"], bool] = lambda _: False


@dataclass(frozen=True)
class OutputColumns:
    """Turns the outputs of a graph into columns of predictions.

    Attributes:
        tensors: Outputs that the graph must have.
        columns: (outputs, batch, context) → the columns, in order.
        summary: (predictions, card) → numbers and categories besides `score` in which drift of predictions shows.
        nullable: Columns that may lack values; in other columns NaN is an error.
    """

    tensors: Mapping[str, TensorType]
    columns: Callable[[Mapping[str, NDArray[Any]], pa.RecordBatch, "Context"], dict[str, pa.Array]]
    summary: Callable[[pa.RecordBatch, "Card"], Columns]
    nullable: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Interface:
    """Inputs and outputs of the bundles of a kind of task.

    Attributes:
        inputs: Type of the graph's input `inputs`.
        reader: Reader of files.
        output: Columns of predictions.
        decoding: Inputs of the graph that control the generation of text; None for a model that generates none.
        verb: The command that tries such a model on one text.
    """

    inputs: TensorType
    reader: InputReader
    output: OutputColumns
    decoding: Mapping[str, TensorType] | None = None
    verb: Verb = "predict"
