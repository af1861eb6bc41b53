"""Files of digits, ready for the graph: Parquet, CSV or IDX."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from unroll.datasets import idx
from unroll.errors import DataError, FormatError
from unroll.inference.batches import Reading, first_null, guarded, rebatched
from unroll.inference.bundle import Bundle
from unroll.inference.forms import Form

PIXELS = idx.SIDE * idx.SIDE
SCHEMA = pa.schema([("row_id", pa.int64()), ("inputs", pa.list_(pa.uint8(), PIXELS))])

_ID_NAMES = {"row_id", "id"}
_LABEL_NAMES = {"label", "digit", "class"}
_HEADER_LIMIT = 1 << 20
"""Bytes within which a CSV's first line must end."""


def read_digits(path: Path, form: Form, bundle: Bundle, rows: int) -> Reading:
    """Reads images, batch by batch.

    Returns:
        Batches of `SCHEMA`: row_id int64, inputs uint8 [784].

    Raises:
        FormatError: While the batches are read: the file is cut short, or its columns are no pixels.
        DataError: The same: a value cannot be used.
    """
    del bundle
    return Reading(rebatched(guarded(_FORMS[form](path, rows), path, "image"), rows))


def _digits_of_parquet(path: Path, rows: int) -> Iterator[pa.RecordBatch]:
    # Buffered, and without reading ahead: a row group may be the whole file.
    with path.open("rb") as raw, pq.ParquetFile(raw, buffer_size=1 << 20, pre_buffer=False) as file:
        names = file.schema_arrow.names
        if "pixels" not in names:
            raise FormatError(f"{path} has no column 'pixels' (784 values a row); it has {', '.join(names) or 'none'}")
        columns = [name for name in ("row_id", "pixels") if name in names]
        first = 0
        for batch in file.iter_batches(rows, columns=columns, use_threads=False):
            ids = batch.column("row_id") if "row_id" in names else None
            yield _digit_batch(_pixels(batch.column("pixels"), path, first), ids, path, first)
            first += batch.num_rows


def _digits_of_csv(path: Path, rows: int) -> Iterator[pa.RecordBatch]:
    header, columns = _csv_header(path)
    names = [name.strip().lower() for name in columns] if header else [""] * len(columns)
    if not header and len(columns) == PIXELS + 1:
        names[0] = "label"  # the usual form without a header
    ids = [i for i, name in enumerate(names) if name in _ID_NAMES]
    labels = [i for i, name in enumerate(names) if name in _LABEL_NAMES]
    pixels = [i for i in range(len(names)) if i not in ids and i not in labels]
    if len(pixels) != PIXELS or len(ids) > 1 or len(labels) > 1:
        raise FormatError(
            f"{path} has {len(columns)} columns, {len(pixels)} of them pixels; expected {PIXELS} pixel columns, row by "
            "row of the image, and besides at most one of row_id or id and one of label, digit or class"
        )
    # Columns get names of our own: a header may say one name twice. Wider than a byte, so that 300 can be reported.
    own = [f"c{i}" for i in range(len(names))]
    types = {own[i]: pa.int16() for i in pixels} | {own[i]: pa.int64() for i in ids}
    options = {
        "read_options": pa_csv.ReadOptions(column_names=own, skip_rows=int(header), use_threads=False),
        "convert_options": pa_csv.ConvertOptions(
            column_types=types, include_columns=[own[i] for i in ids + pixels], strings_can_be_null=False
        ),
    }
    first = 0
    with idx.open_plain(path) as stream, pa_csv.open_csv(stream, **options) as reader:
        for batch in reader:
            values = np.empty((batch.num_rows, PIXELS), np.int16)
            for at, column in enumerate(batch.columns[len(ids) :]):
                if column.null_count:
                    raise DataError(f"{path}, row {first + first_null(column)}: pixel {at} is missing")
                values[:, at] = column.to_numpy()
            yield _digit_batch(_bytes(values, path, first), batch.column(0) if ids else None, path, first)
            first += batch.num_rows


def _csv_header(path: Path) -> tuple[bool, list[str]]:
    """Whether a CSV has a header, and the fields of its first line."""
    with idx.open_plain(path) as stream:
        start = stream.read(_HEADER_LIMIT)
    line, _, _ = start.lstrip(b"\xef\xbb\xbf").partition(b"\n")
    if len(line) >= _HEADER_LIMIT - 3:
        raise FormatError(f"{path} is no CSV of digits: its first line is longer than {_HEADER_LIMIT} bytes")
    fields = next(csv.reader(io.StringIO(line.decode("utf-8", errors="replace"))), [])
    return not all(re.fullmatch(r"\s*-?\d+\s*", field) for field in fields), fields


def _digits_of_idx(path: Path, rows: int) -> Iterator[pa.RecordBatch]:
    first = 0
    for images in idx.iter_idx_images(path, rows):
        yield _digit_batch(images.reshape(len(images), PIXELS), None, path, first)
        first += len(images)


def _digit_batch(values: np.ndarray, ids: pa.Array | None, path: Path, first: int) -> pa.RecordBatch:
    """One batch of `SCHEMA` from uint8 [rows, 784]; without ids, rows count on from `first`."""
    if ids is None:
        ids = pa.array(np.arange(first, first + len(values), dtype=np.int64))
    elif not pa.types.is_integer(ids.type):
        raise FormatError(f"{path}: row_id is {ids.type}, expected whole numbers")
    elif ids.null_count:
        raise DataError(f"{path}, row {first + first_null(ids)}: row_id is missing")
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    inputs = pa.FixedSizeListArray.from_arrays(flat, PIXELS)
    return pa.record_batch([ids.cast(pa.int64()), inputs], schema=SCHEMA)


def _pixels(column: pa.Array, path: Path, first: int) -> np.ndarray:
    """uint8 [rows, 784] of a column of lists, or of 784 bytes each; bytes are not copied."""
    if column.null_count:
        raise DataError(f"{path}, row {first + first_null(column)}: pixels are missing")
    kind = column.type
    if pa.types.is_fixed_size_binary(kind) and kind.byte_width == PIXELS:
        # Read several times faster than lists, which store a length and a presence for each pixel.
        values = np.frombuffer(column.buffers()[1], np.uint8).reshape(-1, PIXELS)
        return values[column.offset : column.offset + len(column)]
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise FormatError(
            f"{path}: pixels is {kind}, expected a list of {PIXELS} whole numbers 0–255 or {PIXELS} bytes"
        )
    lengths = pc.list_value_length(column)
    wrong = pc.not_equal(lengths, PIXELS).to_numpy(zero_copy_only=False)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"{path}, row {first + row}: {lengths[row]} pixels, expected {PIXELS} ({idx.SIDE} × {idx.SIDE})"
        )
    flat = column.flatten()
    if not pa.types.is_integer(flat.type):
        raise FormatError(f"{path}: pixels are {flat.type}, expected whole numbers 0–255 as in the raw images")
    if flat.null_count:
        raise DataError(f"{path}, row {first + first_null(flat) // PIXELS}: a pixel is missing")
    return _bytes(flat.to_numpy().reshape(-1, PIXELS), path, first)


def _bytes(values: np.ndarray, path: Path, first: int) -> np.ndarray:
    """uint8 [rows, 784] of whole numbers, none of them outside 0–255."""
    if values.dtype == np.uint8:
        return values
    outside = (values < 0) | (values > 255)
    if outside.any():
        row, pixel = (int(i) for i in np.argwhere(outside)[0])
        raise DataError(f"{path}, row {first + row}: pixel {pixel} is {values[row, pixel]}, expected 0–255")
    return values.astype(np.uint8)


# A digit file has one row an image; the forms differ in where the 784 values stand.
_FORMS: Mapping[Form, Callable[[Path, int], Iterator[pa.RecordBatch]]] = {
    "parquet": _digits_of_parquet,
    "csv": _digits_of_csv,
    "idx": _digits_of_idx,
}
