"""Text files, plain or gzipped: decoded strictly, split into lines, normalized."""

import csv
import io
import unicodedata
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from unroll.errors import FormatError
from unroll.sources.packed import is_packed, open_plain

if TYPE_CHECKING:
    from unroll.sources.fetch import Fetched

Row = TypeVar("Row")

_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u00ad\ufeff"))
"""Zero-width space, soft hyphen and byte-order mark, which split words invisibly. Joiners are letters in Devanagari."""

_CELL = 1 << 24
"""Characters that a cell of a CSV file may have."""


def read_text(path: Path) -> str:
    """Read a UTF-8 file, with or without a byte-order mark, gzipped or not. An empty file is "".

    Raises:
        FormatError: It cannot be read or decompressed, or is not UTF-8; then the message has the byte and its line.
    """
    try:
        if not path.stat().st_size:
            return ""
        with open_plain(path) as file:
            raw = file.read()
    except (EOFError, OSError, zlib.error) as error:
        raise FormatError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        where = f"byte offset {error.start:,}" + (" of its unpacked content" if is_packed(path) else "")
        raise FormatError(
            f"{path} is not UTF-8: byte 0x{raw[error.start]:02x} at {where}, in line {line:,}; save it as UTF-8"
        ) from None


def read_lines(path: Path) -> list[str]:
    """Read the lines of a file. A line ends at LF or CRLF only, as in an editor, not at other Unicode line breaks.

    Raises:
        FormatError: As `read_text`.
    """
    lines = read_text(path).replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def read_csv(path: Path, *, quoted_tabs: bool = True) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read the cells of a CSV file: separated by commas, semicolons or tabs, whichever is most frequent in its header.

    Args:
        path: The file, gzipped or not.
        quoted_tabs: Whether cells that are separated by tabs may be in quotes.

    Returns:
        The titles of the header, and line (from 1) and cells of each row. Blank lines are left out.

    Raises:
        FormatError: As `read_text`; or the file is empty, a quote is not closed, or a row is not as long as the header.
    """
    text = read_text(path)
    if not text.strip():
        raise FormatError(f"{path} is empty; expected a header and rows")
    header_line = text.lstrip().splitlines()[0]
    delimiter = max(",;\t", key=header_line.count)
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" and not quoted_tabs else csv.QUOTE_MINIMAL
    csv.field_size_limit(_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    rows: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for cells in reader:
            # A cell in quotes may have line breaks: a row starts where the last one ended.
            start, line = line, reader.line_num + 1
            if not "".join(cells).strip() and len(cells) < 2:
                continue
            rows.append((start, cells))
            if len(cells) != len(rows[0][1]):
                raise FormatError(
                    f"{path}, line {start:,}: {len(cells)} cells, expected {len(rows[0][1])} as in the header; "
                    f"a cell with {delimiter!r} has to be in double quotes"
                )
    except csv.Error as error:
        raise FormatError(f"{path}, line {reader.line_num:,} is not valid CSV: {error}") from None
    return [title.strip() for title in rows[0][1]], rows[1:]


def normal(text: str) -> str:
    """Return a text in Unicode's NFC form, stripped, without invisible characters."""
    return unicodedata.normalize("NFC", text).translate(_INVISIBLE).strip()


def one_line(text: str) -> str:
    """Return a `normal` text with one plain blank for each run of white space."""
    return " ".join(normal(text).split())


def files_of(path: Path, endings: Sequence[str]) -> list[Path]:
    """Return a file itself, or the files of a folder that have one of `endings`, with or without `.gz`, by name.

    Raises:
        FormatError: The folder has no such file.
    """
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.name.lower().removesuffix(".gz").endswith(tuple(endings)))
    if not found:
        raise FormatError(f"the folder {path} has no file that ends in {', '.join(endings)} (or these with .gz)")
    return found


def read_files(
    fetched: Sequence["Fetched"],
    endings: Sequence[str],
    read: Callable[[Path], tuple[Sequence[Row], Mapping[str, Any]]],
) -> tuple[list[Row], list[str | None], list[dict[str, Any]]]:
    """Read every file of every source.

    Args:
        fetched: The sources.
        endings: Endings of the files that are read if a source is a folder.
        read: Returns the rows of a file, and what to record of it in ingest.json.

    Returns:
        All rows, the split of each row, and a record of each source.
    """
    rows: list[Row] = []
    splits: list[str | None] = []
    records: list[dict[str, Any]] = []
    for source in fetched:
        described = []
        for path in files_of(source.path, endings):
            found, about = read(path)
            rows += found
            splits += [source.split] * len(found)
            described.append({"file": path.name, "rows": len(found), **about})
        records.append({**source.record, "files": described})
    return rows, splits, records
