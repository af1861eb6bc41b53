"""Running text: plain files, one paragraph or heading a line, read into one typed table.

Columns of the table: row_id int64 (0, 1, … in the order of the files), split string, text string (NFC, no outer
blanks).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from unroll.domains.articles.config import ArticleDataset
from unroll.errors import FormatError
from unroll.features import text_files
from unroll.sources.ingested import Ingested

if TYPE_CHECKING:
    from unroll.sources.fetch import Fetched

SCHEMA = pa.schema([("row_id", pa.int64()), ("split", pa.string()), ("text", pa.string())])

_ENDINGS = (".txt", ".text")


def read_dataset(fetched: Sequence["Fetched"], section: ArticleDataset) -> Ingested:
    """Reads every file of every source into one table; blank lines are left out.

    Raises:
        FormatError: A file cannot be read as text, or has nothing but blank lines.
    """
    del section
    splits: list[str | None] = []
    texts: list[str] = []
    records: list[dict[str, Any]] = []
    for source in fetched:
        described: list[dict[str, Any]] = []
        for path in text_files.files_of(source.path, _ENDINGS):
            lines = text_files.read_lines(path)
            kept = [text for text in map(text_files.normal, lines) if text]
            if not kept:
                raise FormatError(f"{path} has no text: {len(lines):,} lines, all blank")
            texts += kept
            splits += [source.split] * len(kept)
            described.append({"file": path.name, "rows": len(kept), "blank_lines": len(lines) - len(kept)})
        records.append({**source.record, "files": described})
    return Ingested(
        pa.table({"row_id": list(range(len(texts))), "split": splits, "text": texts}, schema=SCHEMA), records
    )
