"""Labeled texts: CSV, TSV, JSON or Parquet, read into one typed table.

Columns of the table: row_id int64 (0, 1, … in the order of the files), split string (the source's, or null), text
string (NFC, stripped), label string (null where labels are numbers), rating float64 (null where they are names).
"""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from unroll.domains.texts.config import TextDataset
from unroll.errors import FormatError
from unroll.features.text_files import normal, read_files
from unroll.sources.forms import is_json_array, start_of
from unroll.sources.ingested import Ingested
from unroll.sources.json_rows import json_objects
from unroll.sources.layouts import read_table
from unroll.sources.parquet import read_parquet

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

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".pq")
_NUMBER = re.compile(r"[\d.,+-]+")


def read_dataset(fetched: Sequence["Fetched"], section: TextDataset) -> Ingested:
    """Read every file of every source into one table.

    Raises:
        FormatError: A file is not CSV, TSV, JSON or Parquet, a text is empty, or a label is not as `section` declares
            it; the message has the file, line and value.
    """
    rows, splits, records = read_files(fetched, ENDINGS, lambda path: (_read(path, section), {}))
    columns = {name: [row[place] for row in rows] for place, name in enumerate(("text", "label", "rating"))}
    return Ingested(pa.table({"row_id": range(len(rows)), "split": splits, **columns}, schema=SCHEMA), records)


def _read(path: Path, section: TextDataset) -> list[tuple[str, str | None, float | None]]:
    """Return text, label and rating of each row."""
    names = (section.text_column, section.label_column)
    found = []
    for place, text, label in _cells(path, names, section):
        where = f"{path}, {place}"
        found.append((_text(text, f"{where}, {names[0]}"), *_label(label, f"{where}, {names[1]}", section)))
    if found and all(_NUMBER.fullmatch(text) for text, _, _ in found):
        raise FormatError(
            f"{path}: the column {names[0]} has numbers alone, no texts; set `text_column` of the dataset"
        )
    return found


def _cells(path: Path, names: tuple[str, str], section: TextDataset) -> Iterator[tuple[str, Any, Any]]:
    """Yield where each row is, its text and its label."""
    if start_of(path)[:4] == b"PAR1":
        table = read_parquet(path)
        _require(names, table.column_names, str(path))
        columns = (table.column(name).to_pylist() for name in names)
        for number, (text, label) in enumerate(zip(*columns, strict=True)):
            yield f"row {number:,}", text, label
    # JSON begins with an object or a list of them; no header of a table does.
    elif is_json_array(path) or start_of(path).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        for where, row, _ in json_objects(path, section.encoding):
            _require(names, list(row), f"{path}, {where}")
            yield where, row[names[0]], row[names[1]]
    else:
        titles, rows = read_table(path, section, [name.lower() for name in names])
        _require(names, titles, str(path))
        text_place, label_place = map(titles.index, names)
        for line, cells in rows:
            yield f"line {line:,}", cells[text_place], cells[label_place]


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
        label = _name(cell, section.labels)
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


def _name(cell: Any, labels: Sequence[str]) -> str:
    """Return a label as text: JSON's and Parquet's true is "true" or "True", as `labels` have it; 1.0 is "1"."""
    if isinstance(cell, bool):
        return str(cell) if str(cell) in labels else str(cell).lower()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return normal(str(cell))
