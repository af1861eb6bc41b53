"""How a table in a text file is written: decided for a file, never for a cell.

The decisions are made from the first block of the file, or from all of it, and what a file leaves open is an error
that names the setting which decides it.
"""

import contextlib
import csv
import itertools
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from unroll.config.sources import TableSettings
from unroll.errors import FormatError
from unroll.sources.packed import open_plain
from unroll.sources.tables import Layout, Row, lines_of, rows_of, shown, table_rows

_BLOCK = 1 << 20
"""Characters from which a table's separator and header are decided."""
_SEPARATORS = ",;\t|"
_SEPARATOR_LINE = re.compile(r'"?sep=([,;\t|])"?\s*', re.IGNORECASE)


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
        rows = [cells for _, cells in table_rows(lines, separator, quotes, whole)]
    except csv.Error:
        # The reader of the rows names the line.
        rows = [next(csv.reader(lines, delimiter=separator))]
    header, names = _names(rows, settings, known, has_header, path)
    return Layout(separator, quotes, header, names, int(announced is not None), settings.encoding)


def first_rows(path: Path, layout: Layout) -> list[list[str]]:
    """Return the rows in the first block of a table, without the header."""
    lines, whole = _block(path, layout.encoding)
    rows = table_rows(lines[layout.skipped :], layout.separator, layout.quotes, whole)
    found: list[list[str]] = []
    # The reader of the rows names the line.
    with contextlib.suppress(csv.Error):
        found.extend(cells for _, cells in itertools.islice(rows, int(layout.header), None))
    return found


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


def _block(path: Path, encoding: str) -> tuple[list[str], bool]:
    """Return the first lines of a file, and whether they are all of it."""
    lines: list[str] = []
    size = 0
    for line in lines_of(path, 0, encoding):
        if size > _BLOCK:
            return lines, False
        lines.append(line)
        size += len(line)
    return lines, True


def _separator(lines: list[str], whole: bool, known: Collection[str], path: Path) -> str:
    """Return the separator with which every row of the block has as many cells as the first one."""
    fitting: dict[str, int] = {}
    first: dict[str, int] = {}
    for separator in _SEPARATORS:
        if separator not in "".join(lines[:1000]):
            continue
        rows = _rows(lines, separator, True, whole) or (separator == "\t" and _rows(lines, separator, False, whole))
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
        found = " or ".join(shown(one) for one in best)
        raise FormatError(f"{path}: cells may be separated by {found}; set `separator` to one of them")
    header = next(line for line in lines if line.strip())
    return max(_SEPARATORS, key=header.count)


def _rows(lines: list[str], separator: str, quotes: bool, whole: bool) -> list[list[str]]:
    """Return the rows of a block; none if it cannot be read with this separator."""
    try:
        return [cells for _, cells in table_rows(lines, separator, quotes, whole)]
    except csv.Error:
        return []


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
    for line in lines_of(path, skipped, encoding):
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
        for _, cells in table_rows(lines_of(path, skipped, encoding), "\t", True):
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
