"""Bytes of a file or pipe, counted, and cut into blocks of lines of bounded length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from ltrules.errors import InputError
from ltrules.traces.troubles import Troubles

CHUNK = 1 << 16
#: Longer lines are no events: the longest of real ones is some 10 KiB (events with strings or stacks).
LONGEST_LINE = 1 << 18


class Counted:
    """A stream that counts what was read of it, and lets its start be looked at first."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream, self.name = stream, name
        self._ahead = b""
        self.count = 0

    def read(self, size: int = CHUNK) -> bytes:
        """Return at most `size` bytes, as soon as there are any; b"" at the end. Raises InputError."""
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            return data
        return self._more(size)

    def start(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer only at the end, without taking them. Raises InputError."""
        while len(self._ahead) < size and (data := self._more(size)):
            self._ahead += data
        return self._ahead[:size]

    def close(self) -> None:
        """Close the stream below."""
        self._stream.close()

    def _more(self, size: int) -> bytes:
        try:
            data = self._stream.read1(size) if hasattr(self._stream, "read1") else self._stream.read(size)
        except OSError as error:
            raise InputError(f"cannot read {self.name}: {error.strerror}") from error
        self.count += len(data)
        return data


def line_blocks(stream: Counted, troubles: Troubles, errors: str) -> Iterator[list[str]]:
    """Iterate over the lines of a stream, some thousand at a time, without their ends.

    Bytes that are no UTF-8 are decoded as the error handler says. A line longer than LONGEST_LINE is counted as
    malformed, and its bytes are not kept.
    """
    rest = b""
    skipping = False
    while data := stream.read():
        if skipping:
            _, newline, data = data.partition(b"\n")
            if not newline:
                continue
            skipping = False
        head, newline, tail = data.rpartition(b"\n")
        if not newline:
            rest += tail
        else:
            block = rest + head
            if block.find(b"\n", 0, LONGEST_LINE + 1) < 0 and len(block) > LONGEST_LINE:
                troubles.malformed += 1
                block = block.partition(b"\n")[2]
            yield block.decode("utf-8", errors).split("\n")
            rest = tail
        if len(rest) > LONGEST_LINE:
            troubles.malformed += 1
            rest, skipping = b"", True
    if rest:
        yield [rest.decode("utf-8", errors)]
