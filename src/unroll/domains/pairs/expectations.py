"""What is expected of a table of sentence pairs."""

import great_expectations as gx
import pyarrow as pa
import pyarrow.compute as pc

from unroll.domains.pairs.config import PairDataset
from unroll.validation.rows import ROW, row_expectations, row_frame
from unroll.validation.suites import Suites


def make_suites(table: pa.Table, name: str, section: PairDataset) -> Suites:
    """Return the pairs and their suite."""
    sources, targets = table["source"].to_pylist(), table["target"].to_pylist()
    frame = row_frame(table, sources, zip(sources, targets, strict=True))
    frame["source_characters"] = pc.fill_null(pc.utf8_length(table["source"]), 0).to_pandas()
    frame["target_characters"] = pc.fill_null(pc.utf8_length(table["target"]), 0).to_pandas()
    expectations = row_expectations(frame, ["source_characters", "target_characters"], section, name)
    return [(frame, gx.ExpectationSuite("pairs", expectations, meta={"row": ROW}))]
