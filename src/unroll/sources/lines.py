"""Lines of text files: strict UTF-8, plain or gzipped, whatever ends a line."""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from unroll.errors import FormatError
from unroll.sources.forms import require_text, start_of
from unroll.sources.packed import is_packed, open_plain

_BLOCK = 1 << 16


def iter_lines(path: Path, encoding: str = "utf-8", *, json: bool = False) -> Iterator[str]:
    """Yield lines with their ends, without a byte-order mark.

    A file that is UTF-8 is read as such, whatever `encoding` is.

    A line ends at LF or CRLF only, as in an editor, not at other Unicode line breaks; in a file without LF, at CR.

    Raises:
        FormatError: The file is not text, or not in its encoding; then the message has the byte and its line.
    """
    require_text(path, json=json)
    codec = encoding_of(path, encoding)
    offset = 0
    with open_plain(path) as raw:
        for number, line in enumerate(_ended_by_cr(raw) if _ends_lines_with_cr(path) else raw, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 and codec == "utf-8" else codec)
            except UnicodeDecodeError as error:
                raise not_decoded(path, line, error, offset, number) from None
            offset += len(line)


def split_lines(text: str) -> list[str]:
    """Return the lines of a text without their ends, which are those of `iter_lines`."""
    lines = text.replace("\r\n", "\n").split("\n") if "\n" in text else text.split("\r")
    return lines[:-1] if lines[-1] == "" else lines


def encoding_of(path: Path, encoding: str) -> str:
    """Return the encoding of a file: UTF-8 if it is, else `encoding`."""
    if encoding != "utf-8":
        decoder = codecs.getincrementaldecoder("utf-8")()
        with open_plain(path) as raw:
            try:
                while block := raw.read(_BLOCK):
                    decoder.decode(block)
                decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                return encoding
    return "utf-8"


def not_decoded(path: Path, content: bytes, error: UnicodeDecodeError, offset: int, line: int) -> FormatError:
    """Return the error for a file that is not in its encoding.

    Args:
        path: The file.
        content: The part of the file that was decoded.
        error: What was raised.
        offset: Offset of that part in the unpacked file.
        line: Number of its first line.
    """
    line += content[: error.start].count(b"\n")
    where = f"byte offset {offset + error.start:,}{' of its unpacked content' * is_packed(path)}"
    name = "UTF-8" if error.encoding == "utf-8" else error.encoding
    return FormatError(
        f"{path} is not {name} text: byte 0x{content[error.start]:02x} at {where}, in line {line:,}; save it as UTF-8, "
        "or set `encoding` to its own (latin-1, cp1252, …)"
    )


def _ends_lines_with_cr(path: Path) -> bool:
    """Return whether lines end with CR, as in files of classic Mac programs."""
    start = start_of(path, _BLOCK)
    # A block may end within CRLF.
    return b"\r" in (start[:-1] if len(start) == _BLOCK else start) and b"\n" not in start


def _ended_by_cr(raw: BinaryIO) -> Iterator[bytes]:
    waiting = b""
    while block := raw.read(_BLOCK):
        *lines, waiting = (waiting + block).split(b"\r")
        yield from (line + b"\r" for line in lines)
    if waiting:
        yield waiting
