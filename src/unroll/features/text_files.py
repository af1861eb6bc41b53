"""Text files as people have them, plain or gzipped: decoded strictly, cut into lines, in one form of Unicode."""

import unicodedata
import zlib
from collections.abc import Sequence
from pathlib import Path

from unroll.errors import FormatError
from unroll.sources.packed import open_plain

_BOM = b"\xef\xbb\xbf"
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u00ad\ufeff"))
"""Zero-width space, soft hyphen, byte-order mark: they split words that look whole. Joiners (Devanagari) stay."""


def read_text(path: Path) -> str:
    """Reads a file as UTF-8, with or without a byte-order mark; gzip is told by its first bytes, not by the name.

    Raises:
        FormatError: It cannot be read or unpacked, or is no UTF-8: then the message names the byte and its line.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from None
    packed = raw[:2] == b"\x1f\x8b"
    if packed:
        try:
            with open_plain(path) as file:
                raw = file.read()
        except (EOFError, OSError, zlib.error) as error:
            raise FormatError(f"{path} cannot be unpacked: {error}; fetch it again") from None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        where = f"byte offset {error.start:,}" + (" of its unpacked content" if packed else "")
        raise FormatError(
            f"{path} is no UTF-8 text: byte 0x{raw[error.start]:02x} at {where}, in line {line:,}; save it as UTF-8"
        ) from None
    return text[1:] if raw.startswith(_BOM) else text


def read_lines(path: Path) -> list[str]:
    """Lines as an editor counts them: a line ends at LF or CRLF, and at no other character that Unicode calls a break.

    Raises:
        FormatError: As `read_text`.
    """
    lines = read_text(path).replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def normal(text: str) -> str:
    """Unicode NFC without invisible characters, stripped of outer blanks."""
    return unicodedata.normalize("NFC", text).translate(_INVISIBLE).strip()


def one_line(text: str) -> str:
    """`normal`, and every run of blanks, no-break and narrow ones too, becomes one plain blank."""
    return " ".join(normal(text).split())


def files_of(path: Path, endings: Sequence[str]) -> list[Path]:
    """A file itself, or the files of a folder that have one of `endings`, with or without `.gz`, by name.

    Raises:
        FormatError: The folder has none.
    """
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.name.lower().removesuffix(".gz").endswith(tuple(endings)))
    if not found:
        raise FormatError(f"the folder {path} has no file that ends in {', '.join(endings)} (or these with .gz)")
    return found
