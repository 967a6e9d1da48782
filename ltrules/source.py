"""Where a text came from, and places in it."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ltrules.errors import InputError

COMMAND_LINE = "<command line>"
#: How the name of a file of tests ends: `x_test.lt` has those of `x.lt`.
TESTS = "_test.lt"

#: The most bytes that a rule file may have; anything larger was not written by a person.
LARGEST_FILE = 1 << 20


@dataclass(frozen=True)
class Source:
    """A named text: a rule file, or what `-e` was given."""

    name: str
    text: str

    @cached_property
    def _line_starts(self) -> list[int]:
        starts = [0]
        starts.extend(i + 1 for i, char in enumerate(self.text) if char == "\n")
        return starts

    def position(self, offset: int) -> tuple[int, int]:
        """Return the 1-based line and column (in code points) of an offset."""
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """Return the text of a 1-based line, without its end."""
        start = self._line_starts[number - 1]
        end = self.text.find("\n", start)
        return self.text[start:] if end < 0 else self.text[start:end]


@dataclass(frozen=True, slots=True)
class Span:
    """The half-open range [start, end) of code points in a source."""

    source: Source
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    @property
    def line(self) -> int:
        return self.source.position(self.start)[0]

    @property
    def column(self) -> int:
        return self.source.position(self.start)[1]

    def to(self, other: Span) -> Span:
        """Return the span from the start of this one to the end of the other."""
        return Span(self.source, self.start, max(self.end, other.end))

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"


def read_source(path: Path) -> Source:
    """Read a rule file. Raises InputError if it cannot be read, is too large, or is not UTF-8."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except IsADirectoryError:
        raise InputError(f"{path} is a directory, not a rule file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"cannot read {path}: {reason}") from error
    return decode_source(str(path), data)


def decode_source(name: str, data: bytes) -> Source:
    """Return the source that some bytes are. Raises InputError if they are too many, or not UTF-8."""
    if len(data) > LARGEST_FILE:
        raise InputError(f"{name} is larger than a rule file may be (1 MiB)")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{name} is not UTF-8 text: byte {error.start}, on line {line}, cannot be read") from error
    return Source(name, text.removeprefix("\ufeff"))
