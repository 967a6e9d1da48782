"""Recordings in JSON Lines: what `ltrules record` writes, and anyone can.

The first line is a header, `{"ltrules_trace": 1, "kernel": "6.18.44", "arch": "x86_64", ...}`. Then one event a line:

    {"t": ns, "e": "sched:sched_switch", "cpu": 1, "tid": 0, "tgid": 0, "comm": "...", "f": {"prev_pid": 17, ...}}

`{"lost": 12}` says that events are missing at this place (0: it is not known how many), `{"end": ns}` until when was
recorded. Names that are not known are passed over.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
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

#: How lines start whose time and event are told without decoding all of it.
_START = re.compile(r'\{"t": ?([0-9]{1,19}), ?"e": ?"([^"]+)"')


_DECODER = json.JSONDecoder()
_ABSENT: Any = None
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


#: Names, and whether each is an int or a str.
_Kinds = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class _Check:
    """An event's full name, and the types of what is read of it."""

    name: str
    fields: _Kinds
    context: _Kinds


_Stamped = tuple[int, _Check, str]


class JsonLines:
    """The reader; `end_ns` is until when was recorded, where the recording says so."""

    def __init__(self, catalog: Catalog, needs: Needs, seen: Counter[str], troubles: Troubles) -> None:
        self._names = Names(catalog, needs, troubles)
        self._needs, self._seen, self._troubles = needs, seen, troubles
        self._checks: dict[str, _Check] = {}
        self.end_ns: int | None = None

    def events(self, blocks: Iterable[list[str]]) -> Iterator[TraceEvent]:
        """Iterate over the wanted events of all blocks in time order."""
        return self._decoded(in_order(map(self._stamped, blocks), self._troubles))

    def _stamped(self, lines: list[str]) -> list[_Stamped]:
        """Return the wanted ones of some lines, each with its time."""
        match, checks = _START.match, self._checks
        stamped: list[_Stamped] = []
        for line in lines:
            found = match(line)
            if found is None:
                stamped += self._oddly_stamped(line)
                continue
            time, name = found.groups()
            check = checks.get(name) or self._check(name)
            if check is not None:
                stamped.append((int(time), check, line))
        return stamped

    def _oddly_stamped(self, line: str) -> Iterator[_Stamped]:
        """Iterate over the event in a line that starts in another way, if there is one; take note of marks."""
        try:
            content = json.loads(line) if line.strip() else {MARK: VERSION}
            time, name, lost, end_ns = map(content.get, ("t", "e", "lost", "end"))
        except (ValueError, AttributeError, RecursionError):
            self._troubles.malformed += 1
            return
        if isinstance(name, str) and _is_time(time):
            check = self._check(name)
            if check is not None:
                yield time, check, line.strip()
        elif _is_time(lost):
            self._troubles.note_lost(lost)
        elif _is_time(end_ns):
            self.end_ns = end_ns
        elif content.get(MARK) != VERSION:  # recordings may be joined: further headers are no trouble
            self._troubles.malformed += 1

    def _decoded(self, batch: Iterable[_Stamped]) -> Iterator[TraceEvent]:
        decode, new, seen = _DECODER.raw_decode, tuple.__new__, self._seen
        for time, check, line in batch:
            try:
                content, end = decode(line)
                cpu, fields = content["cpu"], content["f"]
                if (
                    not 0 <= cpu < _MOST_CPUS
                    or type(cpu) is not int
                    or type(fields) is not dict
                    or (end != len(line) and not line[end:].isspace())
                ):
                    raise ValueError
                for key, kind in check.fields:
                    value = fields.get(key, _ABSENT)
                    if type(value) is not kind or (kind is int and not _LOW <= value < _END):
                        fields = self._sound(fields, check.fields, check.name)
                        break
                for key, kind in check.context:
                    value = content.get(key, _ABSENT)
                    if type(value) is not kind or (kind is int and not _LOW <= value < _END):
                        content = self._sound(content, check.context, check.name, "task.")
                        break
            except (ValueError, KeyError, TypeError, RecursionError):
                self._troubles.malformed += 1
                continue
            seen[check.name] += 1
            yield new(TraceEvent, (time, check.name, cpu, content, fields))  # what TraceEvent(...) does, in less time

    def _check(self, name: str) -> _Check | None:
        """Return what to check of an event; None if it is not wanted."""
        event = self._names.wanted(name)
        if event is None:
            return None
        need = self._needs[event.full_name]
        context = {key: kind for key, kind in need.context.items() if key not in OF_THE_EVENT}
        check = self._checks[name] = _Check(event.full_name, _kinds(need.fields), _kinds(context))
        return check

    def _sound(self, values: dict[str, Any], kinds: _Kinds, event: str, prefix: str = "") -> dict[str, Any]:
        """Return the values without those that are read but are none; count what is missing."""
        sound = dict(values)
        for key, kind in kinds:
            value = sound.get(key, _ABSENT)
            if type(value) is not kind or (kind is int and not _LOW <= value < _END):
                sound.pop(key, None)
                self._troubles.lacking[event, prefix + key] += 1
        return sound


def _kinds(types: Mapping[str, Type]) -> _Kinds:
    return tuple((name, str if kind.kind is Kind.STRING else int) for name, kind in types.items())


def _is_time(value: Any) -> bool:
    return type(value) is int and 0 <= value < _END
