"""Files of texts, ready for the graph: Parquet, CSV, TSV, JSON lines, or plain text of one row a line."""

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from unroll.errors import FormatError
from unroll.inference.batches import READ_TOGETHER, Reading, guarded, is_whole, rebatched, row_ids, with_reasons
from unroll.inference.bundle import Bundle
from unroll.inference.card import stated
from unroll.inference.forms import Form
from unroll.inference.parquet import opened, texts_of
from unroll.inference.tokens import LONGEST, encoded
from unroll.sources.packed import is_packed, open_plain

_CELL = 1 << 24
"""Characters that a row may have; as many as in training."""
_BLOCK = 1 << 18
"""Characters of rows that are turned into tokens together: each token takes about 1 kB meanwhile."""
_IDS = ("row_id", "id")

Rows = tuple[Sequence[Any] | None, Sequence[Any]]
"""Ids, where the file has some, and texts as they stand there."""


def read_texts(path: Path, form: Form, bundle: Bundle, rows: int) -> Reading:
    """Reads the column that the card names, or `text`, and ids from row_id or id, batch by batch.

    A blank line of plain text is an empty text; of JSON lines, and of tables of more than one column, it is no row.

    Returns:
        Batches as `tokens.encoded` makes them, each for `READ_TOGETHER` batches of the graph.

    Raises:
        FormatError: While the batches are read: the file is no UTF-8, no such table, or lacks the column.
        DataError: The same: it holds no rows.
    """
    size = rows * READ_TOGETHER
    return Reading(rebatched(guarded(_batches(path, form, bundle, size), path, "text"), size))


def _batches(path: Path, form: Form, bundle: Bundle, rows: int) -> Iterator[pa.RecordBatch]:
    first = 0
    whole: bool | None = None
    for ids, cells in _FORMS[form](path, stated(bundle.card.text).column, rows):
        if not cells:
            continue
        if ids is None:
            ids, whole = range(first, first + len(cells)), True
        if whole is None:
            whole = is_whole(ids[0]) and (form in ("csv", "tsv") or not isinstance(ids[0], str))
        column, lacking = row_ids(ids, whole, first)
        yield with_reasons(encoded(column, cells, first, bundle), lacking)
        first += len(cells)


def _of_parquet(path: Path, column: str, rows: int) -> Iterator[Rows]:
    with opened(path) as file:
        name, ids = _columns(file.names, column, path)
        first = 0
        for batch in rebatched(file.batches([one for one in (ids, name) if one], rows), rows, _BLOCK):
            cells = _values(batch.column(name), path, name, first)
            yield _values(batch.column(ids), path, ids, first) if ids else None, cells
            first += batch.num_rows


def _of_table(path: Path, column: str, rows: int, *, tabs: bool = False) -> Iterator[Rows]:
    lines = _Counted(path)
    header_line = next(lines, "")
    delimiter = "\t" if tabs else max(",;\t", key=header_line.count)
    # In a file with tabs a quotation mark is a character like any other: nothing has to be quoted there.
    csv.field_size_limit(_CELL)
    table = csv.reader(
        chain([header_line], lines),
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL,
        strict=True,
    )
    try:
        header = next(table, [])
        name, ids = _columns(header, column, path)
        places = header.index(name), header.index(ids) if ids else None
        for found in _blocks(_cells(table, len(header), delimiter, path, lines), rows):
            texts = [cells[places[0]] for cells in found]
            yield None if places[1] is None else [cells[places[1]] for cells in found], texts
    except csv.Error as error:
        raise FormatError(f"{path}, line {table.line_num:,}: no valid CSV: {error}") from None


def _of_tabs(path: Path, column: str, rows: int) -> Iterator[Rows]:
    return _of_table(path, column, rows, tabs=True)


def _cells(table: Any, columns: int, delimiter: str, path: Path, lines: "_Counted") -> Iterator[tuple[list[str], int]]:
    """Cells of each row, and its characters; `table` is a csv.reader of the lines."""
    for cells in table:
        size, lines.held = lines.held, 0
        if not cells and columns > 1:
            continue
        if max(len(cells), 1) != columns:
            raise FormatError(
                f"{path}, line {table.line_num:,}: {len(cells)} cells where the header has {columns}; "
                f"a text that contains {delimiter!r} has to stand in double quotes"
            )
        yield cells or [""], size


def _of_json_lines(path: Path, column: str, rows: int) -> Iterator[Rows]:
    names: tuple[str, str | None] | None = None
    for found in _blocks(_objects(path), rows):
        # A row may leave out what it has nothing to say of, even the first one.
        names = names or _columns(list(dict.fromkeys(chain.from_iterable(found))), column, path)
        name, ids = names
        numbers, cells = [row.get(ids) for row in found] if ids else None, [row.get(name) for row in found]
        del found  # what else stands in a row may take 30 times the bytes that it has in the file
        yield numbers, cells


def _objects(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Each line's object, and its characters."""
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_object, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{path}, line {number:,}: no valid JSON: {error}") from None
        if not isinstance(row, dict):
            raise FormatError(f"{path}, line {number:,}: found {line.strip()[:60]!r}, expected a JSON object")
        yield row, len(line)
        del row


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; which of two values of one key is meant, nobody can tell."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise ValueError(f"the key {twice[:60]!r} stands twice; keep one of them")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON; write null")


def _of_plain_text(path: Path, column: str, rows: int) -> Iterator[Rows]:
    del column
    for lines in _blocks(((line, len(line)) for line in _lines(path)), rows):
        yield None, [line.removesuffix("\n").removesuffix("\r") for line in lines]


_FORMS: Mapping[Form, Callable[[Path, str, int], Iterator[Rows]]] = {
    "parquet": _of_parquet,
    "csv": _of_table,
    "tsv": _of_tabs,
    "jsonl": _of_json_lines,
    "txt": _of_plain_text,
}


def _columns(there: Sequence[str], column: str, path: Path) -> tuple[str, str | None]:
    """Names, as the file has them, of the column of texts and of that of ids, if there is one."""
    plain = [name.strip().lower() for name in there]
    name = next((one for one in (column, "text") if one in plain), None)
    if name is None or plain.count(name) > 1:
        wanted = f"{column!r} or 'text'" if column != "text" else "'text'"
        raise FormatError(
            f"{path} has {'no' if name is None else 'more than one'} column {wanted if name is None else repr(name)}; "
            f"it has {', '.join(there)[:200] or 'none'}"
        )
    ids = next((there[plain.index(one)] for one in _IDS if one in plain), None)
    return there[plain.index(name)], ids


def _values(column: pa.Array, path: Path, name: str, first: int) -> list[Any]:
    """Python values of a Parquet column; Arrow believes a file that its text is UTF-8, so it is looked at."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        for row, one in enumerate(column):
            try:
                one.as_py()
            except UnicodeDecodeError as bad:
                raise FormatError(
                    f"{path}, row {first + row}: {name} is no UTF-8 text: byte 0x{bad.object[bad.start]:02x} at byte "
                    f"offset {bad.start} of the cell; write the file again as UTF-8"
                ) from None
        raise FormatError(f"{path}: the column {name} is damaged: {' '.join(str(error).split())}") from None
    return texts_of(column, 4 * LONGEST)


def _lines(path: Path) -> Iterator[str]:
    """Lines with their ends, LF or CRLF; without a byte-order mark.

    Raises:
        FormatError: The file is no UTF-8, or a line has no end.
    """
    with open_plain(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="\n") as text:
        number = 0
        try:
            while line := text.readline(_CELL):
                number += 1
                if len(line) == _CELL and not line.endswith("\n"):
                    raise FormatError(f"{path}, line {number:,} is longer than {_CELL:,} characters; cut it")
                yield line
        except UnicodeDecodeError:
            raise _no_utf8(path) from None


class _Counted:
    """Lines of a table, of which a row may take several.

    Attributes:
        held: Characters since it was last set to 0, which is to be done after each row.
    """

    def __init__(self, path: Path) -> None:
        self.held = 0
        self._path = path
        self._lines = _lines(path)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.held += len(line)
        if self.held > 2 * _CELL:
            raise FormatError(f"{self._path}: a row goes on for more than {2 * _CELL:,} characters; close its quotes")
        return line


def _no_utf8(path: Path) -> FormatError:
    """Says which byte of a file is no UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = line = held = 0
    byte = 0
    with open_plain(path) as raw:
        try:
            while block := raw.read(1 << 20):
                held = len(decoder.getstate()[0])
                decoder.decode(block)
                offset += len(block)
                line += block.count(b"\n")
            held = len(decoder.getstate()[0])
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            # The decoder's bytes begin with those that it held back.
            offset += error.start - held
            line += error.object.count(b"\n", 0, error.start)
            byte = error.object[error.start]
    where = f"byte offset {offset:,}" + (" of its unpacked content" if is_packed(path) else "")
    return FormatError(f"{path} is no UTF-8 text: byte 0x{byte:02x} at {where}, in line {line + 1:,}; save it as UTF-8")


def _blocks(rows: Iterable[tuple[Any, int]], most: int) -> Iterator[list[Any]]:
    """Lists of up to so many rows, and of about `_BLOCK` characters; each row comes with its own."""
    block: list[Any] = []
    held = 0
    for row, size in rows:
        block.append(row)
        del row
        held += size
        if len(block) == most or held >= _BLOCK:
            yield block
            block, held = [], 0
    if block:
        yield block
