"""Labeled texts: CSV, TSV or JSON lines, read into one typed table.

Columns of the table: row_id int64 (0, 1, … in the order of the files), split string (the source's, or null), text
string (NFC, stripped), label string (null where labels are numbers), rating float64 (null where they are names).
"""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from unroll.domains.texts.config import TextDataset
from unroll.errors import FormatError
from unroll.features.text_files import normal, read_files, read_text
from unroll.sources.ingested import Ingested
from unroll.sources.tables import read_table

if TYPE_CHECKING:
    from unroll.sources.fetch import Fetched

SCHEMA = pa.schema(
    [
        ("row_id", pa.int64()),
        ("split", pa.string()),
        ("text", pa.string()),
        ("label", pa.string()),
        ("rating", pa.float64()),
    ]
)


def read_dataset(fetched: Sequence["Fetched"], section: TextDataset) -> Ingested:
    """Read every file of every source into one table.

    Raises:
        FormatError: A file is not CSV, TSV or JSON lines, a text is empty, or a label is not as `section` declares it;
            the message has the file, line and value.
    """
    rows, splits, records = read_files(
        fetched, (".csv", ".tsv", ".jsonl", ".ndjson"), lambda path: ([*_read(path, section)], {})
    )
    columns = {name: [row[place] for row in rows] for place, name in enumerate(("text", "label", "rating"))}
    return Ingested(pa.table({"row_id": range(len(rows)), "split": splits, **columns}, schema=SCHEMA), records)


def _read(path: Path, section: TextDataset) -> Iterator[tuple[str, str | None, float | None]]:
    """Yield text, label and rating of each row."""
    names = (section.text_column, section.label_column)
    # JSON lines begin with an object; no header of a table does.
    is_json = read_text(path).lstrip().startswith("{")
    for line, text, label in _json_rows(path, names) if is_json else _table_rows(path, names, section):
        where = f"{path}, line {line:,}"
        yield (_text(text, f"{where}, {names[0]}"), *_label(label, f"{where}, {names[1]}", section))


def _table_rows(path: Path, names: tuple[str, str], section: TextDataset) -> Iterator[tuple[int, Any, Any]]:
    titles, rows = read_table(path, section, [name.lower() for name in names])
    _require(names, titles, str(path))
    text, label = map(titles.index, names)
    for line, cells in rows:
        yield line, cells[text], cells[label]


def _json_rows(path: Path, names: tuple[str, str]) -> Iterator[tuple[int, Any, Any]]:
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise FormatError(f"{path}, line {number:,} is not valid JSON: {error}") from None
        if not isinstance(row, dict):
            raise FormatError(f"{path}, line {number:,}: found {line.strip()[:60]!r}, expected a JSON object")
        _require(names, list(row), f"{path}, line {number:,}")
        yield number, row[names[0]], row[names[1]]


def _require(names: Sequence[str], found: Sequence[str], where: str) -> None:
    missing = [name for name in names if name not in found]
    if missing:
        raise FormatError(
            f"{where}: missing column {', '.join(missing)}; found {', '.join(found[:12])}; "
            "text_column and label_column of the dataset name them, column_names those of a file without a header"
        )


def _text(cell: Any, where: str) -> str:
    if not isinstance(cell, str):
        raise FormatError(f"{where}: found {cell!r}, expected a text")
    text = normal(cell)
    if not text:
        raise FormatError(f"{where}: the text is empty; remove the row, nothing can be learned from it")
    return text


def _label(cell: Any, where: str, section: TextDataset) -> tuple[str | None, float | None]:
    """Return the label as a name, or as a number where the section declares no names."""
    if section.labels is not None:
        label = normal(str(cell)) if isinstance(cell, str | int) else cell
        if label not in section.labels:
            raise FormatError(
                f"{where}: found {cell!r}, expected one of {', '.join(section.labels)} (`labels` of the dataset)"
            )
        return label, None
    try:
        rating = math.nan if isinstance(cell, bool) else float(cell)
    except (TypeError, ValueError):
        rating = math.nan
    if not math.isfinite(rating):
        raise FormatError(
            f"{where}: found {cell!r}, expected a finite number; where labels are names, declare them under `labels`"
        )
    return None, rating
