"""Recordings in JSON Lines: what `ltrules record` writes, and anyone can.

The first line is a header, `{"ltrules_trace": 1, "kernel": "6.18.44", "arch": "x86_64", ...}`. Then one event a line:

    {"t": ns, "e": "sched:sched_switch", "cpu": 1, "tid": 0, "tgid": 0, "comm": "...", "f": {"prev_pid": 17, ...}}

`{"lost": 12}` says that events are missing at this place (0: it is not known how many), `{"end": ns, "recorded": {}}`
until when was recorded, and how many of each event. Names that are not known are passed over.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from ltrules.alert import Scalar
from ltrules.catalog.events import Catalog
from ltrules.errors import InputError
from ltrules.traces.event import TraceEvent
from ltrules.traces.names import Names
from ltrules.traces.needs import OF_THE_EVENT, Needs
from ltrules.traces.order import in_order
from ltrules.traces.troubles import Troubles
from ltrules.types import Kind, Type

VERSION = 1
MARK = "ltrules_trace"

#: Recordings are in order but for what was written by hand or joined, and so many decoded events fit in a CPU's cache.
_WINDOW = 128
_decode = json.JSONDecoder().raw_decode
_LOW, _END = -(1 << 63), 1 << 64
#: More CPUs than Linux can be built for.
_MOST_CPUS = 1 << 16


def read_header(line: str, name: str) -> dict[str, Scalar] | None:
    """Return what the header says, None if the line is none; raise InputError if its version is not known."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or MARK not in content:
        return None
    if content[MARK] != VERSION:
        raise InputError(
            f"{name} is a recording of version {content[MARK]!r:.20}: this ltrules reads version {VERSION}"
        )
    return {key: value for key, value in content.items() if key != MARK and type(value) in (int, str)}


@dataclass(frozen=True, slots=True)
class _Wanted:
    """An event that is wanted: its full name, and what is read of it, each an int or a str.

    `make(content, fields)` returns the event of a line, None if a part of it cannot be what it must be; it raises
    KeyError or TypeError if the line lacks one.
    """

    name: str
    fields: Mapping[str, type]
    context: Mapping[str, type]
    make: Callable[[Any, Any], TraceEvent | None]


class JsonLines:
    """The reader; `end_ns` is until when was recorded, at least the time of the last event, wanted or not."""

    def __init__(self, catalog: Catalog, needs: Needs, seen: Counter[str], troubles: Troubles) -> None:
        self._names = Names(catalog, needs, troubles)
        self._needs, self._seen, self._troubles = needs, seen, troubles
        self._known: dict[str, _Wanted | None] = {}  # None: the catalog has it, and nobody wants it
        self.end_ns: int | None = None

    def events(self, blocks: Iterable[list[str]]) -> Iterator[TraceEvent]:
        """Iterate over the wanted events of all blocks in time order."""
        return in_order(map(self._decoded, blocks), self._troubles, _WINDOW)

    def _decoded(self, lines: list[str]) -> list[TraceEvent]:
        """Return the wanted events of some lines."""
        decode, known = _decode, self._known
        events: list[TraceEvent] = []
        content: Any = None
        for line in lines:
            try:
                content, end = decode(line)
                wanted = known[content["e"]]
                if wanted is None:
                    continue
                event = wanted.make(content, content["f"])
                if event is not None and end == len(line):
                    events.append(event)
                    continue
            except (ValueError, KeyError, TypeError, RecursionError):
                pass
            events += self._odd(line)
        self._seen.update(map(_name, events))
        if isinstance(content, dict) and _is_int(content.get("t"), 0):
            self._note_end(content["t"])
        return events

    def _odd(self, line: str) -> Iterator[TraceEvent]:
        """Iterate over the event in a line of any kind, if there is one; take note of marks, and of what is wrong."""
        try:
            content = json.loads(line) if line.strip() else {MARK: VERSION}
            time, name, cpu, fields, lost, end_ns = map(content.get, ("t", "e", "cpu", "f", "lost", "end"))
        except (ValueError, AttributeError, RecursionError):
            self._troubles.malformed += 1
            return
        if isinstance(name, str) and _is_int(time, 0):
            wanted = self._want(name)
            if wanted is None:
                return
            if type(fields) is dict and _is_int(cpu, 0, _MOST_CPUS):
                fields = self._sound(fields, wanted.fields, wanted.name)
                context = self._sound(content, wanted.context, wanted.name, "task.")
                yield TraceEvent(time, wanted.name, cpu, context, fields)
                return
        elif _is_int(lost, 0):
            self._troubles.note_lost(lost)
            return
        elif _is_int(end_ns, 0):
            self._note_end(end_ns)
            self._note_recorded(content.get("recorded"))
            return
        elif content.get(MARK) == VERSION:  # recordings may be joined: further headers are no trouble
            return
        self._troubles.malformed += 1

    def _note_end(self, time_ns: int) -> None:
        self.end_ns = max(self.end_ns or 0, time_ns)

    def _note_recorded(self, counts: Any) -> None:
        """Take note of what was recorded: an event that did not come is none that the recording lacks."""
        if isinstance(counts, dict):
            for name in self._needs.keys() & counts.keys():
                self._seen[name] += 0

    def _want(self, name: str) -> _Wanted | None:
        """Return what is wanted of an event, None for nothing."""
        event = self._names.wanted(name)
        if event is None:
            if self._names.known(name):
                self._known[name] = None
            return None
        need = self._needs[event.full_name]
        fields = {key: _kind(sort) for key, sort in need.fields.items()}
        context = {key: _kind(sort) for key, sort in need.context.items() if key not in OF_THE_EVENT}
        wanted = _Wanted(event.full_name, fields, context, _maker(event.full_name, fields, context))
        self._known[name] = wanted
        return wanted

    def _sound(self, values: dict[str, Any], kinds: Mapping[str, type], event: str, prefix: str = "") -> dict[str, Any]:
        """Return the values without those that are read but are none; count what is missing."""
        sound = dict(values)
        for key, kind in kinds.items():
            if not (_is_int(sound.get(key)) if kind is int else isinstance(sound.get(key), str)):
                sound.pop(key, None)
                self._troubles.lacking[event, prefix + key] += 1
        return sound


_name = itemgetter(1)


def _kind(sort: Type) -> type:
    return str if sort.kind is Kind.STRING else int


def _is_int(value: Any, low: int = _LOW, end: int = _END) -> bool:
    return type(value) is int and low <= value < end


def _maker(
    name: str, fields: Mapping[str, type], context: Mapping[str, type]
) -> Callable[[Any, Any], TraceEvent | None]:
    """Return the function that makes an event of the content of a line and its fields, if they are what they must be.

    Its text is made once for each event: a loop over names and types would take as long as decoding the line.
    """
    tests = [_test("t", "c['t']", 0, _END), _test("cpu", "c['cpu']", 0, _MOST_CPUS), "f.__class__ is dict"]
    for place, kinds in (("f", fields), ("c", context)):
        for key, kind in kinds.items():
            value = f"{place}[{key!r}]"
            tests.append(_test("v", value, _LOW, _END) if kind is int else f"{value}.__class__ is str")
    # What TraceEvent(...) does, in less time.
    made = f"new(TraceEvent, (t, {name!r}, cpu, c, f))"
    known = {"new": tuple.__new__, "TraceEvent": TraceEvent}
    make: Callable[[Any, Any], TraceEvent | None] = eval(
        f"lambda c, f: {made} if {' and '.join(tests)} else None", known
    )
    return make


def _test(name: str, value: str, low: int, end: int) -> str:
    """Return the text of the condition that a value, which gets a name, is an int of a range."""
    return f"({name} := {value}).__class__ is int and {low} <= {name} < {end}"
