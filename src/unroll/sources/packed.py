"""Files that may be gzipped, decompressed while they are read, up to a limit."""

import gzip
import io
from pathlib import Path
from typing import Any, BinaryIO, cast

from unroll.errors import FormatError

RATIO = 200
"""Largest accepted ratio of decompressed to compressed bytes. Text and digits have 3 to 20, gzip can reach 1,032."""

_SMALL = 1 << 20
"""Bytes up to which any ratio is accepted: small files may repeat themselves."""
_GZIP = b"\x1f\x8b"
_BUFFER = 1 << 17


def open_plain(path: Path) -> BinaryIO:
    """Open a file for reading, decompressed if it is gzipped, whatever its name.

    Reading raises a FormatError when a gzipped file grows beyond `RATIO` times its size.

    Raises:
        FormatError: The file does not exist, cannot be read, or is empty.
    """
    if not is_packed(path):
        return path.open("rb")
    return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, _Decompressed(path)), _BUFFER))


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
