"""Parquet files of strangers, read so that a small file cannot fill the memory.

Parquet packs far better than gzip: 600 bytes can hold a text of 2 MB once and point at it 5,000 times. Therefore the
headers of all pages that are to be read are looked at first, and so few rows are read at once as fit whatever they are.
"""

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from unroll.errors import FormatError
from unroll.inference.levels import longest_row
from unroll.inference.pages import DELTA_BYTE_ARRAY, Chunk, chunks, pages, require_small_footer

HELD = 1 << 25
"""Bytes that the rows of one read may have at worst, of other forms, too."""
PAGE = 1 << 28
"""Bytes of one page. Arrow and Spark write pages of 1 MB, DuckDB of up to 100 MB."""
LISTS = 1 << 28
"""Bytes of one row's list. One row may have all of its row group: where that has more, its rows are measured."""
RATIO = 200
"""Bytes that a packed byte may become. Pixels and texts become 3 to 40."""
FLOOR = 1 << 28
"""Bytes of all that is read below which `RATIO` is not asked for: small files may repeat themselves."""

_LEVELS = 4
"""Bytes that Arrow keeps for each value of a list, to tell where lists begin and what is missing."""
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12}


@dataclass(frozen=True)
class TooLong:
    """Stands for a text that is not unpacked."""

    bytes: int


@dataclass
class ParquetSource:
    """An open Parquet file.

    Attributes:
        path: Of the file.
        schema: Of its columns, as they stand there.
    """

    path: Path
    schema: pa.Schema
    _file: Any
    _raw: BinaryIO

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return list(self.schema.names)

    def batches(self, columns: Collection[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Reads some columns, of which none may stand twice.

        Args:
            columns: Their names.
            rows: At once, at most.

        Raises:
            FormatError: A column stands twice, or the file unpacks to far more than data would.
        """
        for name in columns:
            if self.names.count(name) > 1:
                raise FormatError(f"{self.path} has {self.names.count(name)} columns {name!r}; keep one of them")
        leaves = [
            leaf
            for leaf in range(len(self._file.schema))
            for path in [self._file.schema.column(leaf).path]
            if any(path == name or path.startswith(f"{name}.") for name in columns)
        ]
        packed = unpacked = 0
        for group, found in enumerate(chunks(self.path, leaves)):
            at_once = rows
            for leaf, one in found.items():
                seen = self._looked_at(group, leaf, one)
                at_once = min(at_once, max(1, HELD // max(1, seen.largest)))
                packed, unpacked = packed + seen.packed, unpacked + seen.unpacked
                self._require_ratio(packed, unpacked)
            options = {"row_groups": [group], "columns": list(columns), "use_threads": False}
            for batch in self._file.iter_batches(at_once, **options):
                yield _decoded(batch)

    def _looked_at(self, group: int, leaf: int, chunk: Chunk) -> "_Seen":
        """What a column of a row group unpacks to."""
        column = self._file.schema.column(leaf)
        what = f"{self.path}, row group {group}, column {column.path}"
        found = list(pages(self._raw, chunk, what))
        packed, unpacked, values = (
            sum(getattr(page, name) for page in found) for name in ("packed", "unpacked", "values")
        )
        largest = max((page.unpacked for page in found), default=0)
        if largest > PAGE:
            raise FormatError(
                f"{what}: a page unpacks to {largest:,} bytes, of which {PAGE:,} are read; write smaller pages"
            )
        is_text = column.physical_type == "BYTE_ARRAY"
        width = (
            column.length if column.physical_type == "FIXED_LEN_BYTE_ARRAY" else _WIDTHS.get(column.physical_type, 4)
        )
        if is_text and any(page.encoding == DELTA_BYTE_ARRAY for page in found):
            raise FormatError(
                f"{what}: texts are not read in the encoding DELTA_BYTE_ARRAY, which hides how long they are; "
                "write the file with a dictionary, or plain"
            )
        in_list = column.max_repetition_level > 0
        if in_list:
            # Of texts, numbers of a dictionary are read.
            width += _LEVELS
            longest = values
            if values * width > LISTS:
                longest = longest_row(self._raw, found, column.max_repetition_level, chunk.codec, what)
            if longest * width > LISTS:
                raise FormatError(
                    f"{what}: a row has a list of {longest:,} values, of which {LISTS // width:,} are read"
                )
            width *= longest if values * width > LISTS else 1
        return _Seen(packed, unpacked + values * (1 if in_list else 8), largest if is_text and not in_list else width)

    def _require_ratio(self, packed: int, unpacked: int) -> None:
        if unpacked > max(FLOOR, RATIO * packed):
            raise FormatError(
                f"{self.path} is not unpacked: {packed:,} of its bytes would become {unpacked:,}, and {RATIO} times as "
                "many are the most that data are taken for; write it with less compression if it is meant"
            )


@dataclass(frozen=True)
class _Seen:
    """A column of a row group: bytes in the file, bytes in memory, and the most bytes that one row may have."""

    packed: int
    unpacked: int
    largest: int


@contextlib.contextmanager
def opened(path: Path) -> Iterator[ParquetSource]:
    """Opens a Parquet file.

    Raises:
        FormatError: It is none; what breaks later is raised as Arrow has it.
    """
    require_small_footer(path)
    # Buffered, and without reading ahead: a row group may be the whole file.
    options: dict[str, Any] = {"buffer_size": 1 << 20, "pre_buffer": False}
    with path.open("rb") as raw, path.open("rb") as headers, _file(path, raw, options) as file:
        in_lists = [
            column.path
            for column in map(file.schema.column, range(len(file.schema)))
            if column.physical_type == "BYTE_ARRAY" and column.max_repetition_level > 0
        ]
        if not in_lists:
            yield ParquetSource(path, file.schema_arrow, file, headers)
            return
        options |= {"metadata": file.metadata, "read_dictionary": in_lists}
        with path.open("rb") as again, _file(path, again, options) as texts:
            yield ParquetSource(path, file.schema_arrow, texts, headers)


def _file(path: Path, raw: BinaryIO, options: dict[str, Any]) -> Any:
    try:
        return pq.ParquetFile(raw, **options)
    except (pa.ArrowException, UnicodeDecodeError, KeyError) as error:
        raise FormatError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}; write it again") from error


def _decoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Without dictionaries, but those of lists: they hide how much there is."""
    for place, column in enumerate(batch.columns):
        if pa.types.is_dictionary(column.type):
            batch = batch.set_column(place, batch.schema.names[place], column.dictionary_decode())
    return batch


def texts_of(column: pa.Array, most: int) -> list[Any]:
    """Python values of a column of texts, or of lists of texts; `TooLong` for one of more bytes."""
    sizes = _sizes(column)
    if sizes is None or not len(column) or (pc.max(sizes).as_py() or 0) <= most:
        return list(column.to_pylist())
    return [TooLong(size) if size > most else one.as_py() for one, size in zip(column, sizes.to_pylist(), strict=True)]


def _sizes(column: pa.Array) -> pa.Array | None:
    """Bytes of each row's texts; None of a column of something else."""
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = _sizes(column.flatten())
        if inner is None:
            return None
        ends = pa.array([0]), pc.cumulative_sum(inner.fill_null(0))
        ends = pa.concat_arrays([one.cast(pa.int64()) for one in ends])
        lengths = pc.list_value_length(column).fill_null(0).cast(pa.int64())
        last = pc.cumulative_sum(lengths)
        return pc.subtract(ends.take(last), ends.take(pc.subtract(last, lengths)))
    if pa.types.is_dictionary(kind):
        inner = _sizes(column.dictionary)
        return None if inner is None else inner.take(column.indices).cast(pa.int64()).fill_null(0)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pc.binary_length(column).cast(pa.int64()).fill_null(0)
    return None
