"""What readers give and the scorer takes: record batches of rows.

Columns of a batch: `inputs`, a list of each row's values, of one size or of varying sizes; what the predictions carry
over, `row_id` first; and, of some readers, what `PRIVATE` names.
"""

import contextlib
import csv
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from unroll.errors import DataError, FormatError

PRIVATE = frozenset({"inputs", "last_price", "text", "row", "reason", "cut", "profile"})
"""Columns that the predictions do not carry over.

`last_price` float64: the last known price, in USD. `text` string: as it stands in the file. `row` int64: its number in
the file, from 0. `reason` string: why the row cannot be scored; null where it can. `cut` bool: whether the graph sees
the beginning of the row alone. `profile` struct of float64: numbers of the row, by `unroll.inference.profile`.
"""
READ_ERRORS = (pa.ArrowException, OSError, EOFError, zlib.error, csv.Error, UnicodeDecodeError)
"""What a broken file makes the libraries raise."""
READ_TOGETHER = 16
"""Batches of the graph that are read as one: rows of varying length are sorted among them, so that they need little
padding, and threads hand over less often."""
Check = Callable[[pa.RecordBatch], Mapping[int, str]]
"""Tells, of rows that could be scored, which may not be: place in the batch → reason. It gets what the predictions
carry over, `profile` where rows have it, and an empty `reason`, but no inputs."""
CHECK_ROWS = 1 << 16
"""Rows that are checked together: a check of few rows costs as much as one of many."""
HALF = re.compile("[\ud800-\udfff]")
"""Half of a character outside the basic plane, which JSON can write: "\\ud83d"."""
_ID = 1000
"""Characters that an id may have: each is carried to the output."""
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")


def is_usable(batch: pa.RecordBatch) -> NDArray[np.bool_]:
    """Whether each row can be scored."""
    if "reason" not in batch.schema.names:
        return np.ones(len(batch), bool)
    found: NDArray[np.bool_] = batch.column("reason").is_null().to_numpy(zero_copy_only=False)
    return found


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


def within(batches: Iterable[pa.RecordBatch], values: int) -> Iterator[pa.RecordBatch]:
    """The same batches; rows of varying length that are of more values have a `reason`."""
    for batch in batches:
        column = batch.column("inputs")
        if pa.types.is_fixed_size_list(column.type) or not len(batch):
            yield batch
            continue
        sizes = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
        reasons = {
            int(row): f"the row has {sizes[row]:,} values, of which memory_mb allows {values:,}"
            for row in np.flatnonzero(sizes > values)
        }
        yield with_reasons(batch, reasons) if reasons or "reason" in batch.schema.names else batch


def checked(batches: Iterable[pa.RecordBatch], check: Check | None, held: int) -> Iterator[Sequence[pa.RecordBatch]]:
    """The same batches, those together that were checked together; rows that fail have a `reason`.

    Args:
        batches: Of one schema.
        check: Is given up to about 65,536 rows at once, such as could be scored. Without it, batches come one by one.
        held: Bytes of rows that may be held for it.
    """
    if check is None:
        yield from ((batch,) for batch in batches)
        return
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        waiting.append(batch)
        rows += len(batch)
        size += batch.nbytes
        if rows >= CHECK_ROWS or size >= held:
            yield _checked_together(waiting, check)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield _checked_together(waiting, check)


def _checked_together(batches: Sequence[pa.RecordBatch], check: Check) -> Sequence[pa.RecordBatch]:
    names = batches[0].schema.names
    seen = [name for name in names if name not in PRIVATE or name in ("profile", "reason")]
    rows = pa.concat_batches([usable(batch.select(seen)) for batch in batches])
    failing = check(rows) if len(rows) else {}
    if not failing:
        return [with_reasons(batch, {}) for batch in batches]
    told = iter([failing.get(row) for row in range(len(rows))])
    found = []
    for batch in batches:
        reasons = {int(row): next(told) for row in np.flatnonzero(is_usable(batch))}
        found.append(with_reasons(batch, {row: reason for row, reason in reasons.items() if reason}))
    return found


def with_reasons(batch: pa.RecordBatch, reasons: Mapping[int, str]) -> pa.RecordBatch:
    """The batch with its column `reason`, in which these rows have these reasons, and others what they had."""
    names = batch.schema.names
    if "reason" not in names:
        found = [reasons.get(row) for row in range(len(batch))] if reasons else None
        return batch.append_column("reason", _reason_column(found, len(batch)))
    if not reasons:
        return batch
    found = batch.column("reason").to_pylist()
    for row, reason in reasons.items():
        found[row] = reason
    return batch.set_column(names.index("reason"), "reason", _reason_column(found, len(batch)))


def _reason_column(found: Sequence[str | None] | None, rows: int) -> pa.Array:
    return pa.nulls(rows, pa.string()) if found is None else pa.array(found, pa.string())


def count_cut(batch: pa.RecordBatch) -> int:
    """How many of the rows that can be scored the graph sees the beginning of alone."""
    return pc.sum(usable(batch).column("cut")).as_py() or 0 if "cut" in batch.schema.names else 0


def rebatched(batches: Iterable[pa.RecordBatch], rows: int, size: int = 1 << 25) -> Iterator[pa.RecordBatch]:
    """Cuts and joins batches into batches of `rows` rows, so that a file's layout does not show in what is computed.

    Batches of 5 and 4 rows come out, at `rows` 3, as 3, 3 and 3. Where they are of more than `size` bytes together they
    come out earlier, for memory's sake.
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
        if sum(one.nbytes for one in waiting) > size:
            yield pa.concat_batches(waiting)
            waiting, held = [], 0
    if waiting:
        yield pa.concat_batches(waiting)


def guarded(batches: Iterable[pa.RecordBatch], path: Path) -> Iterator[pa.RecordBatch]:
    """Turn what the libraries raise for a broken file into a FormatError, and a file without rows into a DataError."""
    rows = 0
    try:
        for batch in batches:
            rows += batch.num_rows
            yield batch
    except READ_ERRORS as error:
        found = "a row takes more than 1 MB" if "straddl" in str(error) else " ".join(str(error).split())
        raise FormatError(f"{path} cannot be read after row {rows}: {found}") from error
    if not rows:
        raise DataError(f"{path} has no rows; expected at least one")


@contextlib.contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file for `parquet_batches`, as a stream that does not read a row group ahead.

    Arrow gets an open file, never a name: it takes some names for addresses, and cannot take those that are not UTF-8.
    """
    with path.open("rb") as raw, pq.ParquetFile(raw, buffer_size=1 << 20, pre_buffer=False) as file:
        yield file


def parquet_batches(file: pq.ParquetFile, path: Path, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """Read some columns of a Parquet file, dictionary-encoded ones decoded.

    Args:
        file: From `open_parquet`.
        path: Its path, for messages.
        columns: Their names.
        rows: Rows of a batch; the last one may have fewer.

    Raises:
        FormatError: The file has two columns of one of these names.
    """
    names = file.schema_arrow.names
    for name in columns:
        if names.count(name) > 1:
            raise FormatError(f"{path} has {names.count(name)} columns {name!r}; keep one of them")
    for batch in file.iter_batches(rows, columns=list(columns), use_threads=False):
        for place, column in enumerate(batch.columns):
            if pa.types.is_dictionary(column.type):
                batch = batch.set_column(place, batch.schema.names[place], column.dictionary_decode())
        yield batch


def is_whole(value: Any) -> bool:
    """Whether an id is a whole number, as a number or as it is written: `7`, but not `007`."""
    if isinstance(value, str):
        return _WHOLE.fullmatch(value) is not None and -(2**63) <= int(value) < 2**63
    return isinstance(value, int) and not isinstance(value, bool)


def row_ids(values: Sequence[Any], whole: bool, first: int) -> tuple[pa.Array, dict[int, str]]:
    """Ids of a batch that begins at row `first`: int64 where `whole`, else string.

    Returns:
        The ids, and why a row has none: it is missing, too long, or not of the kind that the file's first one is of.
    """
    ids: list[Any] = list(values)
    reasons = {}
    for row, value in enumerate(values):
        if value is None or value == "":
            reasons[row] = f"row {first + row} of the file has no row_id"
        elif isinstance(value, str) and len(value) > _ID:
            most = f"{len(value):,} characters; it may have {_ID:,}"
            reasons[row] = f"row {first + row} of the file has a row_id of {most}"
        elif not (is_whole(value) if whole else isinstance(value, str) and not HALF.search(value)):
            kind = "a whole number below 2^63" if whole else "text"
            reasons[row] = f"row {first + row} of the file has the row_id {str(value)[:60]!r}, expected {kind}"
        else:
            ids[row] = int(value) if whole else value
            continue
        ids[row] = None
    return pa.array(ids, pa.int64() if whole else pa.string()), reasons
