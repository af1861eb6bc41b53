"""Files that may be gzipped, unpacked as they are read, and no further than data would go."""

import gzip
import io
from pathlib import Path
from typing import Any, BinaryIO, cast

from unroll.errors import FormatError

RATIO = 200
"""Bytes that a packed byte may become. Text and digits become 3 to 20; gzip can make 1,032 of one."""
FLOOR = 1 << 20
"""Bytes below which the ratio is not asked for: small files may repeat themselves."""

_GZIP = b"\x1f\x8b"
_BUFFER = 1 << 17


def open_plain(path: Path) -> BinaryIO:
    """Opens a file for reading, gunzipped where it is gzipped; told by its bytes, not by its name.

    What is read of a gzipped file raises a FormatError where it unpacks to more than `RATIO` times its size.

    Raises:
        FormatError: The file is not there, or is empty.
    """
    if not is_packed(path):
        return path.open("rb")
    return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, _Unpacking(path)), _BUFFER))


def is_packed(path: Path) -> bool:
    """Whether a file is gzipped.

    Raises:
        FormatError: The file is not there, or is empty.
    """
    try:
        with path.open("rb") as file:
            head = file.read(2)
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from None
    if not head:
        raise FormatError(f"{path} is empty")
    return head == _GZIP


class _Unpacking(io.RawIOBase):
    """A gzipped file as a stream of plain bytes."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._packed = path.open("rb")
        self._plain = gzip.GzipFile(fileobj=self._packed)
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._plain.read1(len(buffer))
        self._count += len(content)
        read = self._packed.tell()
        if self._count > max(FLOOR, RATIO * read):
            raise FormatError(
                f"{self._path} is not unpacked any further: its first {read:,} bytes have become {self._count:,}, and "
                f"{RATIO} times as many are the most that data are taken for; unpack it yourself if it is meant"
            )
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        if not self.closed:
            self._plain.close()
            self._packed.close()
        super().close()
