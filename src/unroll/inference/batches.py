"""Record batches between a file's reader and the scorer.

Columns: `inputs`, a list of each row's values, of fixed or varying size; the columns that predictions carry over,
`row_id` first; and, from some readers, those that `INTERNAL` names. A reader streams a file and holds only a few
batches of it; the reader of prices keeps each ticker's last days.
"""

import csv
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from unroll.errors import DataError, FormatError
from unroll.sources.forms import NAMES, form_of
from unroll.sources.parquet import Chunk

if TYPE_CHECKING:
    from unroll.inference.bundle import Bundle

INTERNAL = frozenset({"inputs", "last_price", "times", "text", "row", "reason", "set_aside", "truncated"})
"""Columns that the predictions do not carry over.

`last_price` float64: the last known price, in USD. `times` list<timestamp>: those of the steps that are forecast.
`text` string: as in the file. `row` int64: the row's number in the file, from 0. `reason` string: why the row cannot be
scored; null if it can. `set_aside` bool: whether the row is only a part of what is scored, such as a day of prices,
whose share of the file the reader has checked. `truncated` bool: whether the graph reads only the beginning of the row.
"""
READ_ERRORS = (pa.ArrowException, OSError, EOFError, zlib.error, csv.Error, UnicodeDecodeError)
"""What the libraries raise for a broken file."""
_CAUSES = {
    "straddl": "a row takes more than 1 MB",
    "Expected all lists to be of size": "a row is missing in a column of lists of fixed size, which Arrow cannot read; "
    "write the column as lists of variable size",
}
"""What parts of Arrow's messages mean."""
CALLS_PER_BATCH = 16
"""Calls of the graph that rows are read for at once: rows of varying length are sorted among them, which saves padding,
and threads hand over less often."""
SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a character outside the basic plane, which JSON can write: "\\ud83d"."""
_BATCH_BYTES = 1 << 25


def open_file(path: Path, bundle: "Bundle", rows: int, chunk: Chunk | None = None) -> Iterator[pa.RecordBatch]:
    """Read a file for a model.

    Args:
        path: File in a form that the model's reader takes; text and IDX may be gzipped.
        bundle: Bundle of the model that will score the rows.
        rows: Number of rows per call of the graph. A batch has rows for `CALLS_PER_BATCH` calls; fewer if rows are long
            or at the end.
        chunk: What to read of a Parquet file; None for all.

    Raises:
        FormatError: The file has another form, is cut short, or lacks columns; some faults show only during reading.
        DataError: It has no rows; raised during reading.
    """
    reader, form = bundle.card.interface.reader, form_of(path)
    if form not in reader.forms:
        raise FormatError(
            f"{path} is {NAMES[form]}; {bundle.card.name} reads {reader.name} from "
            + " or ".join(NAMES[one] for one in reader.forms)
        )
    batches = guarded(reader.read(path, form, bundle, chunk), path, chunk.first_row if chunk else 0)
    return rebatched(batches, rows * CALLS_PER_BATCH)


def is_usable(batch: pa.RecordBatch) -> NDArray[np.bool_]:
    """Return whether each row can be scored, bool [row]."""
    if "reason" not in batch.schema.names:
        return np.ones(len(batch), bool)
    found: NDArray[np.bool_] = batch.column("reason").is_null().to_numpy(zero_copy_only=False)
    return found


def usable(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows that can be scored."""
    if "reason" not in batch.schema.names or batch.column("reason").null_count == len(batch):
        return batch
    return batch.filter(batch.column("reason").is_null())


def quarantined(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows that cannot be scored: row_id, text if rows are texts, and reason."""
    if "reason" not in batch.schema.names:
        return batch.slice(0, 0)
    kept = [name for name in ("row_id", "text", "reason") if name in batch.schema.names]
    return batch.filter(batch.column("reason").is_valid()).select(kept)


def with_reasons(batch: pa.RecordBatch, reasons: Mapping[int, str]) -> pa.RecordBatch:
    """Return the batch with these rows' reasons in its column `reason`; other rows keep theirs."""
    names = batch.schema.names
    if "reason" not in names:
        batch = batch.append_column("reason", pa.nulls(len(batch), pa.string()))
    if not reasons:
        return batch
    found = batch.column("reason").to_pylist()
    for row, reason in reasons.items():
        found[row] = reason
    return batch.set_column(batch.schema.names.index("reason"), "reason", pa.array(found, pa.string()))


def count_set_aside(batch: pa.RecordBatch) -> int:
    """Count the rows whose share of the file the reader has checked."""
    return pc.sum(batch.column("set_aside")).as_py() or 0 if "set_aside" in batch.schema.names else 0


def count_truncated(batch: pa.RecordBatch) -> int:
    """Count the rows that can be scored but are truncated for the graph."""
    return pc.sum(usable(batch).column("truncated")).as_py() or 0 if "truncated" in batch.schema.names else 0


def rebatched(batches: Iterable[pa.RecordBatch], rows: int, size: int = _BATCH_BYTES) -> Iterator[pa.RecordBatch]:
    """Cut and join batches into batches of `rows` rows, so that a file's layout does not affect what is computed.

    Example: with `rows` 3, batches of 5 and 4 rows become batches of 3, 3 and 3. A batch that reaches `size` bytes ends
    there.
    """
    waiting: list[pa.RecordBatch] = []
    held = held_bytes = 0
    for batch in batches:
        taken = 0
        while held + batch.num_rows - taken >= rows:
            piece = batch.slice(taken, rows - held)
            taken += piece.num_rows
            yield pa.concat_batches([*waiting, piece]) if waiting else piece
            waiting, held, held_bytes = [], 0, 0
        if taken < batch.num_rows:
            rest = batch.slice(taken)
            waiting.append(rest)
            held += rest.num_rows
            held_bytes += rest.nbytes
        if held_bytes > size:
            yield pa.concat_batches(waiting)
            waiting, held, held_bytes = [], 0, 0
    if waiting:
        yield pa.concat_batches(waiting)


def guarded(batches: Iterable[pa.RecordBatch], path: Path, first_row: int = 0) -> Iterator[pa.RecordBatch]:
    """Turn what the libraries raise for a broken file into a FormatError, and a file without rows into a DataError."""
    rows = 0
    try:
        for batch in batches:
            rows += batch.num_rows
            yield batch
    except READ_ERRORS as error:
        found = " ".join(str(error).split())
        found = next((told for part, told in _CAUSES.items() if part in found), found)
        raise FormatError(f"{path} cannot be read after row {first_row + rows}: {found}") from error
    if not rows:
        raise DataError(f"{path} has no rows; expected at least one")
