"""Files in, record batches out: see `unroll.inference.batches` for what these hold.

A reader never holds more of a file than a few batches of it; of prices, it keeps each ticker's last days. Arrow is
given open files, never names: it takes some names for addresses, and cannot take those that are no UTF-8.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from unroll.domains.digits.reader import read_digits
from unroll.domains.prices.reader import read_days
from unroll.domains.recordings.reader import read_arrays
from unroll.domains.texts.reader import read_texts
from unroll.errors import FormatError
from unroll.inference.batches import Reading
from unroll.inference.bundle import Bundle
from unroll.inference.forms import NAMES, Form, form_of


@dataclass(frozen=True)
class Reader:
    """How files become batches.

    Attributes:
        forms: That it reads.
        read: (path, its form, bundle, rows of one call of the graph) → what the file holds.
    """

    forms: tuple[Form, ...]
    read: Callable[[Path, Form, Bundle, int], Reading]


READERS: Mapping[str, Reader] = {
    "digits": Reader(("parquet", "csv", "idx"), read_digits),
    "prices": Reader(("parquet", "csv"), read_days),
    "text": Reader(("parquet", "csv", "tsv", "jsonl", "txt"), read_texts),
    "arrays": Reader(("parquet",), read_arrays),
}
"""By the name that a card calls them by."""


def open_file(path: Path, bundle: Bundle, rows: int) -> Reading:
    """Reads a file for a model.

    Args:
        path: Of a form that the model's reader takes; text forms may be gzipped, and IDX, too.
        bundle: Its card says which reader, its vocabularies what tokens are.
        rows: Of one call of the graph. A batch has as many, or of rows of varying length a multiple; the last one of a
            file may have fewer.

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
    return reader.read(path, form, bundle, rows)
