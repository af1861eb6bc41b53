"""Files in, record batches out: see `unroll.inference.batches` for their contents.

A reader streams: it holds a few batches of a file; of prices, it keeps each ticker's last days.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from unroll.errors import FormatError
from unroll.inference.batches import CALLS_PER_BATCH, guarded, rebatched
from unroll.inference.bundle import Bundle
from unroll.inference.forms import NAMES, form_of


def open_file(path: Path, bundle: Bundle, rows: int) -> Iterator[pa.RecordBatch]:
    """Read a file for a model.

    Args:
        path: Of a form that the model's reader takes; text forms may be gzipped, and IDX, too.
        bundle: Of the model that will score the rows.
        rows: Rows of one call of the graph. A batch has rows for `CALLS_PER_BATCH` calls; fewer if rows are long, or at
            the end.

    Raises:
        FormatError: The file has another form, is cut short, or lacks columns; perhaps only while batches are read.
        DataError: It has no rows; while batches are read.
    """
    reader, form = bundle.card.interface.reader, form_of(path)
    if form not in reader.forms:
        raise FormatError(
            f"{path} is {NAMES[form]}; {bundle.card.name} reads {reader.name} from "
            + " or ".join(NAMES[one] for one in reader.forms)
        )
    return rebatched(guarded(reader.read(path, form, bundle), path), rows * CALLS_PER_BATCH)
