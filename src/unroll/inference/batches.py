"""What readers give and the scorer takes: record batches of rows.

Columns of a batch: `inputs`, a list of each row's values, of one size or of varying sizes; what the predictions carry
over, `row_id` first; and, of some readers, what `PRIVATE` names.
"""

import csv
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from unroll.errors import DataError, FormatError

PRIVATE = frozenset({"inputs", "last_price", "text", "row", "reason", "cut"})
"""Columns that the predictions do not carry over.

`last_price` float64: the last known price, in USD. `text` string: as it stands in the file. `row` int64: its number in
the file, from 0. `reason` string: why the row cannot be scored; null where it can. `cut` bool: whether the graph sees
the beginning of the row alone.
"""
READ_ERRORS = (pa.ArrowException, OSError, EOFError, zlib.error, csv.Error)
"""What a broken file makes the libraries raise."""
SORTED_TOGETHER = 16
"""Batches of the graph whose rows of varying length are sorted together, so that they need little padding."""
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")


@dataclass(frozen=True)
class Skipped:
    """A part of a file that cannot be scored, while the rest can."""

    file: str
    what: str
    """The ticker, say."""
    reason: str


@dataclass(frozen=True)
class Reading:
    """What a file holds for the model: batches, to be read once, and what of the file cannot be scored."""

    batches: Iterator[pa.RecordBatch]
    skipped: tuple[Skipped, ...] = ()


def usable(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The rows that can be scored."""
    if "reason" not in batch.schema.names or not len(batch) - batch.column("reason").null_count:
        return batch
    return batch.filter(batch.column("reason").is_null())


def set_aside(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The rows that cannot be scored: row_id, text where rows are texts, and reason."""
    if "reason" not in batch.schema.names:
        return batch.slice(0, 0)
    kept = [name for name in ("row_id", "text", "reason") if name in batch.schema.names]
    return batch.filter(batch.column("reason").is_valid()).select(kept)


def count_cut(batch: pa.RecordBatch) -> int:
    """How many rows the graph sees the beginning of alone."""
    return pc.sum(batch.column("cut")).as_py() or 0 if "cut" in batch.schema.names else 0


def rebatched(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Cuts and joins batches into batches of `rows` rows, so that a file's layout does not show in what is computed.

    Batches of 5 and 4 rows come out, at `rows` 3, as 3, 3 and 3.
    """
    waiting: list[pa.RecordBatch] = []
    held = 0
    for batch in batches:
        taken = 0
        while held + batch.num_rows - taken >= rows:
            piece = batch.slice(taken, rows - held)
            taken += piece.num_rows
            yield pa.concat_batches([*waiting, piece]) if waiting else piece
            waiting, held = [], 0
        if taken < batch.num_rows:
            waiting.append(batch.slice(taken))
            held += batch.num_rows - taken
    if waiting:
        yield pa.concat_batches(waiting)


def guarded(batches: Iterable[pa.RecordBatch], path: Path, what: str) -> Iterator[pa.RecordBatch]:
    """Turns what a broken file makes the libraries raise into a FormatError, and an empty file into a DataError."""
    rows = 0
    try:
        for batch in batches:
            rows += batch.num_rows
            yield batch
    except READ_ERRORS as error:
        raise FormatError(f"{path} cannot be read after row {rows}: {' '.join(str(error).split())}") from error
    if not rows:
        raise DataError(f"{path} holds no rows; expected at least one {what}")


def first_null(column: pa.Array) -> int:
    """Place of the first value that is missing; there must be one."""
    return int(column.is_null().to_numpy(zero_copy_only=False).argmax())


def is_whole(value: Any) -> bool:
    """Whether an id is a whole number, as a number or as it is written: `7`, but not `007`."""
    if isinstance(value, str):
        return _WHOLE.fullmatch(value) is not None and -(2**63) <= int(value) < 2**63
    return isinstance(value, int) and not isinstance(value, bool)


def row_ids(values: Sequence[Any], whole: bool, path: Path, first: int) -> pa.Array:
    """Ids of a batch that begins at row `first`: int64 where `whole`, else string.

    Raises:
        DataError: An id is missing, or not of the kind that the file's first one is of.
    """
    for row, value in enumerate(values):
        if value is None or value == "":
            raise DataError(f"{path}, row {first + row}: row_id is missing")
        if not (is_whole(value) if whole else isinstance(value, str)):
            raise DataError(
                f"{path}, row {first + row}: row_id is {value!r}, expected "
                + ("a whole number below 2^63, as in the first row" if whole else "text, as in the first row")
            )
    return pa.array(map(int, values) if whole else values, pa.int64() if whole else pa.string())
