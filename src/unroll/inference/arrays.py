"""Parquet files of sequences of numbers, such as frames of sound or columns of pixels, ready for the graph."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from unroll.errors import DataError, FormatError
from unroll.inference.batches import SORTED_TOGETHER, Reading, first_null, guarded, is_whole, rebatched, row_ids
from unroll.inference.bundle import Bundle
from unroll.inference.card import Card, stated
from unroll.inference.forms import Form

Steps = NDArray[np.int64]
"""int64 [row]: number of time steps."""


def read_arrays(path: Path, form: Form, bundle: Bundle, rows: int) -> Reading:
    """Reads the column that the card names: a list of time steps a row, or of all their values one after the other.

    Returns:
        Batches of row_id, inputs list<uint8 or float32> (all values of a row's time steps) and reason string: a row
        that has no time step, or a value that is no finite number, cannot be scored.

    Raises:
        FormatError: While the batches are read: the file is damaged, or lacks the column.
        DataError: The same: a time step has too many values or too few, or a row too many time steps or too few.
    """
    del form
    size = rows * SORTED_TOGETHER
    return Reading(rebatched(guarded(_batches(path, bundle.card, size), path, "sequence"), size))


def _batches(path: Path, card: Card, rows: int) -> Iterator[pa.RecordBatch]:
    name, width = stated(card.array).column, int(card.entry.shape[2])
    with path.open("rb") as raw, pq.ParquetFile(raw, buffer_size=1 << 20, pre_buffer=False) as file:
        there = file.schema_arrow.names
        if there.count(name) != 1:
            raise FormatError(f"{path} needs one column {name!r}; it has {', '.join(there) or 'none'}")
        has_ids = there.count("row_id") == 1
        whole: bool | None = None
        wanted: Any = card.entry.shape[1]
        first = 0
        for batch in file.iter_batches(rows, columns=["row_id", name] if has_ids else [name], use_threads=False):
            if not len(batch):
                continue
            ids = batch.column("row_id").to_pylist() if has_ids else range(first, first + len(batch))
            whole = is_whole(ids[0]) if whole is None else whole
            values, steps = _values(batch.column(name), width, path, first)
            if not stated(card.array).varying:
                wanted = _check_steps(steps, wanted, path, first)
            reasons = _reasons(values, steps)
            ends = np.concatenate([[0], np.cumsum(steps)]) * width
            numbers = pa.array(_cast(values, steps, card.entry.dtype, path, first).reshape(-1))
            inputs = pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), numbers)
            yield pa.record_batch(
                {
                    "row_id": row_ids(ids, whole, path, first),
                    "inputs": inputs,
                    "reason": pa.array(reasons, pa.string()),
                }
            )
            first += len(batch)


def _values(column: pa.Array, width: int, path: Path, first: int) -> tuple[NDArray[Any], Steps]:
    """Values [step, feature] of all rows after each other, and the steps of each row; a row that is null has none."""
    kind = column.type
    if not _is_list(kind):
        raise FormatError(f"{path}: the column is {kind}, expected a list of time steps of {width} numbers")
    sizes = _sizes(column)
    flat = column.flatten()
    if _is_list(flat.type):
        steps = sizes
        widths = _sizes(flat)
        wrong = widths != width
        if wrong.any():
            step = int(wrong.argmax())
            raise DataError(
                f"{path}, row {first + _row_of(step, steps)}: a time step of {widths[step]} values, expected {width}"
            )
        flat = flat.flatten()
    else:
        steps = sizes // width
        wrong = sizes % width != 0
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(
                f"{path}, row {first + row}: {sizes[row]} values, which are no whole number of time steps of {width}"
            )
    if not (pa.types.is_integer(flat.type) or pa.types.is_floating(flat.type)):
        raise FormatError(f"{path}: the values are {flat.type}, expected numbers")
    if flat.null_count:
        raise DataError(f"{path}, row {first + _row_of(first_null(flat) // width, steps)}: a value is missing")
    return flat.to_numpy(zero_copy_only=False).reshape(-1, width), steps


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _sizes(column: pa.Array) -> Steps:
    sizes: Steps = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return sizes


def _row_of(step: int, steps: Steps) -> int:
    """Row of a time step. Rows of 2, 0 and 3 steps: step 2 is row 2's."""
    return int(np.searchsorted(np.cumsum(steps), step, side="right"))


def _check_steps(steps: Steps, wanted: int | str, path: Path, first: int) -> int | str:
    """Holds all rows to one number of steps: the card's, or that of the first row that has any; gives it back."""
    there = steps[steps > 0]
    if isinstance(wanted, str):
        if not len(there):
            return wanted
        wanted = int(there[0])
    wrong = (steps > 0) & (steps != wanted)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"{path}, row {first + row}: {steps[row]} time steps, expected {wanted} as in all rows")
    return wanted


def _reasons(values: NDArray[Any], steps: Steps) -> list[str | None]:
    """Why a row cannot be scored."""
    found = [None if count else "there is no time step" for count in steps]
    if np.issubdtype(values.dtype, np.floating):
        for step in np.flatnonzero(~np.isfinite(values).all(axis=1)):
            found[_row_of(int(step), steps)] = "a value is no finite number"
    return found


def _cast(values: NDArray[Any], steps: Steps, dtype: str, path: Path, first: int) -> NDArray[Any]:
    """Values as the graph takes them."""
    if dtype == "float32":
        with np.errstate(over="ignore"):
            return values.astype(np.float32)
    if not np.issubdtype(values.dtype, np.integer):
        raise FormatError(f"{path}: the values are {values.dtype}, expected whole numbers 0–255")
    outside = (values < 0) | (values > 255)
    if outside.any():
        step, at = (int(i) for i in np.argwhere(outside)[0])
        raise DataError(
            f"{path}, row {first + _row_of(step, steps)}: a value is {values[step, at]}, expected whole numbers 0–255"
        )
    return values.astype(np.uint8)
