"""Text files, plain or gzipped: decoded strictly, split into lines, normalized."""

import unicodedata
import zlib
from collections.abc import Sequence
from pathlib import Path

from unroll.errors import FormatError
from unroll.sources.packed import is_packed, open_plain

_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u00ad\ufeff"))
"""Zero-width space, soft hyphen and byte-order mark, which split words invisibly. Joiners are letters in Devanagari."""


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
