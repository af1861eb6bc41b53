"""Text files, plain or gzipped: decoded strictly, split into lines, normalized."""

import unicodedata
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from unroll.errors import FormatError
from unroll.sources.forms import is_hidden, require_text
from unroll.sources.lines import encoding_of, not_decoded, split_lines
from unroll.sources.packed import open_plain

if TYPE_CHECKING:
    from unroll.sources.fetch import Fetched

Row = TypeVar("Row")

_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u00ad\ufeff"))
"""Zero-width space, soft hyphen and byte-order mark, which split words invisibly. Joiners are letters in Devanagari."""


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """Read a file in UTF-8, or else in `encoding`, without a byte-order mark, gzipped or not. An empty file is "".

    Raises:
        FormatError: It cannot be read or decompressed, is not text, or is not UTF-8; then the message has the byte
            and its line.
    """
    try:
        if not path.stat().st_size:
            return ""
        require_text(path)
        with open_plain(path) as file:
            raw = file.read()
    except (EOFError, OSError, zlib.error) as error:
        raise FormatError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        return raw.decode(encoding_of(path, encoding)).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise not_decoded(path, raw, error, 0, 1) from None


def read_lines(path: Path, encoding: str = "utf-8") -> list[str]:
    """Read the lines of a file. A line ends at LF or CRLF only, as in an editor, not at other Unicode line breaks.

    In a file without LF, a line ends at CR.

    Raises:
        FormatError: As `read_text`.
    """
    return split_lines(read_text(path, encoding))


def normal(text: str) -> str:
    """Return a text in Unicode's NFC form, stripped, without invisible characters."""
    return unicodedata.normalize("NFC", text).translate(_INVISIBLE).strip()


def one_line(text: str) -> str:
    """Return a `normal` text with one plain blank for each run of white space."""
    return " ".join(normal(text).split())


def files_of(path: Path, endings: Sequence[str]) -> list[Path]:
    """Return a file itself, or the files of a folder that have one of `endings`, with or without `.gz`, by name.

    Those of partitions (folders `NAME=VALUE`) are among them; names that begin with `_` or `.` are left out.

    Raises:
        FormatError: The folder has no such file.
    """
    if not path.is_dir():
        return [path]
    found = sorted(
        file
        for file in path.rglob("*")
        if file.name.lower().removesuffix(".gz").endswith(tuple(endings))
        and file.is_file()
        and not any(map(is_hidden, file.relative_to(path).parts))
        and all("=" in folder for folder in file.relative_to(path).parts[:-1])
    )
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
