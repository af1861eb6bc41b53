"""Running text: plain files, one paragraph or heading per line, read into one typed table.

Columns of the table: row_id int64 (0, 1, … in the order of the files), split string, text string (NFC, stripped).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from unroll.domains.articles.config import ArticleDataset
from unroll.errors import FormatError
from unroll.features.text_files import normal, read_files, read_lines
from unroll.sources.ingested import Ingested

if TYPE_CHECKING:
    from unroll.sources.fetch import Fetched

ENDINGS = (".txt", ".text")
SCHEMA = pa.schema([("row_id", pa.int64()), ("split", pa.string()), ("text", pa.string())])


def read_dataset(fetched: Sequence["Fetched"], section: ArticleDataset) -> Ingested:
    """Read every file of every source into one table; blank lines are left out.

    Raises:
        FormatError: A file cannot be read as text, or has only blank lines.
    """
    texts, splits, records = read_files(fetched, ENDINGS, lambda path: _read(path, section.encoding))
    return Ingested(pa.table({"row_id": range(len(texts)), "split": splits, "text": texts}, schema=SCHEMA), records)


def _read(path: Path, encoding: str) -> tuple[list[str], dict[str, int]]:
    lines = read_lines(path, encoding)
    texts = [text for text in map(normal, lines) if text]
    if not texts:
        raise FormatError(f"{path} has no text: all of its {len(lines):,} lines are blank")
    return texts, {"blank_lines": len(lines) - len(texts)}
