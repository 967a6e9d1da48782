"""Recordings in JSON Lines: what `ltrules record` writes, and anyone can.

The first line is a header, `{"ltrules_trace": 1, "kernel": "6.18.44", "arch": "x86_64", ...}`. Then one event a line:

    {"t": ns, "e": "sched:sched_switch", "cpu": 1, "tid": 0, "tgid": 0, "comm": "...", "f": {"prev_pid": 17, ...}}

`{"lost": 12}` says that events are missing at this place (0: it is not known how many), `{"end": ns}` until when was
recorded. Names that are not known are passed over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, repeat
from json.scanner import make_scanner
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

#: How lines start whose time can be told without decoding them, and where it stands.
_START = '{"t":'
_AT = len(_START)
#: The function under `json.loads`: it raises StopIteration where nothing begins.
_SCAN: Callable[[str, int], tuple[Any, int]] = make_scanner(json.JSONDecoder())  # type: ignore[arg-type]
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


@dataclass(frozen=True, slots=True)
class _Check:
    """An event's full name, and what is read of it: numbers and texts of its fields, and of the context."""

    name: str
    numbers: tuple[str, ...]
    texts: tuple[str, ...]
    context_numbers: tuple[str, ...]
    context_texts: tuple[str, ...]


_Stamped = tuple[int, str]


class JsonLines:
    """The reader; `end_ns` is until when was recorded, where the recording says so."""

    def __init__(self, catalog: Catalog, needs: Needs, seen: set[str], troubles: Troubles) -> None:
        self._names = Names(catalog, needs, troubles)
        self._needs, self._seen, self._troubles = needs, seen, troubles
        self._checks: dict[str, _Check] = {}
        self.end_ns: int | None = None

    def events(self, blocks: Iterable[list[str]]) -> Iterator[TraceEvent]:
        """Iterate over the wanted events of all blocks in time order."""
        batches = in_order(map(self._stamped, blocks), self._troubles)
        return chain.from_iterable(map(self._decoded, batches))

    def _stamped(self, lines: list[str]) -> list[_Stamped]:
        """Return lines with the time of each, which needs no decoding where the time comes first."""
        if all(map(str.startswith, lines, repeat(_START))):
            with suppress(ValueError):
                return list(zip([int(line[_AT : line.find(",", _AT)]) for line in lines], lines, strict=True))
        return [stamped for line in lines for stamped in self._carefully_stamped(line)]

    def _carefully_stamped(self, line: str) -> Iterator[_Stamped]:
        """Iterate over the event in a line, if there is one; take note of marks."""
        line = line.strip()
        try:
            content = json.loads(line) if line else {MARK: VERSION}
            time, name, lost, end_ns = map(content.get, ("t", "e", "lost", "end"))
        except (ValueError, AttributeError, RecursionError):
            self._troubles.malformed += 1
            return
        if name is not None and _is_time(time):
            yield time, line
        elif _is_time(lost):
            self._troubles.note_lost(lost)
        elif _is_time(end_ns):
            self.end_ns = end_ns
        elif content.get(MARK) != VERSION:  # recordings may be joined: further headers are no trouble
            self._troubles.malformed += 1

    def _decoded(self, batch: Iterable[_Stamped]) -> Iterator[TraceEvent]:
        """Iterate over the wanted events of some lines.

        Half of the time of a replay goes here: this is written for speed.
        """
        scan, new, checks = _SCAN, tuple.__new__, self._checks
        for time, line in batch:
            try:
                content, end = scan(line, 0)
                check = checks.get(content["e"]) or self._check(content["e"])
                if check is None:
                    continue
                cpu, fields = content["cpu"], content["f"]
                if (
                    content["t"] != time
                    or not 0 <= time < _END
                    or not 0 <= cpu < _MOST_CPUS
                    or type(cpu) is not int
                    or type(fields) is not dict
                    or (end != len(line) and not line[end:].isspace())
                ):
                    raise ValueError
                for key in check.numbers:
                    value = fields.get(key, _ABSENT)
                    if type(value) is not int or not _LOW <= value < _END:
                        fields = self._sound(fields, check.numbers, int, check.name)
                        break
                for key in check.texts:
                    if type(fields.get(key)) is not str:
                        fields = self._sound(fields, check.texts, str, check.name)
                        break
                for key in check.context_numbers:
                    value = content.get(key, _ABSENT)
                    if type(value) is not int or not _LOW <= value < _END:
                        content = self._sound(content, check.context_numbers, int, check.name, "task.")
                        break
                for key in check.context_texts:
                    if type(content.get(key)) is not str:
                        content = self._sound(content, check.context_texts, str, check.name, "task.")
                        break
            except (ValueError, KeyError, TypeError, StopIteration, RecursionError):
                self._troubles.malformed += 1
                continue
            yield new(TraceEvent, (time, check.name, cpu, content, fields))  # what TraceEvent(...) does, in less time

    def _check(self, name: str) -> _Check | None:
        """Return what to check of an event; None if it is not wanted. Raises TypeError if that is no name."""
        if not isinstance(name, str):
            raise TypeError
        event = self._names.wanted(name)
        if event is None:
            return None
        need = self._needs[event.full_name]
        context = {key: kind for key, kind in need.context.items() if key not in OF_THE_EVENT}
        self._seen.add(event.full_name)
        check = self._checks[name] = _Check(event.full_name, *_split(need.fields), *_split(context))
        return check

    def _sound(
        self, values: dict[str, Any], keys: tuple[str, ...], kind: Any, event: str, prefix: str = ""
    ) -> dict[str, Any]:
        """Return the values without those that are read but are none; count what is missing."""
        sound = dict(values)
        for key in keys:
            value = sound.get(key, _ABSENT)
            if type(value) is not kind or (kind is int and not _LOW <= value < _END):
                sound.pop(key, None)
                self._troubles.lacking[event, prefix + key] += 1
        return sound


def _split(types: Mapping[str, Type]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of numbers, and those of texts."""
    texts = tuple(name for name, kind in types.items() if kind.kind is Kind.STRING)
    return tuple(name for name in types if name not in texts), texts


def _is_time(value: Any) -> bool:
    return type(value) is int and 0 <= value < _END
