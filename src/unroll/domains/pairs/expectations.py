"""What is expected of a table of sentence pairs."""

import great_expectations as gx
import pyarrow as pa

from unroll.domains.pairs.config import PairDataset
from unroll.validation.rows import ROW, row_expectations, row_frame
from unroll.validation.suites import Suites


def make_suites(table: pa.Table, name: str, section: PairDataset) -> Suites:
    """Return the pairs and their suite."""
    sources, targets = table["source"].to_pylist(), table["target"].to_pylist()
    frame = row_frame(table, sources, zip(sources, targets, strict=True))
    frame["source_characters"] = [len(text or "") for text in sources]
    frame["target_characters"] = [len(text or "") for text in targets]
    expectations = row_expectations(frame, ["source_characters", "target_characters"], section, name)
    return [(frame, gx.ExpectationSuite("pairs", expectations, meta={"row": ROW}))]
