"""Reader of images of digits from Parquet, CSV or IDX files."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from unroll.domains.digits import idx
from unroll.errors import FormatError
from unroll.inference.batches import with_reasons
from unroll.inference.bundle import Bundle
from unroll.inference.card import Card
from unroll.inference.columns import CLASSES
from unroll.inference.interface import InputReader, Interface, Numbers
from unroll.inference.reference import Expectation, between, widened
from unroll.sources.forms import Form
from unroll.sources.packed import open_plain
from unroll.sources.parquet import open_parquet, parquet_batches

PIXELS = idx.SIDE * idx.SIDE
SCHEMA = pa.schema([("row_id", pa.int64()), ("inputs", pa.list_(pa.uint8(), PIXELS))])

_ID_NAMES = {"row_id", "id"}
_LABEL_NAMES = {"label", "digit", "class"}
Reasons = dict[int, str]
"""Row of a batch → why it cannot be scored."""
_ROWS = 8192
"""Images in a batch."""
_HEADER_LIMIT = 1 << 20
"""Bytes within which a CSV's first line must end."""


def read_digits(path: Path, form: Form, bundle: Bundle) -> Iterator[pa.RecordBatch]:
    """Read images, batch by batch.

    Yields:
        Batches of `SCHEMA` (row_id int64, inputs uint8 [784]) and reason string: why a row cannot be scored (its id or
        a pixel is missing, it does not have 784 pixels, or one is outside 0–255); the inputs of such a row are zeros.

    Raises:
        FormatError: The file is cut short, or its columns are not pixels.
    """
    del bundle
    return _FORMS[form](path)


def _read_parquet(path: Path) -> Iterator[pa.RecordBatch]:
    with open_parquet(path) as file:
        names = file.schema_arrow.names
        if "pixels" not in names:
            raise FormatError(f"{path} has no column 'pixels' (784 values each); it has {', '.join(names) or 'none'}")
        columns = [name for name in ("row_id", "pixels") if name in names]
        first = 0
        for batch in parquet_batches(file, path, columns, _ROWS):
            ids = batch.column("row_id") if "row_id" in names else None
            yield _digit_batch(*_pixels(batch.column("pixels"), path), ids, path, first)
            first += batch.num_rows


def _read_csv(path: Path) -> Iterator[pa.RecordBatch]:
    header, columns = _csv_header(path)
    names = [name.strip().lower() for name in columns] if header else [""] * len(columns)
    if not header and len(columns) == PIXELS + 1:
        names[0] = "label"  # the usual form without a header
    ids = [i for i, name in enumerate(names) if name in _ID_NAMES]
    labels = [i for i, name in enumerate(names) if name in _LABEL_NAMES]
    pixels = [i for i in range(len(names)) if i not in ids and i not in labels]
    if len(pixels) != PIXELS or len(ids) > 1 or len(labels) > 1:
        raise FormatError(
            f"{path} has {len(columns)} columns, {len(pixels)} of them pixels; expected {PIXELS} pixel columns (row by "
            "row of the image), and optionally one of row_id, id and one of label, digit, class"
        )
    # Columns are renamed, because a header may repeat a name. Pixels are int32, so that a 300 rejects only its row.
    own = [f"c{i}" for i in range(len(names))]
    types = {own[i]: pa.int32() for i in pixels} | {own[i]: pa.int64() for i in ids}
    options = {
        "read_options": pa_csv.ReadOptions(column_names=own, skip_rows=int(header), use_threads=False),
        "convert_options": pa_csv.ConvertOptions(
            column_types=types, include_columns=[own[i] for i in ids + pixels], strings_can_be_null=False
        ),
    }
    first = 0
    with open_plain(path) as stream, pa_csv.open_csv(stream, **options) as reader:
        for batch in reader:
            values = np.empty((batch.num_rows, PIXELS), np.int32)
            lacking: Reasons = {}
            for at, column in enumerate(batch.columns[len(ids) :]):
                if column.null_count:
                    rows_lacking = column.is_null().to_numpy(zero_copy_only=False)
                    lacking = {int(row): f"pixel {at} is missing" for row in np.flatnonzero(rows_lacking)} | lacking
                    column = column.fill_null(0)
                values[:, at] = column.to_numpy()
            pixel_bytes, outside = _bytes(values)
            yield _digit_batch(pixel_bytes, outside | lacking, batch.column(0) if ids else None, path, first)
            first += batch.num_rows


def _csv_header(path: Path) -> tuple[bool, list[str]]:
    """Return whether a CSV has a header, and the fields of its first line."""
    with open_plain(path) as stream:
        start = stream.read(_HEADER_LIMIT)
    line, _, _ = start.lstrip(b"\xef\xbb\xbf").partition(b"\n")
    if len(line) >= _HEADER_LIMIT - 3:
        raise FormatError(f"{path} is not a CSV of digits: its first line is longer than {_HEADER_LIMIT} bytes")
    fields = next(csv.reader(io.StringIO(line.decode("utf-8", errors="replace"))), [])
    return not all(re.fullmatch(r"\s*-?\d+\s*", field) for field in fields), fields


def _read_idx(path: Path) -> Iterator[pa.RecordBatch]:
    first = 0
    for images in idx.iter_idx_images(path, _ROWS):
        yield _digit_batch(images.reshape(len(images), PIXELS), {}, None, path, first)
        first += len(images)


def _digit_batch(values: np.ndarray, reasons: Reasons, ids: pa.Array | None, path: Path, first: int) -> pa.RecordBatch:
    """Return one batch of `SCHEMA` and reason from uint8 [rows, 784]; without ids, rows are numbered from `first`."""
    if ids is None:
        ids = pa.array(np.arange(first, first + len(values), dtype=np.int64))
    elif not pa.types.is_integer(ids.type):
        raise FormatError(f"{path}: row_id is {ids.type}, expected whole numbers")
    elif ids.null_count:
        lacking = np.flatnonzero(ids.is_null().to_numpy(zero_copy_only=False))
        reasons = reasons | {int(row): f"row {first + row} of the file has no row_id" for row in lacking}
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    inputs = pa.FixedSizeListArray.from_arrays(flat, PIXELS)
    return with_reasons(pa.record_batch([ids.cast(pa.int64()), inputs], schema=SCHEMA), reasons)


def _pixels(column: pa.Array, path: Path) -> tuple[np.ndarray, Reasons]:
    """Return uint8 [rows, 784] from a column of lists, or of 784 bytes each, which are not copied."""
    kind = column.type
    missing = column.is_null().to_numpy(zero_copy_only=False)
    reasons = {int(row): "the pixels are missing" for row in np.flatnonzero(missing)}
    if pa.types.is_fixed_size_binary(kind) and kind.byte_width == PIXELS:
        # Read several times faster than lists, which store a length and a presence for each pixel.
        values = np.frombuffer(column.buffers()[1], np.uint8).reshape(-1, PIXELS)
        values = values[column.offset : column.offset + len(column)]
        return (np.where(missing[:, None], np.uint8(0), values) if reasons else values), reasons
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise FormatError(
            f"{path}: pixels is {kind}, expected a list of {PIXELS} whole numbers 0–255 or {PIXELS} bytes"
        )
    if not pa.types.is_integer(kind.value_type):
        raise FormatError(f"{path}: pixels are {kind.value_type}, expected whole numbers 0–255 as in the raw images")
    lengths = pc.list_value_length(column).fill_null(PIXELS).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(lengths != PIXELS):
        reasons[int(row)] = f"{lengths[row]} pixels, expected {PIXELS} ({idx.SIDE} × {idx.SIDE})"
    whole = np.ones(len(column), bool)
    whole[list(reasons)] = False
    flat = (column.filter(pa.array(whole)) if reasons else column).flatten()
    places = np.flatnonzero(whole)
    if flat.null_count:
        lacking = flat.is_null().to_numpy(zero_copy_only=False).reshape(-1, PIXELS).any(axis=1)
        reasons |= {int(places[row]): "a pixel is missing" for row in np.flatnonzero(lacking)}
        flat = flat.fill_null(0)
    found, outside = _bytes(flat.to_numpy().reshape(-1, PIXELS))
    reasons |= {int(places[row]): reason for row, reason in outside.items() if int(places[row]) not in reasons}
    if len(found) == len(column):
        return found, reasons
    values = np.zeros((len(column), PIXELS), np.uint8)
    values[places] = found
    return values, reasons


def _bytes(values: np.ndarray) -> tuple[np.ndarray, Reasons]:
    """Return whole numbers as uint8 [rows, 784]; a row with a number outside 0–255 becomes zeros."""
    if values.dtype == np.uint8:
        return values, {}
    outside = (values < 0) | (values > 255)
    reasons = {}
    for row in np.flatnonzero(outside.any(axis=1)):
        pixel = int(outside[row].argmax())
        reasons[int(row)] = f"pixel {pixel} is {values[row, pixel]}, expected 0–255"
    found = values.astype(np.uint8)
    found[list(reasons)] = 0
    return found, reasons


_FORMS: Mapping[Form, Callable[[Path], Iterator[pa.RecordBatch]]] = {
    "parquet": _read_parquet,
    "csv": _read_csv,
    "idx": _read_idx,
}


def _profile(batch: pa.RecordBatch, card: Card) -> dict[str, Numbers]:
    del card
    column = batch.column("inputs")
    pixels = column.flatten().to_numpy().reshape(len(batch), column.type.list_size)
    size = pixels.shape[1]
    return {
        "mean": np.add.reduce(pixels, axis=1, dtype=np.uint32) / size,
        "ink": np.add.reduce(pixels != 0, axis=1, dtype=np.uint32) / size,
    }


def _bounds(columns: Mapping[str, Numbers], card: Card) -> tuple[Expectation, ...]:
    del card
    most = min(1.0, widened(columns["ink"])[1])
    return (between("the image is neither blank nor all ink", "ink", (0.0, most), strict_min=True),)


DIGIT_READER = InputReader("digits", None, ("parquet", "csv", "idx"), read_digits, ("mean", "ink"), _profile, _bounds)
INTERFACES = {"classification": Interface(("uint8", (3,)), DIGIT_READER, CLASSES)}
