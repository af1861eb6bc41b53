"""Files in, record batches out: a row's id, what else its prediction must carry, and the graph's `inputs`.

A reader never holds more of a file than a batch of it; of prices, it keeps each ticker's last days. Arrow is given open
files, never names: it takes some names for addresses, and cannot take those that are no UTF-8.
"""

import csv
import io
import os
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from unroll.datasets import idx
from unroll.errors import DataError, FormatError
from unroll.inference.bundle import Card
from unroll.inference.prices import Skipped, last_windows

PIXELS = idx.SIDE * idx.SIDE
DIGIT_SCHEMA = pa.schema([("row_id", pa.int64()), ("inputs", pa.list_(pa.uint8(), PIXELS))])

Kind = Literal["parquet", "csv", "idx"]
_ID_NAMES = {"row_id", "id"}
_LABEL_NAMES = {"label", "digit", "class"}
_HEADER_LIMIT = 1 << 20
"""Bytes within which a CSV's first line must end."""
_READ_ERRORS = (pa.ArrowException, OSError, EOFError, zlib.error, csv.Error)


@dataclass(frozen=True)
class Reading:
    """What a file holds for the model: batches, to be read once, and what of the file cannot be scored."""

    batches: Iterator[pa.RecordBatch]
    skipped: tuple[Skipped, ...] = ()


def open_file(path: Path, card: Card, rows: int) -> Reading:
    """Reads a file for a model.

    Args:
        path: Parquet, CSV (gzipped or not) or IDX (gzipped or not).
        card: Says which reader, and for prices which columns and how many days.
        rows: Rows of a batch; the last one of a file may have fewer.

    Returns:
        For digits, batches of `DIGIT_SCHEMA`: row_id int64, inputs uint8 [784]. For prices, batches of row_id
        `TICKER@LASTDATE`, ticker, last_date, date (the forecast day), last_price float64 (USD), inputs
        float32 [window * columns], oldest day first.

    Raises:
        FormatError: The file is no Parquet, CSV or IDX, is cut short, or lacks columns. For digits this may come
            while the batches are read.
        DataError: A value cannot be used, or nothing in the file can be scored.
    """
    kind = kind_of(path)
    if card.prices is not None:
        if kind == "idx":
            raise FormatError(f"{path} holds IDX images; {card.name} reads prices: give it CSV or Parquet")
        batch, skipped = last_windows(path, kind == "parquet", stem_of(path.name), card.prices)
        return Reading(rebatched(iter([batch]), rows), skipped)
    read: dict[Kind, Callable[[Path, int], Iterator[pa.RecordBatch]]]
    read = {"parquet": _digits_of_parquet, "csv": _digits_of_csv, "idx": _digits_of_idx}
    return Reading(rebatched(_guarded(read[kind](path, rows), path), rows))


def kind_of(path: Path) -> Kind:
    """Tells a file's kind by its first bytes, and for text by its name.

    Raises:
        FormatError: It is none that can be scored.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    with idx.open_plain(path) as file:
        start = idx.read_plain(file, 4, path)
    if start == b"PAR1":
        return "parquet"
    if suffixes[-1:] in ([".parquet"], [".pq"]):
        raise FormatError(f"{path} is no Parquet: it starts with {start!r}, expected b'PAR1'; write the file again")
    if idx.is_idx(start):
        return "idx"
    if ".csv" in suffixes[-2:]:
        return "csv"
    raise FormatError(
        f"{path} starts with {start!r}: no Parquet, no IDX, and its name does not end in .csv or .csv.gz; "
        "write it in one of these forms"
    )


def stem_of(name: str) -> str:
    """A file's name without its ending: `BRK.B` for BRK.B.csv, `digits` for digits.csv.gz."""
    return Path(as_text(name).removesuffix(".gz")).stem


def as_text(text: str) -> str:
    """A file's name, or a message with it, as proper text: bytes that are no UTF-8 become `\\xNN`."""
    return os.fsencode(text).decode("utf-8", errors="backslashreplace")


def rebatched(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
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


def _guarded(batches: Iterator[pa.RecordBatch], path: Path) -> Iterator[pa.RecordBatch]:
    """Turns what a broken file makes the libraries raise into a FormatError, and an empty file into a DataError."""
    rows = 0
    try:
        for batch in batches:
            rows += batch.num_rows
            yield batch
    except _READ_ERRORS as error:
        raise FormatError(f"{path} cannot be read after row {rows}: {_one_line(error)}") from error
    if not rows:
        raise DataError(f"{path} holds no rows; expected at least one image")


# A digit file has one row an image; the three forms differ in where the 784 values stand.


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
                    raise DataError(f"{path}, row {first + _first_null(column)}: pixel {at} is missing")
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
    """One batch of `DIGIT_SCHEMA` from uint8 [rows, 784]; without ids, rows count on from `first`."""
    if ids is None:
        ids = pa.array(np.arange(first, first + len(values), dtype=np.int64))
    elif not pa.types.is_integer(ids.type):
        raise FormatError(f"{path}: row_id is {ids.type}, expected whole numbers")
    elif ids.null_count:
        raise DataError(f"{path}, row {first + _first_null(ids)}: row_id is missing")
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    inputs = pa.FixedSizeListArray.from_arrays(flat, PIXELS)
    return pa.record_batch([ids.cast(pa.int64()), inputs], schema=DIGIT_SCHEMA)


def _pixels(column: pa.Array, path: Path, first: int) -> np.ndarray:
    """uint8 [rows, 784] of a column of lists, or of 784 bytes each; bytes are not copied."""
    if column.null_count:
        raise DataError(f"{path}, row {first + _first_null(column)}: pixels are missing")
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
        raise DataError(f"{path}, row {first + _first_null(flat) // PIXELS}: a pixel is missing")
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


def _first_null(column: pa.Array) -> int:
    return int(column.is_null().to_numpy(zero_copy_only=False).argmax())


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
