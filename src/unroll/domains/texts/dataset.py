"""Labelled texts: CSV, TSV or JSON lines, read into one typed table.

Columns of the table: row_id int64 (0, 1, … in the order of the files), split string (the source's, or null), text
string (NFC, no outer blanks), label string (null where labels are numbers), rating float64 (null where they are names).
"""

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from unroll.domains.texts.config import TextDataset
from unroll.errors import FormatError
from unroll.features import text_files
from unroll.sources.ingested import Ingested

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

_ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson")
_CELL = 1 << 24
"""Characters that one cell may have; Python's own bound is 131,072."""


def read_dataset(fetched: Sequence["Fetched"], section: TextDataset) -> Ingested:
    """Reads every file of every source into one table.

    Raises:
        FormatError: A file is no such file, a text is empty, or a label is not what `section` declares; the message
            names file, line and value.
    """
    rows: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    records: list[dict[str, Any]] = []
    for source in fetched:
        described: list[dict[str, Any]] = []
        for path in text_files.files_of(source.path, _ENDINGS):
            before = len(rows["text"])
            for line, text, label in _labelled(path, section):
                rows["text"].append(_text(text, path, line, section))
                name, rating = _label(label, path, line, section)
                rows["label"].append(name)
                rows["rating"].append(rating)
            count = len(rows["text"]) - before
            rows["split"] += [source.split] * count
            described.append({"file": path.name, "rows": count})
        records.append({**source.record, "files": described})
    rows["row_id"] = list(range(len(rows["text"])))
    return Ingested(pa.table(rows, schema=SCHEMA), records)


def _labelled(path: Path, section: TextDataset) -> Iterator[tuple[int, Any, Any]]:
    """Line (from 1), text and label of each row, as they stand in the file."""
    content = text_files.read_text(path)
    if not content.strip():
        raise FormatError(f"{path} is empty: texts with labels were expected, as CSV, TSV or JSON lines")
    # JSON lines begin with an object; no header of a table does.
    reader = _json_rows if content.lstrip().startswith("{") else _table_rows
    return reader(content, path, (section.text_column, section.label_column))


def _json_rows(content: str, path: Path, names: tuple[str, str]) -> Iterator[tuple[int, Any, Any]]:
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise FormatError(f"{path}, line {number:,}: no valid JSON: {error}") from None
        if not isinstance(row, dict):
            raise FormatError(f"{path}, line {number:,}: found {line.strip()[:60]!r}, expected a JSON object")
        _require(names, list(row), f"{path}, line {number:,}")
        yield number, row[names[0]], row[names[1]]


def _table_rows(content: str, path: Path, names: tuple[str, str]) -> Iterator[tuple[int, Any, Any]]:
    header_line = content.lstrip().splitlines()[0]
    delimiter = max(",;\t", key=header_line.count)
    # In a file with tabs a quotation mark is a character like any other: nothing has to be quoted there.
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    csv.field_size_limit(_CELL)
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    header: list[str] = []
    places = (0, 0)
    line = 1
    try:
        for row in reader:
            # A quoted cell may hold line breaks: the row starts where the last one ended.
            start, line = line, reader.line_num + 1
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            if not header:
                header = [cell.strip() for cell in row]
                _require(names, header, str(path))
                places = (header.index(names[0]), header.index(names[1]))
            elif len(row) != len(header):
                raise FormatError(
                    f"{path}, line {start:,}: {len(row)} cells where the header has {len(header)}; "
                    f"a text that contains {delimiter!r} has to stand in double quotes"
                )
            else:
                yield start, row[places[0]], row[places[1]]
    except csv.Error as error:
        raise FormatError(f"{path}, line {reader.line_num:,}: no valid CSV: {error}") from None


def _require(names: Sequence[str], there: Sequence[str], where: str) -> None:
    missing = [name for name in names if name not in there]
    if missing:
        raise FormatError(
            f"{where}: no column {' and no '.join(missing)}; there are: {', '.join(there[:12])}; "
            "text_column and label_column of the dataset name them"
        )


def _text(cell: Any, path: Path, line: int, section: TextDataset) -> str:
    if not isinstance(cell, str):
        raise FormatError(f"{path}, line {line:,}, {section.text_column}: found {cell!r}, expected a text")
    text = text_files.normal(cell)
    if not text:
        raise FormatError(f"{path}, line {line:,}: the text is empty; remove the row, nothing can be learned from it")
    return text


def _label(cell: Any, path: Path, line: int, section: TextDataset) -> tuple[str | None, float | None]:
    """The label as a name, or as a number where the section declares no names."""
    where = f"{path}, line {line:,}, {section.label_column}"
    if section.labels is not None:
        label = text_files.normal(str(cell)) if isinstance(cell, str | int) else cell
        if label not in section.labels:
            raise FormatError(
                f"{where}: found {cell!r}, a label nobody declared; declared are {', '.join(section.labels)} "
                "(`labels` of the dataset)"
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
