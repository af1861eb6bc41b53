"""Tables in text files (CSV, TSV), row by row. Training and scoring read tables here."""

import csv
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unroll.errors import FormatError
from unroll.sources.lines import iter_lines

Row = tuple[int, list[str]]
"""Line of the file, from 1, in which a row begins; and its cells."""

_CELL = 1 << 24
"""Characters that a cell may have."""
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


def rows_of(path: Path, layout: Layout, needed: int | None = None) -> Iterator[Row]:
    """Yield the rows below the header. Blank lines are left out, except in a table of one column.

    With `needed`, rows have at least as many cells, and the others may differ in number.

    Raises:
        FormatError: As `iter_lines`; or a quote is not closed, or a row has another number of cells than the header.
    """
    lines = lines_of(path, layout.skipped, layout.encoding)
    columns = len(layout.names)
    try:
        rows = table_rows(lines, layout.separator, layout.quotes, first=layout.skipped)
        for number, (line, cells) in enumerate(rows):
            if number == 0 and layout.header:
                continue
            if len(cells) < needed if needed else len(cells) != columns:
                if columns > 1 and len(cells) == 1 and not cells[0].strip():
                    continue
                raise FormatError(
                    f"{path}, line {line:,}: {len(cells)} cells, expected {needed or columns} as in the first row; "
                    + (
                        f"a cell that contains {shown(layout.separator)} has to be in double quotes"
                        if layout.quotes
                        else "with `quotes: true` a cell may contain a separator or a line break"
                    )
                )
            yield line, cells
    except csv.Error as error:
        raise FormatError(
            f"{path}, {error}; where quotation marks are characters of the text, set `quotes: false`"
        ) from None


def lines_of(path: Path, skipped: int, encoding: str) -> Iterator[str]:
    """Yield the lines after the first `skipped` ones."""
    return itertools.islice(iter_lines(path, encoding), skipped, None)


def table_rows(lines: Iterable[str], separator: str, quotes: bool, whole: bool = True, first: int = 0) -> Iterator[Row]:
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


def shown(separator: str) -> str:
    """Return a separator as a message shows it."""
    return _SHOWN.get(separator, repr(separator))
