"""What is expected of a table of tunes."""

import great_expectations as gx
import pyarrow as pa

from unroll.domains.tunes.config import TuneDataset
from unroll.validation.rows import ROW, row_expectations, text_frame
from unroll.validation.suites import Suites


def make_suites(table: pa.Table, name: str, section: TuneDataset) -> Suites:
    """Return the tunes and their suite."""
    frame = text_frame(table)
    expectations = row_expectations(frame, ["characters"], section, name)
    return [(frame, gx.ExpectationSuite("tunes", expectations, meta={"row": ROW}))]
