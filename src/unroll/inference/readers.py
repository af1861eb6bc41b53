"""Files in, record batches out: see `unroll.inference.batches` for what these hold.

A reader streams: it holds a few batches of a file; of prices, it keeps each ticker's last days.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from unroll.domains.digits.reader import read_digits
from unroll.domains.prices.reader import read_days
from unroll.domains.recordings.reader import read_arrays
from unroll.domains.texts.reader import read_texts
from unroll.errors import FormatError
from unroll.inference.batches import READ_TOGETHER, guarded, rebatched
from unroll.inference.bundle import Bundle
from unroll.inference.forms import NAMES, Form, form_of


@dataclass(frozen=True)
class Reader:
    """How files become batches.

    Attributes:
        forms: That it reads.
        read: (path, its form, bundle) → the file's rows, in batches of any size.
    """

    forms: tuple[Form, ...]
    read: Callable[[Path, Form, Bundle], Iterator[pa.RecordBatch]]


READERS: Mapping[str, Reader] = {
    "digits": Reader(("parquet", "csv", "idx"), read_digits),
    "prices": Reader(("parquet", "csv"), read_days),
    "text": Reader(("parquet", "csv", "tsv", "jsonl", "txt"), read_texts),
    "arrays": Reader(("parquet",), read_arrays),
}
"""By the name that a card calls them by."""


def open_file(path: Path, bundle: Bundle, rows: int) -> Iterator[pa.RecordBatch]:
    """Reads a file for a model.

    Args:
        path: Of a form that the model's reader takes; text forms may be gzipped, and IDX, too.
        bundle: Its card says which reader, its vocabularies what tokens are.
        rows: Rows of one call of the graph. A batch has rows for `READ_TOGETHER` calls; fewer where rows are long, and
            at the end of the file.

    Raises:
        FormatError: The file is of no such form, is cut short, or lacks columns. This may come while the batches are
            read.
        DataError: It holds no rows; this, too.
    """
    reader, form = READERS[bundle.card.reader], form_of(path)
    if form not in reader.forms:
        raise FormatError(
            f"{path} is {NAMES[form]}; {bundle.card.name} reads {bundle.card.reader}: give it "
            + " or ".join(NAMES[one] for one in reader.forms)
        )
    return rebatched(guarded(reader.read(path, form, bundle), path), rows * READ_TOGETHER)
