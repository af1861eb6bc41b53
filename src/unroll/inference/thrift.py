"""Thrift's compact protocol, as far as Parquet's headers need it, for content that may be damaged or hostile.

Source: Apache Thrift, "Thrift Compact protocol encoding".
"""

from collections.abc import Iterator

_TRUE, _FALSE, _BYTE, _WHOLE, _DOUBLE, _BYTES, _LISTS, _MAP, _STRUCT = 1, 2, 3, (4, 5, 6), 7, 8, (9, 10), 11, 12
_DEPTH = 12
"""Values within each other, at most."""


class Cursor:
    """A place in some bytes, which goes on as values are read.

    All methods raise IndexError where the bytes end within a value, and ValueError where there is none.
    """

    def __init__(self, content: bytes, at: int = 0) -> None:
        self.at = at
        self._content = content

    def fields(self) -> Iterator[tuple[int, int]]:
        """Number and kind of each field of a structure; each value has to be read or skipped before the next."""
        number = 0
        while kind := self._byte():
            step = kind >> 4
            number = number + step if step else self._zigzag()
            yield number, kind & 0xF

    def items(self) -> Iterator[int]:
        """The kind of each item of a list; each value has to be read or skipped before the next."""
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._varint()
        for _ in range(count):
            yield head & 0xF

    def whole(self, kind: int) -> int:
        """A whole number."""
        if kind not in _WHOLE:
            raise ValueError(f"a value of kind {kind}, expected a whole number")
        return self._zigzag()

    def skip(self, kind: int, depth: int = _DEPTH) -> None:
        """Goes past a value."""
        if not depth:
            raise ValueError("values within each other go too deep")
        if kind in (_TRUE, _FALSE):
            return  # in the field's own byte
        if kind in _WHOLE:
            self._varint()
        elif kind in (_BYTE, _DOUBLE, _BYTES):
            size = {_BYTE: 1, _DOUBLE: 8}.get(kind)
            self._pass(self._varint() if size is None else size)
        elif kind in _LISTS:
            for item in self.items():
                self._byte() if item in (_TRUE, _FALSE) else self.skip(item, depth - 1)
        elif kind == _STRUCT:
            for _, field in self.fields():
                self.skip(field, depth - 1)
        else:
            raise ValueError(f"a value of kind {kind}")

    def _byte(self) -> int:
        self._pass(1)
        return self._content[self.at - 1]

    def _pass(self, size: int) -> None:
        if self.at + size > len(self._content):
            raise IndexError("the content ends within a value")
        self.at += size

    def _zigzag(self) -> int:
        """0, −1, 1, −2 … of 0, 1, 2, 3 …"""
        number = self._varint()
        return (number >> 1) ^ -(number & 1)

    def _varint(self) -> int:
        """Seven bits a byte, the lowest first."""
        number = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
        raise ValueError("a number of more than ten bytes")
