"""Traces of lines, each with its time: what the readers of all texts share."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ltrules.alert import Scalar
from ltrules.catalog.events import Catalog, Event
from ltrules.traces.dialects import Dialect
from ltrules.traces.event import TraceEvent
from ltrules.traces.names import Names
from ltrules.traces.needs import OF_THE_EVENT, Need, Needs
from ltrules.traces.order import in_order
from ltrules.traces.troubles import Troubles

Line = re.Match[str]
#: CPU, context and fields.
Told = tuple[int, dict[str, Scalar], dict[str, Scalar]]


class LineReader(ABC):
    """A reader of one dialect; `end_ns` is the time of the last event, wanted or not."""

    end_ns: int | None = None

    def __init__(
        self, dialect: Dialect, catalog: Catalog, needs: Needs, seen: Counter[str], troubles: Troubles
    ) -> None:
        self.machine = catalog.machine
        self.description = dialect.name
        self._dialect = dialect
        self._names = Names(catalog, needs, troubles)
        self._needs, self._seen, self._troubles = needs, seen, troubles
        self._wanted: dict[str, _Wanted] = {}

    @abstractmethod
    def name_of(self, line: Line) -> str:
        """Return the kernel's name of the event in a line."""

    @abstractmethod
    def decoder(self, event: Event, need: Need, name: str) -> Any:
        """Return what `told` needs to read an event that has this name in the trace."""

    @abstractmethod
    def told(self, decoder: Any, line: Line) -> Told | None:
        """Return what a line tells, None if it is malformed."""

    def events(self, blocks: Iterable[list[str]]) -> Iterator[TraceEvent]:
        """Iterate over the wanted events of all blocks in time order."""
        for time, wanted, line in in_order(map(self._stamped, blocks), self._troubles):
            told = self.told(wanted.decoder, line)
            if told is None:
                self._troubles.malformed += 1
                continue
            cpu, context, fields = told
            self._note_lacking(wanted.name, wanted.fields, fields, "")
            self._note_lacking(wanted.name, wanted.context, context, "task.")
            self._seen[wanted.name] += 1
            yield TraceEvent(time, wanted.name, cpu, context, fields)

    def _stamped(self, lines: list[str]) -> list[tuple[int, _Wanted, Line]]:
        """Return the wanted ones of some lines, each with its time."""
        match = self._dialect.line.match
        stamped = []
        last: Line | None = None
        for line in lines:
            found = match(line)
            if found is None:
                self._other(line)
                continue
            last = found
            name = self.name_of(found)
            wanted = self._wanted.get(name) or self._want(name)
            if wanted is not None:
                stamped.append((_time_of(found), wanted, found))
        if last is not None:
            self.end_ns = max(self.end_ns or 0, _time_of(last))
        return stamped

    def _want(self, name: str) -> _Wanted | None:
        event = self._names.wanted(name)
        if event is None:
            return None
        need = self._needs[event.full_name]
        wanted = self._wanted[name] = _Wanted(event.full_name, need, self.decoder(event, need, name))
        return wanted

    def _other(self, line: str) -> None:
        """Take a line that is no event: a mark of lost events, what else belongs there, or a malformed one."""
        found = self._dialect.lost.fullmatch(line)
        if found is not None:
            told = found.groupdict()
            if told.get("written") is None:
                self._troubles.note_lost(int(told["lost"]) if told["lost"] else None)
            elif int(told["written"]) > int(told["kept"]):  # the oldest events were overwritten
                self._troubles.note_lost(int(told["written"]) - int(told["kept"]))
        elif self._dialect.quiet.fullmatch(line) is None:
            self._troubles.malformed += 1

    def _note_lacking(self, event: str, names: Iterable[str], values: Mapping[str, Scalar], prefix: str) -> None:
        for name in names:
            if name not in values:
                self._troubles.lacking[event, prefix + name] += 1


def _time_of(line: Line) -> int:
    return int(line["seconds"]) * 1_000_000_000 + int(line["fraction"].ljust(9, "0"))


class _Wanted:
    """An event that is wanted: its full name, what is read of it, and how."""

    def __init__(self, name: str, need: Need, decoder: Any) -> None:
        self.name = name
        self.decoder = decoder
        self.fields = tuple(need.fields)
        self.context = tuple(each for each in need.context if each not in OF_THE_EVENT)
