"""Reader of sequences of numbers, such as frames of sound or columns of pixels, from Parquet."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from unroll.errors import FormatError
from unroll.inference.batches import with_reasons
from unroll.inference.bundle import Bundle
from unroll.inference.card import Card, required
from unroll.inference.feeds import steps_of
from unroll.inference.ids import parquet_ids_are_integers, row_ids
from unroll.inference.interface import InputReader, Numbers
from unroll.inference.reference import Expectation, between
from unroll.sources.forms import Form
from unroll.sources.parquet import Chunk, open_parquet, parquet_batches

_ROWS = 256
"""Rows that are read together; a recording of a minute takes more than 1 MB."""


def read_arrays(path: Path, form: Form, bundle: Bundle, chunk: Chunk | None = None) -> Iterator[pa.RecordBatch]:
    """Read the card's column. A cell is a list of time steps, or one flat list of their values, step by step.

    Yields:
        Batches of row_id, inputs list<uint8 or float32> (the values of all time steps) and reason string. A row cannot
        be scored and has no inputs if it lacks its id, if it has no time steps or another number of them than the graph
        reads, if a time step has another number of values, or if a value is missing, not finite or out of range.

    Raises:
        FormatError: The file is damaged, lacks the column, or has other values in it.
    """
    del form
    card, spec = bundle.card, required(bundle.card.array)
    # Without a number in the card, all rows have as many time steps as the first one.
    steps: Any = None if spec.variable_length else card.entry.shape[1]
    file = open_parquet(path, chunk)
    names = file.schema_arrow.names
    if names.count(spec.column) != 1:
        raise FormatError(f"{path} needs one column {spec.column!r}; it has {', '.join(names) or 'none'}")
    has_ids = "row_id" in names
    whole = not has_ids or parquet_ids_are_integers(file, path, "row_id")
    first = chunk.first_row if chunk else 0
    for batch in parquet_batches(file, path, ["row_id", spec.column] if has_ids else [spec.column], _ROWS):
        if not len(batch):
            continue
        ids = batch.column("row_id").to_pylist() if has_ids else range(first, first + len(batch))
        column, reasons = row_ids(ids, whole, first)
        _check_type(batch.column(spec.column).type, card, path)
        values: list[NDArray[Any]] = []
        for row, cell in enumerate(batch.column(spec.column)):
            found = _values(cell.values, card)
            if isinstance(steps, str) and not isinstance(found, str):
                steps = len(found)
            if steps is not None and not isinstance(found, str) and len(found) != steps:
                found = f"{len(found)} time steps, expected {steps} as in all rows"
            if isinstance(found, str):
                reasons.setdefault(row, found)
            values.append(np.empty(0, card.entry.dtype) if row in reasons else np.ravel(found))
        ends = np.cumsum([0, *map(len, values)])
        inputs = pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), pa.array(np.concatenate(values)))
        yield with_reasons(pa.record_batch({"row_id": column, "inputs": inputs}), reasons)
        first += len(batch)


def _check_type(kind: pa.DataType, card: Card, path: Path) -> None:
    width = card.entry.shape[2]
    if not _is_list(kind):
        raise FormatError(f"{path}: the column is {kind}, expected a list of time steps of {width} numbers")
    numbers = kind.value_type.value_type if _is_list(kind.value_type) else kind.value_type
    if not (pa.types.is_integer(numbers) or pa.types.is_floating(numbers)):
        raise FormatError(f"{path}: the values are {numbers}, expected numbers")
    if card.entry.dtype == "uint8" and not pa.types.is_integer(numbers):
        raise FormatError(f"{path}: the values are {numbers}, expected whole numbers 0–255")


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _values(cell: pa.Array | None, card: Card) -> NDArray[Any] | str:
    width = int(card.entry.shape[2])
    if cell is None or not len(cell):
        return "there is no time step"
    if _is_list(cell.type):
        widths = pc.list_value_length(cell).fill_null(0).to_numpy(zero_copy_only=False)
        if cell.null_count or (widths != width).any():
            widths = np.where(cell.is_null().to_numpy(zero_copy_only=False), 0, widths)
            return f"a time step of {widths[widths != width][0]} values, expected {width}"
        cell = cell.flatten()
    elif required(card.array).sample_rate:
        zeros = pa.array(np.zeros(-len(cell) % width)).cast(cell.type)
        cell = pa.concat_arrays([cell, zeros])
    elif len(cell) % width:
        return f"{len(cell)} values, which is not a multiple of {width}, the values of a time step"
    if cell.null_count:
        return "a value is missing"
    values: NDArray[Any] = cell.to_numpy(zero_copy_only=False)
    if card.entry.dtype == "float32":
        if not np.isfinite(values).all():
            return "a value is not finite"
    elif values.min() < 0 or values.max() > 255:
        return f"a value is {values[(values < 0) | (values > 255)][0]}, expected whole numbers 0–255"
    with np.errstate(over="ignore"):
        return values.astype(card.entry.dtype).reshape(-1, width)


def _profile(batch: pa.RecordBatch, card: Card) -> dict[str, Numbers]:
    steps = steps_of(batch, card)
    values = batch.column("inputs").flatten().to_numpy().astype(np.float64)
    present = steps > 0
    sizes = steps[present] * int(card.entry.shape[2])
    starts = np.cumsum(sizes) - sizes
    found = {name: np.full(len(steps), np.nan) for name in ("mean", "deviation", "least", "most")}
    if len(sizes):
        # Infinite values have no mean; the bounds find them.
        with np.errstate(invalid="ignore", over="ignore"):
            means = np.add.reduceat(values, starts) / sizes
            squares = np.add.reduceat((values - np.repeat(means, sizes)) ** 2, starts) / sizes
        found["mean"][present], found["deviation"][present] = means, np.sqrt(squares)
        found["least"][present] = np.minimum.reduceat(values, starts)
        found["most"][present] = np.maximum.reduceat(values, starts)
    return {"steps": steps.astype(np.float64), **found}


def _bounds(columns: Mapping[str, Numbers], card: Card) -> tuple[Expectation, ...]:
    del card
    low, high = columns["least"].min(), columns["most"].max()
    found = [
        between(
            "the row has time steps, at most twice the number of the longest in training",
            "steps",
            (1.0, 2 * float(columns["steps"].max())),
        ),
        Expectation(description="all values are numbers", column="least"),
        between("no value is far below those in training", "least", (float(low - (high - low)), None)),
        between("no value is far above those in training", "most", (None, float(high + (high - low)))),
    ]
    if (columns["deviation"] > 0).all():
        found.append(between("the values differ", "deviation", (0.0, None), strict_min=True))
    return tuple(found)


def _divisible(card: Card) -> bool:
    # Elsewhere the first row of the file says how many time steps all of them have.
    return required(card.array).variable_length or isinstance(card.entry.shape[1], int)


ARRAY_READER = InputReader(
    "arrays",
    "array",
    ("parquet",),
    read_arrays,
    ("steps", "mean", "deviation", "least", "most"),
    _profile,
    _bounds,
    divisible=_divisible,
)
