"""Tables in text files (CSV, TSV), row by row. How a table is written is decided for a file, never for a cell.

The decisions are made from the first block of the file, or from all of it, and what a file leaves open is an error
that names the setting which decides it. Training and scoring read tables here.
"""

import csv
import itertools
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unroll.config.sources import TableSettings
from unroll.errors import FormatError
from unroll.sources.lines import iter_lines
from unroll.sources.packed import open_plain

Row = tuple[int, list[str]]
"""Line of the file, from 1, in which a row begins; and its cells."""

_CELL = 1 << 24
"""Characters that a cell may have."""
_BLOCK = 1 << 20
"""Characters from which a table's separator and header are decided."""
_SEPARATORS = ",;\t|"
_SEPARATOR_LINE = re.compile(r'"?sep=([,;\t|])"?\s*', re.IGNORECASE)
_SHOWN = {"\t": "tab"}


@dataclass(frozen=True)
class Layout:
    """How a table is written in a file.

    Attributes:
        separator: Character between cells.
        quotes: Whether cells may be in double quotes.
        header: Whether the first row has names.
        names: Names of the columns, stripped; their numbers from 0 where the file has none.
        skipped: Lines before the first row: Excel's `sep=`.
        encoding: Encoding of a file that is not UTF-8.
    """

    separator: str
    quotes: bool
    header: bool
    names: tuple[str, ...]
    skipped: int = 0
    encoding: str = "utf-8"


def layout_of(
    path: Path,
    settings: TableSettings,
    known: Collection[str] = (),
    has_header: Callable[[Sequence[Sequence[str]]], bool] = lambda _: True,
) -> Layout:
    """Decide how a table is written.

    Args:
        path: The file, gzipped or not.
        settings: What is already decided.
        known: Names of columns, in small letters, that the header is expected to have; they decide between separators
            that fit equally well.
        has_header: The cells of the first rows → whether the first one has names; asked where `settings` leave it open.

    Raises:
        FormatError: The file is not a table, or the settings have to decide how it is written.
    """
    lines, whole = _block(path, settings.encoding)
    announced = _SEPARATOR_LINE.fullmatch(lines[0]) if lines else None
    lines = lines[1:] if announced else lines
    if not "".join(lines).strip():
        raise FormatError(f"{path} is empty; expected a header and rows")
    separator = settings.separator or (announced[1] if announced else "\t" if _is_tsv(path) else None)
    if separator is None:
        separator = _separator(lines, whole, known, path)
    quotes = settings.quotes
    if quotes is None:
        quotes = separator != "\t" or _has_quotes(path, int(announced is not None), settings.encoding)
    try:
        rows = [cells for _, cells in _rows(lines, separator, quotes, whole)]
    except csv.Error:
        # The reader of the rows names the line.
        rows = [next(csv.reader(lines, delimiter=separator))]
    header, names = _names(rows, settings, known, has_header, path)
    return Layout(separator, quotes, header, names, int(announced is not None), settings.encoding)


def rows_of(path: Path, layout: Layout, needed: int | None = None) -> Iterator[Row]:
    """Yield the rows below the header. Blank lines are left out, except in a table of one column.

    With `needed`, rows have at least as many cells, and the others may differ in number.

    Raises:
        FormatError: As `iter_lines`; or a quote is not closed, or a row has another number of cells than the header.
    """
    lines = _lines(path, layout.skipped, layout.encoding)
    columns = len(layout.names)
    try:
        for number, (line, cells) in enumerate(_rows(lines, layout.separator, layout.quotes, first=layout.skipped)):
            if number == 0 and layout.header:
                continue
            if len(cells) < needed if needed else len(cells) != columns:
                if columns > 1 and len(cells) == 1 and not cells[0].strip():
                    continue
                raise FormatError(
                    f"{path}, line {line:,}: {len(cells)} cells, expected {needed or columns} as in the first row; "
                    + (
                        f"a cell that contains {_shown(layout.separator)} has to be in double quotes"
                        if layout.quotes
                        else "with `quotes: true` a cell may contain a separator or a line break"
                    )
                )
            yield line, cells
    except csv.Error as error:
        raise FormatError(
            f"{path}, {error}; where quotation marks are characters of the text, set `quotes: false`"
        ) from None


def first_rows(path: Path, layout: Layout) -> list[list[str]]:
    """Return the rows in the first block of a table, without the header."""
    lines, whole = _block(path, layout.encoding)
    rows = _rows(lines[layout.skipped :], layout.separator, layout.quotes, whole)
    return [cells for _, cells in itertools.islice(rows, int(layout.header), None)]


def read_table(path: Path, settings: TableSettings, known: Collection[str] = ()) -> tuple[list[str], list[Row]]:
    """Read a whole table.

    Returns:
        The names of its columns, and line and cells of each row.

    Raises:
        FormatError: As `layout_of` and `rows_of`.
    """
    layout = layout_of(path, settings, known)
    return list(layout.names), list(rows_of(path, layout))


def _is_tsv(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith((".tsv", ".tab"))


def _lines(path: Path, skipped: int, encoding: str) -> Iterator[str]:
    return itertools.islice(iter_lines(path, encoding), skipped, None)


def _block(path: Path, encoding: str) -> tuple[list[str], bool]:
    """Return the first lines of a file, and whether they are all of it."""
    lines: list[str] = []
    size = 0
    for line in _lines(path, 0, encoding):
        if size > _BLOCK:
            return lines, False
        lines.append(line)
        size += len(line)
    return lines, True


def _rows(lines: Iterable[str], separator: str, quotes: bool, whole: bool = True, first: int = 0) -> Iterator[Row]:
    """Yield the rows, from the first that is not blank; if the lines are not the `whole` file, not the last one.

    `first` lines come before them.
    """
    csv.field_size_limit(_CELL)
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    reader = csv.reader(lines, delimiter=separator, quoting=quoting, strict=True)
    line = first + 1
    waiting: Row | None = None
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            found = f"line {first + reader.line_num:,} is not valid CSV: {error}"
            if "new-line" in str(error):
                found = f"line {first + reader.line_num:,} has a carriage return (CR) inside a cell without quotes"
            raise csv.Error(found) from None
        # A cell in quotes may have line breaks: a row starts where the last one ended.
        start, line = line, first + reader.line_num + 1
        if waiting is None and len(cells) < 2 and not "".join(cells).strip():
            continue
        if waiting:
            yield waiting
        waiting = (start, cells or [""])
    if waiting and whole:
        yield waiting


def _separator(lines: list[str], whole: bool, known: Collection[str], path: Path) -> str:
    """Return the separator with which every row of the block has as many cells as the first one."""
    fitting: dict[str, int] = {}
    first: dict[str, int] = {}
    for separator in _SEPARATORS:
        if separator not in "".join(lines[:1000]):
            continue
        try:
            rows = [cells for _, cells in _rows(lines, separator, True, whole)]
        except csv.Error:
            rows = [cells for _, cells in _rows(lines, separator, False, whole)] if separator == "\t" else []
        if not rows:
            continue
        first[separator] = sum(cell.strip().lower() in known for cell in rows[0])
        if len(rows[0]) > 1 and all(len(cells) == len(rows[0]) or not "".join(cells).strip() for cells in rows):
            fitting[separator] = first[separator]
    candidates = fitting or {one: count for one, count in first.items() if count}
    best = [one for one, count in candidates.items() if count == max(candidates.values())]
    if len(best) == 1:
        return best[0]
    if best:
        found = " or ".join(_shown(one) for one in best)
        raise FormatError(f"{path}: cells may be separated by {found}; set `separator` to one of them")
    header = next(line for line in lines if line.strip())
    return max(_SEPARATORS, key=header.count)


def _has_quotes(path: Path, skipped: int, encoding: str) -> bool:
    """Return whether cells between tabs are in double quotes where they begin with one.

    A writer of quotes doubles those inside a cell, and quotes a cell that has tabs, line breaks or quotes, or all cells
    of a column. A file that fits this and, as well, lines of cells whose quotation marks are characters, is an error.
    """
    with open_plain(path) as file:
        if not any(b'"' in block for block in iter(lambda: file.read(_BLOCK), b"")):
            return True
    columns = 0
    needed = True
    plain: set[int] = set()
    quoted: set[int] = set()
    closed = True
    for line in _lines(path, skipped, encoding):
        cells = line.rstrip("\r\n").split("\t")
        if len(cells) == 1 and not cells[0].strip():
            continue
        columns = columns or len(cells)
        if len(cells) != columns:
            return True
        for place, cell in enumerate(cells):
            if not cell.startswith('"'):
                if cell:
                    plain.add(place)
                continue
            closed = closed and re.fullmatch(r'"(?:[^"]|"")*"', cell) is not None
            quoted.add(place)
            needed = needed and '""' in cell
    if not quoted:
        return True
    if closed and (needed or not quoted & plain):
        return True
    if not closed and not _fits_quoted(path, skipped, encoding):
        return False
    raise FormatError(
        f"{path}: some cells begin with a quotation mark that may be a character, or stand around the cell; set "
        "`quotes` to false or true"
    )


def _fits_quoted(path: Path, skipped: int, encoding: str) -> bool:
    columns = 0
    try:
        for _, cells in _rows(_lines(path, skipped, encoding), "\t", True):
            columns = columns or len(cells)
            if len(cells) != columns and "".join(cells).strip():
                return False
    except csv.Error:
        return False
    return True


def _names(
    rows: Sequence[Sequence[str]],
    settings: TableSettings,
    known: Collection[str],
    has_header: Callable[[Sequence[Sequence[str]]], bool],
    path: Path,
) -> tuple[bool, tuple[str, ...]]:
    """Return whether the first row has names, and the names of all columns."""
    first = [cell.strip() for cell in rows[0]]
    if settings.header is None and any(cell.lower() in known for cell in first):
        return True, tuple(first)
    if settings.column_names is not None:
        names = _expanded(settings.column_names, len(first), path)
        if settings.header is not None:
            return settings.header, names
        given = [(name.lower(), cell.lower()) for name, cell in zip(names, first, strict=True) if not name.isdecimal()]
        return bool(given) and all(name == cell for name, cell in given), names
    header = settings.header if settings.header is not None else has_header(rows)
    return header, tuple(first) if header else tuple(map(str, range(len(first))))


def _expanded(names: tuple[str, ...], columns: int, path: Path) -> tuple[str, ...]:
    """Return one name for each column; those that `*` stands for are their numbers from 0."""
    if "*" in names:
        place, more = names.index("*"), columns - len(names) + 1
        names = (*names[:place], *map(str, range(max(0, more))), *names[place + 1 :])
    if len(names) != columns:
        raise FormatError(f"{path} has {columns} columns, and `column_names` {len(names)} names; expected one for each")
    return names


def _shown(separator: str) -> str:
    return _SHOWN.get(separator, repr(separator))
