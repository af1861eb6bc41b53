"""Ids of rows: integers where all ids of a file are, else text."""

import datetime
import re
import uuid
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from unroll.inference.batches import SURROGATE
from unroll.sources.parquet import ParquetTable, parquet_batches

IDS = ("row_id", "id")
"""Names of a column of ids, in the order in which they are looked for."""
_CHARACTERS = 1000
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_ROWS = 1 << 16
_SCALARS = (bool, int, float, Decimal, uuid.UUID, datetime.date, datetime.time, datetime.timedelta)


def are_integers(values: Iterable[Any], *, as_text: bool = False) -> bool:
    """Return whether all ids that are there are integers of 64 bits, such as 7, 7.0 and, in text, `7` but not `007`.

    Args:
        values: The ids.
        as_text: Whether they come from a form without types.
    """
    present = [value for value in values if not _is_missing(value)]
    return bool(present) and all(_integer(value, as_text) is not None for value in present)


def parquet_ids_are_integers(table: ParquetTable, path: Path, name: str) -> bool:
    """Return whether all ids in a column of a Parquet table are integers; text is never taken for numbers."""
    known = integers_by_type(table.schema_arrow.field(name).type)
    if known is not None:
        return known
    return all(
        are_integers(batch.column(name).to_pylist()) or batch.column(name).null_count == len(batch)
        for batch in parquet_batches(table, path, [name], _ROWS)
    )


def integers_by_type(kind: pa.DataType) -> bool | None:
    """Return whether ids of a type of Arrow are integers; None if that depends on all of them."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        return True
    return None if pa.types.is_uint64(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) else False


def row_ids(values: Sequence[Any], integers: bool, first: int) -> tuple[pa.Array, dict[int, str]]:
    """Check the ids of a batch that begins at row `first` of its file.

    Returns:
        The ids, int64 if `integers`, else string; and why a row has none: it is missing, too long, or no integer where
        the other ids are.
    """
    ids: list[Any] = []
    reasons = {}
    for row, value in enumerate(values):
        where = f"row {first + row} of the file has"
        found = None if _is_missing(value) else _integer(value, True) if integers else _text(value)
        ids.append(found)
        if _is_missing(value):
            reasons[row] = f"{where} no row_id"
        elif found is None:
            expected = "an integer below 2^63" if integers else "text or a number"
            reasons[row] = f"{where} the row_id {str(value)[:60]!r}, expected {expected}"
        elif isinstance(found, str) and len(found) > _CHARACTERS:
            reasons[row] = f"{where} a row_id of {len(found):,} characters; it may have {_CHARACTERS:,}"
            ids[row] = None
    return pa.array(ids, pa.int64() if integers else pa.string()), reasons


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and value != value)


def _integer(value: Any, as_text: bool) -> int | None:
    if isinstance(value, str):
        found = int(value) if as_text and _INTEGER.fullmatch(value) else None
    elif isinstance(value, int) and not isinstance(value, bool):
        found = value
    elif isinstance(value, float | Decimal) and value == value // 1:
        found = int(value)
    else:
        return None
    return found if found is not None and -(2**63) <= found < 2**63 else None


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str):
        return None if SURROGATE.search(value) else value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value) if isinstance(value, _SCALARS) else None
