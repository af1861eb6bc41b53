"""Files that may be gzipped, or alone in a zip archive, decompressed while they are read, up to a limit.

UTF-16 with a byte-order mark becomes UTF-8 here, so that no reader has to know it.
"""

import codecs
import gzip
import io
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from unroll.errors import FormatError

RATIO = 200
"""Largest accepted ratio of decompressed to compressed bytes. Text and digits have 3 to 20, gzip can reach 1,032."""

_SMALL = 1 << 20
"""Bytes up to which any ratio is accepted: small files may repeat themselves."""
_GZIP = b"\x1f\x8b"
_BUFFER = 1 << 17


def open_plain(path: Path) -> BinaryIO:
    """Open a file for reading, decompressed if it is gzipped or the only one of a zip archive, whatever its name.

    A file that begins with the byte-order mark of UTF-16 is read as UTF-8.

    Reading raises a FormatError when a packed file grows beyond `RATIO` times its size, or UTF-16 is damaged.

    Raises:
        FormatError: The file does not exist, cannot be read, is empty, or is a damaged gzip file.
    """
    raw: Any = _Decompressed(path) if is_packed(path) else _only_member(path)
    file: Any = io.BufferedReader(raw, _BUFFER) if raw else path.open("rb")
    try:
        start = file.peek(4)[:4]
    except (EOFError, OSError, zlib.error) as error:
        file.close()
        raise FormatError(f"{path} is a truncated or damaged gzip file ({error}): fetch it again") from None
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and start != codecs.BOM_UTF32_LE:
        raw = _FromUtf16(file, path)
        file = io.BufferedReader(raw, _BUFFER)
    return cast(BinaryIO, file)


def is_packed(path: Path) -> bool:
    """Return whether a file is gzipped, by its first bytes.

    Raises:
        FormatError: The file does not exist, cannot be read, or is empty.
    """
    try:
        with path.open("rb") as file:
            head = file.read(2)
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from None
    if not head:
        raise FormatError(f"{path} is empty")
    return head == _GZIP


def _only_member(path: Path) -> "_Member | None":
    """Return the only file of a zip archive; None for other files, and for those of NumPy (npz)."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return None
    try:
        with zipfile.ZipFile(path) as archive:
            found = [one for one in archive.infolist() if not one.is_dir() and not one.filename.startswith("__MACOSX/")]
            if len(found) != 1 or found[0].filename.endswith(".npy"):
                return None
            if found[0].file_size > max(_SMALL, RATIO * path.stat().st_size):
                raise FormatError(f"{path} is not unpacked: {found[0].filename} has more than {RATIO} times its size")
            return _Member(archive.open(found[0]), path)
    # Damaged, encrypted, or compressed in a way that is not known.
    except (zipfile.BadZipFile, RuntimeError):
        return None


class _Member(io.RawIOBase):
    def __init__(self, plain: IO[bytes], path: Path) -> None:
        super().__init__()
        self._plain, self._path = plain, path

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            content = self._plain.read(len(buffer))
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise FormatError(f"{self._path} is a damaged zip archive ({error}): fetch it again") from None
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        if not self.closed:
            self._plain.close()
            super().close()


class _FromUtf16(io.RawIOBase):
    def __init__(self, file: BinaryIO, path: Path) -> None:
        super().__init__()
        self._text, self._path = io.TextIOWrapper(file, "utf-16", newline=""), path
        self._waiting = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            content = self._waiting or self._text.read(_BUFFER).encode()
        except UnicodeDecodeError as error:
            raise FormatError(
                f"{self._path} is not UTF-16 text, as its byte-order mark says ({error.reason}); save it as UTF-8"
            ) from None
        self._waiting = content[len(buffer) :]
        buffer[: len(content)] = content[: len(buffer)]
        return min(len(content), len(buffer))

    def close(self) -> None:
        if not self.closed:
            self._text.close()
        super().close()


class _Decompressed(io.RawIOBase):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._compressed = path.open("rb")
        self._plain = gzip.GzipFile(fileobj=self._compressed)
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._plain.read1(len(buffer))
        self._count += len(content)
        read = self._compressed.tell()
        if self._count > max(_SMALL, RATIO * read):
            raise FormatError(
                f"{self._path} is not unpacked further: its first {read:,} bytes grew to {self._count:,}, more than "
                f"{RATIO} times as many; decompress it yourself if this is intended"
            )
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        if not self.closed:
            self._plain.close()
            self._compressed.close()
        super().close()
