"""Parquet: a file, or a folder of the parts that Spark, DuckDB, Dask, polars or pandas wrote, as one table.

Folders `NAME=VALUE` directly above a file (Hive's partitions) are columns of text. Names that begin with `_` or `.` are
those of markers and checksums and are left out.
"""

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from unroll.errors import FormatError
from unroll.sources.forms import is_hidden, start_of

_NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Chunk:
    """Consecutive row groups of a Parquet file, which can be read without the others.

    Attributes:
        first_group: Number of the first row group.
        end_group: Number of the first row group behind them.
        first_row: Number of their first row in the file.
        ranges: First byte and end of what is read of the file: its magic number, these row groups, its footer.
    """

    first_group: int
    end_group: int
    first_row: int
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ParquetTable:
    """A table, from `open_parquet`.

    Attributes:
        path: The file or folder.
        parts: Its files.
        schema_arrow: Columns of the first part, and its partitions.
        chunk: The row groups to read; None for all.
    """

    path: Path
    parts: tuple[Path, ...]
    schema_arrow: pa.Schema
    chunk: Chunk | None = None


def open_parquet(path: Path, chunk: Chunk | None = None) -> ParquetTable:
    """Read the columns of a file, or of a chunk of it, or of a folder of parts, for `parquet_batches`.

    Raises:
        FormatError: The folder has other files, or none.
    """
    parts = tuple(parts_of(path)) if path.is_dir() else (path,)
    with _opened(parts[0]) as file:
        schema = file.schema_arrow
    for name in missing_partitions(parts[0], schema.names):
        schema = schema.append(pa.field(name, pa.string()))
    return ParquetTable(path, parts, schema, chunk)


def parquet_batches(table: ParquetTable, path: Path, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """Read some columns of a table from `open_parquet`, `rows` at a time, dictionary-encoded ones decoded.

    Raises:
        FormatError: A part has two columns of one of these names, or lacks one.
    """
    for part in table.parts:
        with _opened(part) as file:
            groups = (
                range(table.chunk.first_group, table.chunk.end_group) if table.chunk else range(file.num_row_groups)
            )
            yield from _batches(file, part if len(table.parts) > 1 else path, groups, partitions(part), columns, rows)


def chunks_of(path: Path, rows: int) -> list[Chunk]:
    """Divide a Parquet file into chunks of whole row groups, each of at least `rows` rows except the last one.

    Returns:
        The chunks in order; none if it has no columns, or says of itself what cannot be true.
    """
    size = path.stat().st_size
    with _opened(path) as file:
        metadata = file.metadata
        footer = size - 8 - metadata.serialized_size
        chunks: list[Chunk] = []
        first_group = first_row = row = 0
        for group in range(metadata.num_row_groups):
            row += metadata.row_group(group).num_rows
            if row - first_row < rows and group + 1 < metadata.num_row_groups:
                continue
            start, end = _extent(metadata, range(first_group, group + 1))
            if not 4 <= start < end <= footer:
                return []
            chunks.append(Chunk(first_group, group + 1, first_row, ((0, 4), (start, end), (footer, size))))
            first_group, first_row = group + 1, row
    return chunks


def _extent(metadata: pq.FileMetaData, groups: range) -> tuple[int, int]:
    """Return the first byte of some row groups, and the end of the last one; zeros if they have no columns."""
    starts, ends = [], []
    for group in map(metadata.row_group, groups):
        for column in map(group.column, range(group.num_columns)):
            dictionary = column.dictionary_page_offset
            starts.append(column.data_page_offset if dictionary is None else min(dictionary, column.data_page_offset))
            ends.append(starts[-1] + column.total_compressed_size)
    return min(starts, default=0), max(ends, default=0)


def read_parquet(path: Path) -> pa.Table:
    """Read a whole table.

    Raises:
        FormatError: It cannot be read, or has two columns of one name.
    """
    try:
        table = open_parquet(path)
        names = table.schema_arrow.names
        return pa.Table.from_batches(parquet_batches(table, path, names, 1 << 16), _decoded(table.schema_arrow))
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{path} is not a readable Parquet file: {' '.join(str(error).split())[:200]}") from None


def parts_of(folder: Path) -> list[Path]:
    """Return the files of a folder of parts, in the order of their names.

    Raises:
        FormatError: It has none, or a file that is not Parquet.
    """
    parts = sorted(
        path for path in folder.rglob("*") if path.is_file() and not any(map(is_hidden, path.relative_to(folder).parts))
    )
    if not parts:
        raise FormatError(f"{folder} holds no files; expected Parquet files")
    for part in parts:
        if part.stat().st_size and start_of(part, 4) != b"PAR1":
            raise FormatError(f"{part} is not Parquet, as the other files of {folder} are; move it elsewhere")
    return parts


def partitions(path: Path) -> dict[str, str | None]:
    """Return names and values of the folders `NAME=VALUE` directly above a file."""
    found: dict[str, str | None] = {}
    for folder in path.parents:
        name, sign, value = folder.name.partition("=")
        if not sign or not name:
            break
        found = {unquote(name): None if value == _NULL else unquote(value), **found}
    return found


def missing_partitions(path: Path, names: Collection[str]) -> dict[str, str | None]:
    """Return those `partitions` that are not among the columns of a file, in small or capital letters."""
    own = {name.lower() for name in names}
    return {name: value for name, value in partitions(path).items() if name.lower() not in own}


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a file as a stream that does not read a row group ahead.

    Arrow gets an open file, never a name: it takes some names for addresses, and cannot take those that are not UTF-8.
    """
    with path.open("rb") as raw, pq.ParquetFile(raw, buffer_size=1 << 20, pre_buffer=False) as file:
        yield file


def _batches(
    file: pq.ParquetFile,
    path: Path,
    groups: range,
    above: dict[str, str | None],
    columns: Sequence[str],
    rows: int,
) -> Iterator[pa.RecordBatch]:
    names = file.schema_arrow.names
    for name in columns:
        if names.count(name) > 1:
            raise FormatError(f"{path} has {names.count(name)} columns {name!r}; keep one of them")
        if name not in names and name not in above:
            raise FormatError(f"{path} has no column {name!r}, which other parts of the table have")
    own = [name for name in columns if name in names]
    for batch in file.iter_batches(rows, row_groups=groups, columns=own, use_threads=False):
        found = dict(zip(batch.schema.names, map(_decode, batch.columns), strict=True))
        for name in columns:
            if name not in found:
                found[name] = pa.repeat(pa.scalar(above[name], pa.string()), batch.num_rows)
        yield pa.record_batch(found).select(columns)


def _decode(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _decoded(schema: pa.Schema) -> pa.Schema:
    return pa.schema(
        [(one.name, one.type.value_type if pa.types.is_dictionary(one.type) else one.type) for one in schema]
    )
