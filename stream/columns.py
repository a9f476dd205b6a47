"""Reads the columns of an encoding (stream.state) one after the other."""

from array import array
from typing import Any


class Columns:
    """A place in an encoding, which moves on with each column taken."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        self._at = start

    def rest(self) -> bytes:
        """All that is left."""
        return self.bytes(len(self._data) - self._at)

    def bytes(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        self._at += size
        return self._data[self._at - size : self._at]

    def take(self, typecode: str, count: int) -> "array[Any]":
        """The next ``count`` numbers."""
        column = array(typecode)
        column.frombytes(self.bytes(column.itemsize * count))
        return column
