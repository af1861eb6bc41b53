"""Parquet files of rows that come batch by batch."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

METADATA_KEY = b"unroll"
"""Of a written file's schema: JSON with the model's version, provenance and data, what was scored and how many rows."""
GROUP_ROWS = 1 << 16
"""Rows of a row group: few enough to hold, enough to compress."""
_GROUP_BYTES = 1 << 26
"""Bytes of rows that are held for a row group, where they are long."""


class RowFile:
    """A Parquet file under way; a context manager. Its columns are those of the first batch.

    Args:
        path: Replaced where it is there.

    Attributes:
        rows: Taken so far.
    """

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self._file = path.open("wb")
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.RecordBatch] = []
        self._held = 0
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._writer:
                self._writer.close()
        finally:
            self._file.close()

    def write(self, batch: pa.RecordBatch) -> None:
        """Takes some rows."""
        if not self._writer:
            # The schema is not stored once more in Arrow's own form: readers would take its metadata, which is written
            # before the rows are counted.
            self._writer = pq.ParquetWriter(self._file, batch.schema, compression="zstd", store_schema=False)
        self.rows += batch.num_rows
        self._held += batch.num_rows
        self._bytes += batch.nbytes
        self._waiting.append(batch)
        if self._held >= GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._flush()

    def finish(self, about: Mapping[str, Any]) -> None:
        """Writes what is left and what is to be said of all rows, down to the disk."""
        if self._waiting:
            self._flush()
        if self._writer:
            self._writer.add_key_value_metadata({METADATA_KEY.decode(): json.dumps(about, sort_keys=True)})
            self._writer.close()
            self._writer = None
        self._file.flush()
        os.fsync(self._file.fileno())

    def _flush(self) -> None:
        if self._writer:
            self._writer.write_table(pa.Table.from_batches(self._waiting))
        self._waiting, self._held, self._bytes = [], 0, 0
