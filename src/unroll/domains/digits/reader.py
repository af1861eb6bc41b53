"""Reader of images from Parquet, CSV, TSV, IDX or npz files."""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from unroll.domains.digits.config import ImageSettings
from unroll.domains.digits.csv_images import read_csv_ids
from unroll.domains.digits.images import IDS, Images, Size, read_images
from unroll.inference.batches import with_reasons
from unroll.inference.bundle import Bundle
from unroll.inference.card import Card
from unroll.inference.columns import CLASSES
from unroll.inference.ids import are_integers, parquet_ids_are_integers, row_ids
from unroll.inference.interface import InputReader, Interface, Numbers
from unroll.inference.reference import Expectation, between, widened
from unroll.sources.forms import Form
from unroll.sources.parquet import Chunk, open_parquet


def read_digits(path: Path, form: Form, bundle: Bundle, chunk: Chunk | None = None) -> Iterator[pa.RecordBatch]:
    """Read images, batch by batch.

    Yields:
        Batches of row_id (int64 or string), inputs uint8 [height * width] and reason string: why a row cannot be scored
        (its id or a pixel is missing, it has another number of pixels, or one is not a whole number 0–255); the inputs
        of such a row are zeros.

    Raises:
        FormatError: The file is cut short, or its columns are not pixels.
    """
    card = bundle.card
    classes = next(one.shape[1] for one in card.outputs if one.name == "probabilities")
    classes = classes if isinstance(classes, int) else 256
    found = read_images(path, form, card.file_settings, size_of(card), classes, chunk)
    first = next(found, None)
    if first is None:
        return
    integers = first.ids is None or _ids_are_integers(path, form, card, classes)
    rows = chunk.first_row if chunk else 0
    for batch in chain([first], found):
        yield _batch(batch, integers, rows)
        rows += len(batch.pixels)


def size_of(card: Card) -> Size:
    """Return height and width of the images that a model reads; they are square where the graph takes any height."""
    _, height, width = card.entry.shape
    return (height if isinstance(height, int) else int(width)), int(width)


def _ids_are_integers(path: Path, form: Form, card: Card, classes: int) -> bool:
    if form == "parquet":
        file = open_parquet(path)
        plain = {name.lower(): name for name in file.schema_arrow.names}
        return parquet_ids_are_integers(file, path, next(plain[name] for name in IDS if name in plain))
    batches = read_csv_ids(path, card.file_settings, size_of(card), classes)
    return all(are_integers(ids, as_text=True) or not any(ids) for ids in batches)


def _batch(batch: Images, integers: bool, first: int) -> pa.RecordBatch:
    count = len(batch.pixels)
    ids, lacking = batch.ids, dict[int, str]()
    if ids is None:
        ids = pa.array(np.arange(first, first + count))
    elif pa.types.is_signed_integer(ids.type) and not ids.null_count:
        # Most ids: a look at each of them in Python would cost as much as the smallest graph.
        ids = ids.cast(pa.int64())
    else:
        ids, lacking = row_ids(ids.to_pylist(), integers, first)
    flat = pa.array(np.ascontiguousarray(batch.pixels).reshape(-1))
    inputs = pa.FixedSizeListArray.from_arrays(flat, batch.size[0] * batch.size[1])
    return with_reasons(pa.record_batch({"row_id": ids, "inputs": inputs}), batch.reasons | lacking)


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


DIGIT_READER = InputReader(
    "images",
    None,
    ("parquet", "csv", "tsv", "idx", "npz"),
    read_digits,
    ("mean", "ink"),
    _profile,
    _bounds,
    ImageSettings,
    divisible=lambda _: True,
)
INTERFACES = {"classification": Interface(("uint8", (3,)), DIGIT_READER, CLASSES)}
