"""What is expected of a table of running text."""

import great_expectations as gx
import pyarrow as pa
import pyarrow.compute as pc

from unroll.domains.articles.config import ArticleDataset
from unroll.validation.rows import ROW, row_expectations, row_frame
from unroll.validation.suites import Suites


def make_suites(table: pa.Table, name: str, section: ArticleDataset) -> Suites:
    """Return the lines and their suite."""
    texts = table["text"].to_pylist()
    frame = row_frame(table, texts, texts)
    frame["characters"] = pc.fill_null(pc.utf8_length(table["text"]), 0).to_pandas()
    expectations = row_expectations(frame, ["characters"], section, name)
    return [(frame, gx.ExpectationSuite("lines", expectations, meta={"row": ROW}))]
