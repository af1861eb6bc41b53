"""Parquet files of rows that come batch by batch."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

METADATA_KEY = b"unroll"
"""Key in a written file's schema: JSON with the model's version, provenance and data, the source and the row counts."""
_GROUP_ROWS, _GROUP_BYTES = 1 << 16, 1 << 25


def read_metadata(schema: pa.Schema) -> dict[str, Any]:
    """Return the metadata in the schema of a file that unroll wrote; empty for another one."""
    try:
        found = json.loads((schema.metadata or {})[METADATA_KEY])
    except (KeyError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def row_counts(found: Mapping[str, Any]) -> dict[str, int]:
    """Return the counts of rows as the metadata has them."""
    names = {"rows": "rows_scored", "quarantined": "rows_quarantined", "truncated": "rows_truncated"}
    return {name: found[key] for name, key in names.items()}


class RowFile:
    """Writer of a Parquet file, a context manager. The first rows create the file and define its columns.

    Args:
        path: File to write; replaced if it exists.

    Attributes:
        rows: Number of rows given to `write`.
    """

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self._path = path
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.RecordBatch] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer:
            try:
                self._writer.close()
            finally:
                self._file.close()

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows to the file."""
        if not len(batch):
            return
        if not self._writer:
            self._file = self._path.open("wb")
            # The schema is not stored a second time in Arrow's own form: readers would take its metadata, which is
            # written before the rows are counted.
            self._writer = pq.ParquetWriter(self._file, batch.schema, compression="zstd", store_schema=False)
        self.rows += len(batch)
        self._waiting.append(batch)
        if sum(map(len, self._waiting)) >= _GROUP_ROWS or sum(one.nbytes for one in self._waiting) >= _GROUP_BYTES:
            self._flush(self._writer)

    def finish(self, metadata: Mapping[str, Any]) -> None:
        """Write the last rows and the metadata, and sync the file to disk."""
        if self._writer:
            self._flush(self._writer)
            self._writer.add_key_value_metadata({METADATA_KEY.decode(): json.dumps(metadata, sort_keys=True)})
            self._writer.close()
            self._file.flush()
            os.fsync(self._file.fileno())

    def _flush(self, writer: pq.ParquetWriter) -> None:
        if self._waiting:
            writer.write_table(pa.Table.from_batches(self._waiting))
        self._waiting = []
