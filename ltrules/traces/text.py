"""Traces as text: lines of ftrace, trace-cmd and perf to events."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from ltrules.alert import Scalar
from ltrules.catalog.events import Catalog, Event
from ltrules.traces.dialects import Dialect
from ltrules.traces.event import TraceEvent
from ltrules.traces.fieldwise import Fieldwise
from ltrules.traces.names import Names
from ltrules.traces.needs import Need, Needs
from ltrules.traces.order import in_order
from ltrules.traces.plugins import PLUGIN_TEXTS
from ltrules.traces.printed import Layout, layout, shown_bits
from ltrules.traces.troubles import Troubles


class _Decoder:
    """Reads the payloads of one event, in whichever way they are written."""

    def __init__(self, event: Event, need: Need, machine: str) -> None:
        self.name = event.full_name
        self.fields = need.fields
        self.context = tuple(name for name in need.context if name not in ("cpu", "mono"))
        bits = shown_bits(event.print_text)
        texts = (event.print_text, PLUGIN_TEXTS.get(self.name, ""))
        found = (layout(text, event, need.fields, bits) for text in texts if text)
        self._ways: list[Layout | Fieldwise] = [way for way in found if way is not None]
        self._ways.append(Fieldwise(event, need.fields, machine))

    def decode(self, payload: str) -> dict[str, Scalar]:
        """Return the wanted fields, as far as the payload tells them."""
        best: dict[str, Scalar] = {}
        for way in self._ways:
            found = way.fields(payload)
            if found is not None and len(found) >= len(best):
                best = found
            if len(best) == len(self.fields):
                break
        return best


_Stamped = tuple[int, _Decoder, str, "re.Match[str]"]


class TextLines:
    """The reader of one dialect; texts do not say until when was recorded."""

    end_ns: int | None = None

    def __init__(
        self, dialect: Dialect, catalog: Catalog, needs: Needs, seen: Counter[str], troubles: Troubles
    ) -> None:
        self._dialect = dialect
        self._names = Names(catalog, needs, troubles)
        self._needs, self._seen, self._troubles = needs, seen, troubles
        self._machine = catalog.machine
        self._decoders: dict[str, _Decoder] = {}

    def events(self, blocks: Iterable[list[str]]) -> Iterator[TraceEvent]:
        """Iterate over the wanted events of all blocks in time order."""
        return self._decoded(in_order(map(self._stamped, blocks), self._troubles))

    def _stamped(self, lines: list[str]) -> list[_Stamped]:
        """Return the wanted ones of some lines, each with its time."""
        match, decoders = self._dialect.line.match, self._decoders
        stamped: list[_Stamped] = []
        for line in lines:
            found = match(line)
            if found is None:
                self._other(line)
                continue
            name, payload = found["name"], found["payload"]
            if name is None:
                name, payload = _system_call(found["call"], found["told"])
            decoder = decoders.get(name) or self._decoder(name)
            if decoder is not None:
                time = int(found["seconds"]) * 1_000_000_000 + int(found["fraction"].ljust(9, "0"))
                stamped.append((time, decoder, payload.strip(), found))
        return stamped

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

    def _decoder(self, name: str) -> _Decoder | None:
        event = self._names.wanted(name)
        if event is None:
            return None
        decoder = self._decoders[name] = _Decoder(event, self._needs[event.full_name], self._machine)
        return decoder

    def _decoded(self, batch: Iterable[_Stamped]) -> Iterator[TraceEvent]:
        for time, decoder, payload, line in batch:
            fields = decoder.decode(payload)
            cpu = int(line["cpu"])
            context = self._context(line, cpu)
            self._note_lacking(decoder.name, decoder.fields, fields, "")
            self._note_lacking(decoder.name, decoder.context, context, "task.")
            self._seen[decoder.name] += 1
            yield TraceEvent(time, decoder.name, cpu, context, fields)

    def _context(self, line: re.Match[str], cpu: int) -> dict[str, Scalar]:
        """Return what the head of a line tells of the running task."""
        context: dict[str, Scalar] = {"cpu": cpu}
        comm, tid, tgid = line["comm"], int(line["tid"]), line["tgid"]
        if tid >= 0:
            context["tid"] = tid
        if tgid is not None and tgid.isdecimal():
            context["tgid"] = int(tgid)
        if tid == 0 and comm == self._dialect.idle:
            context["comm"] = f"swapper/{cpu}"
        elif comm != self._dialect.nameless:
            context["comm"] = comm
        return context

    def _note_lacking(self, event: str, names: Iterable[str], values: Mapping[str, Scalar], prefix: str) -> None:
        for name in names:
            if name not in values:
                self._troubles.lacking[event, prefix + name] += 1


def _system_call(call: str, told: str) -> tuple[str, str]:
    """Return the event and the payload of `sys_read(fd: 0x3, ...)` or `sys_read -> 0x1`, as ftrace writes them."""
    name = call.removeprefix("sys_")
    if told.startswith("("):
        return f"sys_enter_{name}", told[1:].rstrip().removesuffix(")")
    return f"sys_exit_{name}", told.removeprefix(" -> ")
