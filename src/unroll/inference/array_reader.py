"""Reader of sequences of numbers, such as frames of sound or columns of pixels, from Parquet."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from unroll.errors import FormatError
from unroll.inference.batches import is_integer, open_parquet, parquet_batches, row_ids, with_reasons
from unroll.inference.bundle import Bundle
from unroll.inference.card import Card, required
from unroll.inference.feeds import steps_of
from unroll.inference.forms import Form
from unroll.inference.interface import InputReader, Numbers
from unroll.inference.profile import fill_with_nan
from unroll.inference.reference import Expectation, between

_ROWS = 256
"""Rows that are read together; a recording of a minute takes more than 1 MB."""
Steps = NDArray[np.int64]
"""int64 [row]: number of time steps."""
Reasons = dict[int, str]
"""Row of a batch → why it cannot be scored."""


def read_arrays(path: Path, form: Form, bundle: Bundle) -> Iterator[pa.RecordBatch]:
    """Read the column that the card names: for each row a list of time steps, or of all their values in order.

    Yields:
        Batches of row_id, inputs list<uint8 or float32> (the values of all time steps) and reason string. A row cannot
        be scored and has no inputs if it lacks its id, if it has no time steps or another number of them than the graph
        reads, if a time step has another number of values, or if a value is missing, not finite or out of range.

    Raises:
        FormatError: The file is damaged, lacks the column, or has other values in it.
    """
    del form
    card = bundle.card
    name, width = required(card.array).column, int(card.entry.shape[2])
    with open_parquet(path) as file:
        names = file.schema_arrow.names
        if names.count(name) != 1:
            raise FormatError(f"{path} needs one column {name!r}; it has {', '.join(names) or 'none'}")
        has_ids = "row_id" in names
        whole: bool | None = None
        wanted: Any = card.entry.shape[1]
        first = 0
        for batch in parquet_batches(file, path, ["row_id", name] if has_ids else [name], _ROWS):
            if not len(batch):
                continue
            ids = batch.column("row_id").to_pylist() if has_ids else range(first, first + len(batch))
            whole = is_integer(ids[0]) if whole is None else whole
            column, lacking = row_ids(ids, whole, first)
            rows_of_batch, reasons = _shaped(batch.column(name), width, path)
            values, steps = _values(rows_of_batch, width)
            reasons |= _faults(values, steps, card.entry.dtype, path)
            if not required(card.array).variable_length:
                wanted, odd = _odd_steps(steps, wanted)
                reasons |= odd
            reasons |= lacking
            values, steps = _without(values, steps, reasons)
            ends = np.concatenate([[0], np.cumsum(steps)]) * width
            with np.errstate(over="ignore"):
                numbers = pa.array(values.astype(card.entry.dtype).reshape(-1))
            inputs = pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), numbers)
            yield with_reasons(pa.record_batch({"row_id": column, "inputs": inputs}), reasons)
            first += len(batch)


def _shaped(column: pa.Array, width: int, path: Path) -> tuple[pa.Array, Reasons]:
    """Return the column with null for each row that is not a list of time steps of `width` numbers, and the reasons."""
    kind = column.type
    if not _is_list(kind):
        raise FormatError(f"{path}: the column is {kind}, expected a list of time steps of {width} numbers")
    inner = kind.value_type
    numbers = inner.value_type if _is_list(inner) else inner
    if not (pa.types.is_integer(numbers) or pa.types.is_floating(numbers)):
        raise FormatError(f"{path}: the values are {numbers}, expected numbers")
    sizes = _sizes(column)
    reasons: Reasons = {int(row): "there is no time step" for row in np.flatnonzero(sizes == 0)}
    flat = column.flatten()
    if _is_list(inner):
        widths = _sizes(flat)
        for step in np.flatnonzero(widths != width):
            reasons.setdefault(_row_of(step, sizes), f"a time step of {widths[step]} values, expected {width}")
        steps, flat = np.repeat(np.arange(len(flat)), widths), flat.flatten()
        rows = np.repeat(np.arange(len(column)), sizes)[steps]
    else:
        for row in np.flatnonzero(sizes % width != 0):
            reasons[int(row)] = f"{sizes[row]} values, which is not a multiple of {width}, the values of a time step"
        rows = np.repeat(np.arange(len(column)), sizes)
    if flat.null_count:
        for row in np.unique(rows[flat.is_null().to_numpy(zero_copy_only=False)]):
            reasons.setdefault(int(row), "a value is missing")
    if not reasons:
        return column, reasons
    good = np.ones(len(column), bool)
    good[list(reasons)] = False
    return pc.if_else(pa.array(good), column, pa.scalar(None, kind)), reasons


def _values(column: pa.Array, width: int) -> tuple[NDArray[Any], Steps]:
    """Return the values [step, feature] of all rows in order, and each row's number of steps; 0 for null."""
    steps = _sizes(column)
    flat = column.flatten()
    if _is_list(flat.type):
        flat = flat.flatten()
    else:
        steps = steps // width
    return flat.to_numpy(zero_copy_only=False).reshape(-1, width), steps


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _sizes(column: pa.Array) -> Steps:
    sizes: Steps = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    sizes[column.is_null().to_numpy(zero_copy_only=False)] = 0
    return sizes


def _row_of(step: np.integer[Any], steps: Steps) -> int:
    """Return the row of a time step. With rows of 2, 0 and 3 steps, step 2 belongs to row 2."""
    return int(np.searchsorted(np.cumsum(steps), step, side="right"))


def _odd_steps(steps: Steps, wanted: int | str) -> tuple[int | str, Reasons]:
    """Find rows whose number of steps is not the card's, or else the first row's; return that number, too."""
    there = steps[steps > 0]
    if isinstance(wanted, str):
        if not len(there):
            return wanted, {}
        wanted = int(there[0])
    odd = np.flatnonzero((steps > 0) & (steps != wanted))
    return wanted, {int(row): f"{steps[row]} time steps, expected {wanted} as in all rows" for row in odd}


def _faults(values: NDArray[Any], steps: Steps, dtype: str, path: Path) -> Reasons:
    """Find rows with a value that the graph does not take."""
    if dtype == "float32":
        if not np.issubdtype(values.dtype, np.floating):
            return {}
        wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
        return {_row_of(step, steps): "a value is not finite" for step in wrong}
    if not np.issubdtype(values.dtype, np.integer):
        raise FormatError(f"{path}: the values are {values.dtype}, expected whole numbers 0–255")
    outside = (values < 0) | (values > 255)
    reasons: Reasons = {}
    for step in np.flatnonzero(outside.any(axis=1)):
        value = values[step, int(outside[step].argmax())]
        reasons.setdefault(_row_of(step, steps), f"a value is {value}, expected whole numbers 0–255")
    return reasons


def _without(values: NDArray[Any], steps: Steps, reasons: Reasons) -> tuple[NDArray[Any], Steps]:
    """Return values and steps without the values of rows that cannot be scored; these get 0 steps."""
    if not reasons:
        return values, steps
    kept = np.ones(len(steps), bool)
    kept[list(reasons)] = False
    return values[np.repeat(kept, steps)], np.where(kept, steps, 0)


def _profile(batch: pa.RecordBatch, card: Card) -> dict[str, Numbers]:
    steps = steps_of(batch, card)
    values = batch.column("inputs").flatten().to_numpy().astype(np.float64)
    present = steps > 0
    sizes = steps[present] * int(card.entry.shape[2])
    starts = np.cumsum(sizes) - sizes

    if not len(sizes):
        return {"steps": steps.astype(np.float64)} | dict.fromkeys(
            ("mean", "deviation", "least", "most"), fill_with_nan(np.empty(0), present)
        )
    # Infinite values have no mean; the bounds find them.
    with np.errstate(invalid="ignore", over="ignore"):
        means = np.add.reduceat(values, starts) / sizes
        squares = np.add.reduceat((values - np.repeat(means, sizes)) ** 2, starts) / sizes
    return {
        "steps": steps.astype(np.float64),
        "mean": fill_with_nan(means, present),
        "deviation": fill_with_nan(np.sqrt(squares), present),
        "least": fill_with_nan(np.minimum.reduceat(values, starts), present),
        "most": fill_with_nan(np.maximum.reduceat(values, starts), present),
    }


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


ARRAY_READER = InputReader(
    "arrays", "array", ("parquet",), read_arrays, ("steps", "mean", "deviation", "least", "most"), _profile, _bounds
)
