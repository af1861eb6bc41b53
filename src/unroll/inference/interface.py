"""What the bundles of one kind of task take and give. Each domain's `reader.py` has an `Interface` for each task."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unroll.inference.forms import Form

if TYPE_CHECKING:
    from unroll.inference.bundle import Bundle
    from unroll.inference.card import Card
    from unroll.inference.columns import Context
    from unroll.inference.reference import Expectation

Verb = Literal["predict", "translate", "generate", "classify"]
TensorType = tuple[str, tuple[int, ...]]
"""A dtype, and the ranks that are allowed."""
Numbers = NDArray[np.float64]
Columns = dict[str, Any]
"""Arrays of numpy or Arrow, by the name of the column."""

SEARCH: Mapping[str, TensorType] = {
    "max_length": ("int64", (0,)),
    "beams": ("int64", (0,)),
    "length_penalty": ("float32", (0,)),
}
"""Inputs of a graph that decodes by beam search."""
SAMPLE: Mapping[str, TensorType] = {
    **SEARCH,
    "temperature": ("float32", (0,)),
    "top_k": ("int64", (0,)),
    "uniforms": ("float32", (3,)),
}
"""Inputs of a graph that also samples."""


@dataclass(frozen=True)
class InputReader:
    """How files become batches of rows for a graph.

    Attributes:
        name: What it reads, for messages.
        section: The section of the card that it needs; None for none.
        forms: File formats that it reads.
        read: (path, its form, bundle) → the rows of the file, in batches of any size.
        profiled: Names of the columns of `profile`.
        profile: (batch, card) → float64 [row] by name, numbers that describe each row, for bounds and drift; NaN where
            a row has no such number.
        bounds: (profile of the training split, card) → what every row has to satisfy.
    """

    name: str
    section: Literal["prices", "text", "array"] | None
    forms: tuple[Form, ...]
    read: Callable[[Path, Form, "Bundle"], Iterator[pa.RecordBatch]]
    profiled: tuple[str, ...]
    profile: Callable[[pa.RecordBatch, "Card"], dict[str, Numbers]]
    bounds: Callable[[Mapping[str, Numbers], "Card"], tuple["Expectation", ...]]


@dataclass(frozen=True)
class OutputColumns:
    """How the outputs of a graph become columns of predictions.

    Attributes:
        tensors: Outputs that the graph must have.
        fields: The columns, in order.
        columns: (outputs, their batch, context) → values of the columns.
        summary: (predictions, card) → what drift of the predictions is seen in, besides `score`.
        nullable: Columns that may be NaN in a row; in other columns that is an error.
    """

    tensors: Mapping[str, TensorType]
    fields: Callable[["Context"], Sequence[tuple[str, pa.DataType]]]
    columns: Callable[[Mapping[str, NDArray[Any]], pa.RecordBatch, "Context"], Columns]
    summary: Callable[[pa.RecordBatch, "Card"], Columns]
    nullable: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Interface:
    """What the bundles of one kind of task take and give.

    Attributes:
        inputs: Type of the graph's input `inputs`.
        reader: How files are read.
        output: How outputs become predictions.
        decoding: Inputs that set how text is generated; empty for a model that generates none.
        verb: The command that tries such a model on one line of text.
    """

    inputs: TensorType
    reader: InputReader
    output: OutputColumns
    decoding: Mapping[str, TensorType] | None = None
    verb: Verb = "predict"
