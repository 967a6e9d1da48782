"""Write a recording: JSON Lines in time order, as `ltrules.traces.jsonl` reads them."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from operator import itemgetter
from typing import Any, BinaryIO

from ltrules.alert import Scalar
from ltrules.errors import InputError
from ltrules.traces.anonymise import Anonymiser
from ltrules.traces.jsonl import MARK, VERSION

#: How long an event may be delayed, in ns: interrupted between its reading of the clock and its place in the buffer.
#: Virtual CPUs are taken away for some tens of milliseconds.
HOLD_NS = 250_000_000

#: Strings whose written form is remembered.
_MOST_KNOWN = 4096

#: One event: time in ns, number of its columns, CPU, then values of context and fields.
Row = Sequence[Scalar]

_time: Callable[[tuple[int, str]], int] = itemgetter(0)


class Sort(Enum):
    """What the values of a column are."""

    NUMBER = "number"
    TEXT = "text"
    ADDRESS = "address"  # of the kernel or of a process


@dataclass(frozen=True, slots=True)
class Column:
    """One value of an event: a field by its name, or what `model.Context` names."""

    name: str
    sort: Sort = Sort.NUMBER
    context: bool = False


@dataclass(frozen=True, slots=True)
class Columns:
    """What is recorded of one event ("category:name"), in the order of a row: the context first."""

    event: str
    values: tuple[Column, ...]

    @property
    def context(self) -> tuple[str, ...]:
        return tuple(v.name for v in self.values if v.context)

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(v.name for v in self.values if not v.context)

    def template(self) -> str:
        """Return the line of an event for `%` with time, CPU and the values as JSON."""
        head = "".join(f",{_literal(name)}:%s" for name in self.context)
        fields = ",".join(f"{_literal(name)}:%s" for name in self.fields)
        return f'{{"t":%d,"e":{_literal(self.event)},"cpu":%d{head},"f":{{{fields}}}}}\n'


def _literal(text: str) -> str:
    return _json(text).replace("%", "%%")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class TraceWriter:
    """Writes to a binary stream, whose name is for messages. Every method raises InputError if that fails."""

    def __init__(
        self, out: BinaryIO, name: str, columns: Sequence[Columns], anonymiser: Anonymiser | None = None
    ) -> None:
        self._out = out
        self._name = name
        self._columns = columns
        self._lines = [_Line(c, anonymiser) for c in columns]
        self._waiting: list[tuple[int, str]] = []  # in order
        self._arrived: list[tuple[int, str]] = []
        self.counts = [0] * len(columns)

    def header(self, content: Mapping[str, Any]) -> None:
        """Write the first line: the version, what is recorded of each event, and `content`."""
        events = {c.event: {"context": list(c.context), "fields": list(c.fields)} for c in self._columns}
        self._write(_json({MARK: VERSION, **content, "events": events}) + "\n")

    def events(self, rows: Sequence[Row]) -> None:
        """Take some events, in nearly the order of time."""
        lines, counts, arrived = self._lines, self.counts, self._arrived
        for row in rows:
            number = int(row[1])
            counts[number] += 1
            arrived.append((int(row[0]), lines[number].write(row)))

    def lost(self, event: str, count: int, time_ns: int) -> None:
        """Say that events are missing, some time before `time_ns`."""
        self._arrived.append((time_ns, _json({"lost": count, "event": event, "at": time_ns}) + "\n"))

    def release(self, reached_ns: int) -> None:
        """Write what is older than HOLD_NS at a time up to which all has arrived, but for what is delayed."""
        self._release(reached_ns - HOLD_NS)

    def end(self, time_ns: int, content: Mapping[str, Any]) -> None:
        """Write what was held back, and the last line: until when was recorded, how much, and `content`."""
        self._release(time_ns)
        counts = {c.event: n for c, n in zip(self._columns, self.counts, strict=True)}
        self._write(_json({"end": time_ns, "recorded": counts, **content}) + "\n")

    def _release(self, until_ns: int) -> None:
        """Put what has arrived in its place, and write what is not later than a time."""
        waiting, arrived = self._waiting, self._arrived
        if arrived:
            # Only what is later than the first to arrive is touched: thousands of others wait.
            place = bisect_right(waiting, min(arrived)[0], key=_time)
            waiting[place:] = sorted(waiting[place:] + arrived, key=_time)
            arrived.clear()
        count = bisect_right(waiting, until_ns, key=_time)
        if count:
            self._write("".join([line for _, line in waiting[:count]]))
            del waiting[:count]

    def _write(self, text: str) -> None:
        try:
            self._out.write(text.encode())
            self._out.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise InputError(f"cannot write {self._name}: {error.strerror or error}") from None


class _Line:
    """Makes the lines of one event."""

    def __init__(self, columns: Columns, anonymiser: Anonymiser | None) -> None:
        self._template = columns.template()
        self._anonymiser = anonymiser
        self._texts = [i for i, v in enumerate(columns.values, 2) if v.sort is Sort.TEXT]
        self._addresses = [i for i, v in enumerate(columns.values, 2) if anonymiser and v.sort is Sort.ADDRESS]
        self._special = bool(self._texts or self._addresses)
        self._known: dict[Scalar, str] = {}

    def write(self, row: Row) -> str:
        """Return the line of a row."""
        if not self._special:
            return self._template % (row[0], *row[2:])
        values = [row[0], *row[2:]]
        for i in self._texts:
            values[i] = self._known.get(values[i]) or self._text(str(values[i]))
        if self._anonymiser:
            for i in self._addresses:
                values[i] = self._anonymiser.address(int(values[i]))
        return self._template % tuple(values)

    def _text(self, text: str) -> str:
        """Return a string as it is written; those of tasks and the like come again and again."""
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[text] = _json(self._anonymiser.text(text) if self._anonymiser else text)
        return self._known[text]
