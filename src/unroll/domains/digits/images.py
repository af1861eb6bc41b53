"""Images from files of every form, batch by batch: read alike for training and for scoring."""

import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from unroll.domains.digits import idx
from unroll.domains.digits.config import ImageSettings
from unroll.errors import FormatError
from unroll.sources.forms import Form
from unroll.sources.parquet import Chunk, open_parquet, parquet_batches

Pixels = NDArray[np.uint8]
Reasons = dict[int, str]
"""Row of a batch → why it cannot be used."""
Size = tuple[int, int]
"""Height and width."""
IDS, LABELS = ("row_id", "id"), ("label", "labels", "digit", "class", "target")
ROWS = 8192
"""Images in a batch."""
_LIST_ROWS = 1024
"""Images that Parquet decodes at once: their levels and 64-bit values still fit into the processor's cache."""
_PIXELS = ("pixels", "image", "images")


@dataclass(frozen=True)
class Images:
    """Images of a batch.

    Attributes:
        size: Height and width.
        pixels: uint8 [row, pixel], row by row of an image, 0 where it cannot be used.
        reasons: Why a row cannot be used.
        ids: The file's ids, of any type, or None.
        labels: The file's labels, of any type, or None.
        splits: The file's splits, or None.
    """

    size: Size
    pixels: Pixels
    reasons: Reasons = field(default_factory=dict)
    ids: pa.Array | None = None
    labels: pa.Array | None = None
    splits: pa.Array | None = None


def read_images(
    path: Path,
    form: Form,
    settings: ImageSettings,
    size: Size | None,
    classes: int = 256,
    chunk: Chunk | None = None,
) -> Iterator[Images]:
    """Read the images of a file.

    Args:
        path: The file.
        form: Its form.
        settings: How it is written. Images that are stored column by column are turned.
        size: Height and width that images must have; None for what the file shows.
        classes: Number of classes; tells a column of labels without a name from one of pixels.
        chunk: What to read of a Parquet file; None for all.

    Raises:
        FormatError: The file is cut short, its columns are not pixels, or its images have another size.
    """
    from unroll.domains.digits.csv_images import read_csv_images

    size = size or settings.image_size
    if form in ("csv", "tsv"):
        found = read_csv_images(path, settings, size, classes)
    else:
        # Before images are turned, height and width stand in the other order.
        stored = size[::-1] if size and settings.transpose else size
        found = _read_parquet(path, stored, chunk) if form == "parquet" else _FORMS[form](path)
    for batch in found:
        if size and batch.size != (size[::-1] if settings.transpose else size):
            raise FormatError(
                f"{path}: images of {batch.size[0]} × {batch.size[1]} pixels, expected {size[0]} × {size[1]}"
            )
        yield turned(batch) if settings.transpose else batch


def side_of(pixels: int, size: Size | None, path: Path) -> Size:
    """Return height and width of images of so many pixels, which are square where no size is known."""
    if size and size[0] * size[1] == pixels:
        return size
    side = round(pixels**0.5)
    if size or side * side != pixels or not pixels:
        expected = f"{size[0]} × {size[1]}" if size else "a square; `image_size` gives height and width of others"
        raise FormatError(f"{path}: images of {pixels:,} pixels, expected {expected}")
    return side, side


def as_bytes(values: NDArray[np.generic]) -> tuple[Pixels, Reasons]:
    """Return numbers as uint8 [row, pixel]; a row with one that is not a whole number 0–255 becomes zeros."""
    if values.dtype == np.uint8:
        return values.view(np.uint8), {}
    with np.errstate(invalid="ignore"):
        found = values.astype(np.uint8)
        outside = found != values
    reasons = {}
    for row in np.flatnonzero(outside.any(axis=1)):
        pixel = int(outside[row].argmax())
        value = values[row, pixel]
        if np.isnan(value):
            reasons[int(row)] = f"pixel {pixel} is missing"
        else:
            expected = "0–255" if value == np.rint(value) else "a whole number 0–255"
            reasons[int(row)] = f"pixel {pixel} is {value:g}, expected {expected}"
    found[list(reasons)] = 0
    return found, reasons


def turned(batch: Images) -> Images:
    """Return images whose rows are the columns."""
    height, width = batch.size
    pixels = batch.pixels.reshape(-1, height, width).transpose(0, 2, 1).reshape(len(batch.pixels), -1)
    return Images((width, height), pixels, batch.reasons, batch.ids, batch.labels, batch.splits)


def _read_parquet(path: Path, size: Size | None, chunk: Chunk | None) -> Iterator[Images]:
    file = open_parquet(path, chunk)
    plain = {name.lower(): name for name in file.schema_arrow.names}
    column = next((plain[name] for name in _PIXELS if name in plain), None)
    if column is None:
        raise FormatError(
            f"{path} has no column 'pixels' (a list of values or bytes each); it has "
            f"{', '.join(file.schema_arrow.names[:12]) or 'none'}"
        )
    ids, labels, splits = (
        next((plain[name] for name in names if name in plain), None) for names in (IDS, LABELS, ("split",))
    )
    wanted = [name for name in (column, ids, labels, splits) if name]
    for batch in parquet_batches(file, path, wanted, _LIST_ROWS):
        pixels, reasons, size = _pixels(batch.column(column), size, path)
        others = (batch.column(name) if name else None for name in (ids, labels, splits))
        yield Images(size, pixels, reasons, *others)


def _pixels(column: pa.Array, size: Size | None, path: Path) -> tuple[Pixels, Reasons, Size]:
    """Return pixels from a column of lists, nested or not, or of bytes, which are not copied if they can be shared."""
    kind = column.type
    if pa.types.is_fixed_size_binary(kind):
        size = side_of(kind.byte_width, size, path)
        # Read several times faster than lists, which store a length and a presence for each pixel.
        values = np.frombuffer(column.buffers()[1], np.uint8).reshape(-1, kind.byte_width)
        values = values[column.offset : column.offset + len(column)]
        missing = column.is_null().to_numpy(zero_copy_only=False)
        reasons = {int(row): "the pixels are missing" for row in np.flatnonzero(missing)}
        return (np.where(missing[:, None], np.uint8(0), values) if reasons else values), reasons, size
    rows = column
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        offsets = np.frombuffer(column.buffers()[1], np.int32 if pa.types.is_binary(kind) else np.int64)
        offsets = offsets[column.offset : column.offset + len(column) + 1]
        content = pa.Array.from_buffers(pa.uint8(), int(offsets[-1]), [None, column.buffers()[2]])
        rows = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), content)
        missing = column.is_null()
    elif _is_list(kind):
        missing = column.is_null()
    else:
        raise FormatError(f"{path}: pixels are {kind}, expected a list of whole numbers 0–255, or bytes")
    return _from_lists(rows, missing.to_numpy(zero_copy_only=False), size, path)


def _from_lists(
    rows: pa.Array, missing: NDArray[np.bool_], size: Size | None, path: Path
) -> tuple[Pixels, Reasons, Size]:
    reasons: Reasons = {int(row): "the pixels are missing" for row in np.flatnonzero(missing)}
    lengths = pc.list_value_length(rows).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    cells = (rows.filter(pa.array(~missing)) if reasons else rows).flatten()
    if _is_list(cells.type):
        # The rows of an image.
        inner = pc.list_value_length(cells).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        ends = np.cumsum(np.where(missing, 0, lengths))
        sums = np.diff(np.concatenate([[0], np.cumsum(inner)])[np.concatenate([[0], ends])])
        if size is None and len(inner) and (inner == inner[0]).all():
            size = (int(lengths[~missing][0]), int(inner[0]))
        lengths, cells = sums, cells.flatten()
    if not (pa.types.is_integer(cells.type) or pa.types.is_floating(cells.type) or pa.types.is_decimal(cells.type)):
        raise FormatError(f"{path}: pixels are {cells.type}, expected whole numbers 0–255 as in the raw images")
    if size is None:
        if missing.all():
            raise FormatError(f"{path}: all pixels of its first {len(missing):,} rows are missing")
        size = side_of(int(np.bincount(lengths[~missing]).argmax()), None, path)
    pixels = size[0] * size[1]
    for row in np.flatnonzero(~missing & (lengths != pixels)):
        reasons[int(row)] = f"{lengths[row]} pixels, expected {pixels} ({size[0]} × {size[1]})"
    whole = ~missing & (lengths == pixels)
    kept = cells.filter(pa.array(np.repeat(whole[~missing], lengths[~missing]))) if (whole != ~missing).any() else cells
    if pa.types.is_decimal(kept.type) or kept.null_count:
        kept = kept.cast(pa.float64()).fill_null(np.nan)
    found, outside = as_bytes(kept.to_numpy(zero_copy_only=False).reshape(-1, pixels))
    places = np.flatnonzero(whole)
    reasons |= {int(places[row]): reason for row, reason in outside.items()}
    if len(found) == len(rows):
        return found, reasons, size
    values = np.zeros((len(rows), pixels), np.uint8)
    values[places] = found
    return values, reasons, size


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _read_idx(path: Path) -> Iterator[Images]:
    for images in idx.iter_idx_images(path, ROWS):
        yield Images((images.shape[1], images.shape[2]), images.reshape(len(images), -1))


def load_npz(path: Path) -> dict[str, NDArray[np.generic]]:
    """Read the arrays of an npz file, by name; arrays of Python objects are refused, because they are pickles.

    Raises:
        FormatError: It is damaged, or has such arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path} is not an npz file of plain arrays: {' '.join(str(error).split())[:200]}") from None


def gray(images: NDArray[np.generic], where: str) -> tuple[Pixels, Reasons, Size]:
    """Return images of an array [row, height, width], or of one gray channel, as bytes.

    Raises:
        FormatError: The array has another shape, such as colors.
    """
    if images.ndim == 4 and 1 in (images.shape[1], images.shape[3]):
        images = images[:, 0] if images.shape[1] == 1 else images[..., 0]
    if images.ndim != 3:
        raise FormatError(f"{where} has the shape {list(images.shape)}, expected gray images [row, height, width]")
    return *as_bytes(images.reshape(len(images), -1)), (images.shape[1], images.shape[2])


def _read_npz(path: Path) -> Iterator[Images]:
    found = {name: values for name, values in load_npz(path).items() if values.ndim > 2}
    if len(found) != 1:
        raise FormatError(f"{path} has {len(found)} arrays of images ({', '.join(found)}); expected one to score")
    ((name, images),) = found.items()
    for start in range(0, len(images), ROWS):
        pixels, reasons, own = gray(images[start : start + ROWS], f"{path}, {name}")
        yield Images(own, pixels, reasons)


_FORMS: Mapping[Form, Callable[[Path], Iterator[Images]]] = {
    "idx": _read_idx,
    "npz": _read_npz,
}
