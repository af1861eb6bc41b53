"""What is expected of a table of running text."""

import great_expectations as gx
import pyarrow as pa

from unroll.domains.articles.config import ArticleDataset
from unroll.validation.rows import ROW, row_expectations, text_frame
from unroll.validation.suites import Suites


def make_suites(table: pa.Table, name: str, section: ArticleDataset) -> Suites:
    """Return the lines and their suite."""
    frame = text_frame(table)
    expectations = row_expectations(frame, ["characters"], section, name)
    return [(frame, gx.ExpectationSuite("lines", expectations, meta={"row": ROW}))]
