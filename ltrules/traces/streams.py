"""Bytes of a trace from wherever they come, and lines of bounded length made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

from ltrules.errors import InputError
from ltrules.traces.troubles import Troubles

#: Bytes read at once: what is made of them should fit in a CPU's cache.
CHUNK = 1 << 14
#: Longer lines are no events: the longest of real ones is some 10 KiB (events with strings or stacks).
LONGEST_LINE = 1 << 17


class Stream(Protocol):
    """What gives bytes."""

    def read(self) -> bytes:
        """Return the next bytes, b"" at the end; raise InputError where they cannot be read."""

    def close(self) -> None:
        """Give up what is held."""


class FileStream:
    """An open file or pipe, with its name for people; `count` is how many bytes were read.

    It is closed with the stream if it is `owned` by it.
    """

    def __init__(self, file: BinaryIO, name: str, owned: bool) -> None:
        self.name = name
        self.count = 0
        self._owned = owned
        self._file = file
        self._read: Callable[[int], bytes] = getattr(file, "read1", file.read)

    def read(self) -> bytes:
        try:
            data = self._read(CHUNK)
        except (OSError, ValueError) as error:  # ValueError: the file was closed
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise InputError(f"cannot read {self.name}: {reason}") from error
        self.count += len(data)
        return data

    def close(self) -> None:
        if self._owned:
            self._file.close()


class Ahead:
    """A stream whose beginning can be looked at first."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._ahead = b""

    def start(self, size: int) -> bytes:
        """Return at least the next `size` bytes, fewer only at the end, without taking them."""
        while len(self._ahead) < size and (data := self._stream.read()):
            self._ahead += data
        return self._ahead

    def read(self) -> bytes:
        if self._ahead:
            data, self._ahead = self._ahead, b""
            return data
        return self._stream.read()

    def close(self) -> None:
        self._stream.close()


def line_blocks(stream: Stream, troubles: Troubles, errors: str, ended: bool) -> Iterator[list[str]]:
    """Iterate over the lines of a stream, some hundred at a time, without their ends.

    Bytes that are no UTF-8 are decoded as the error handler says. A line longer than LONGEST_LINE is counted as
    malformed, and its bytes are not kept. So is a last line without an end, which may be half a line, if all must be
    `ended`.
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
            if len(block) > LONGEST_LINE:
                block = _without_long_lines(block, troubles)
            yield block.decode("utf-8", errors).split("\n")
            rest = tail
        if len(rest) > LONGEST_LINE:
            troubles.malformed += 1
            rest, skipping = b"", True
    if rest and ended:
        troubles.malformed += 1
    elif rest:
        yield [rest.decode("utf-8", errors)]


def _without_long_lines(block: bytes, troubles: Troubles) -> bytes:
    lines = block.split(b"\n")
    short = [line for line in lines if len(line) <= LONGEST_LINE]
    troubles.malformed += len(lines) - len(short)
    return b"\n".join(short)
