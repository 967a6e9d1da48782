"""Events as ftrace, trace-cmd and perf write them."""

from __future__ import annotations

from ltrules.alert import Scalar
from ltrules.catalog.events import Event
from ltrules.traces.fieldwise import Fieldwise
from ltrules.traces.lines import Line, LineReader, Told
from ltrules.traces.needs import Need
from ltrules.traces.plugins import PLUGIN_TEXTS
from ltrules.traces.printed import Layout, layout, shown_bits


class TextLines(LineReader):
    """The reader of FTRACE and PERF."""

    def name_of(self, line: Line) -> str:
        name: str | None = line["name"]
        if name is not None:
            return name
        way = "enter" if line["told"].startswith("(") else "exit"
        return f"sys_{way}_{line['call'].removeprefix('sys_')}"

    def decoder(self, event: Event, need: Need, name: str) -> Payloads:
        return Payloads(event, need, self.machine)

    def told(self, decoder: Payloads, line: Line) -> Told:
        cpu = int(line["cpu"])
        return cpu, self._context(line, cpu), decoder.fields(_payload(line))

    def _context(self, line: Line, cpu: int) -> dict[str, Scalar]:
        """Return what the head of a line tells of the running task."""
        context: dict[str, Scalar] = {}
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


class Payloads:
    """Reads the payloads of one event, in whichever way they are written."""

    def __init__(self, event: Event, need: Need, machine: str) -> None:
        self._count = len(need.fields)
        bits = shown_bits(event.print_text)
        texts = (event.print_text, PLUGIN_TEXTS.get(event.full_name, ""))
        found = (layout(text, event, need.fields, bits) for text in texts if text)
        self._ways: list[Layout | Fieldwise] = [way for way in found if way is not None]
        self._ways.append(Fieldwise(event, need.fields, machine))

    def fields(self, payload: str) -> dict[str, Scalar]:
        """Return the wanted fields, as far as a payload tells them."""
        best: dict[str, Scalar] = {}
        for way in self._ways:
            found = way.fields(payload)
            if found is not None and len(found) >= len(best):
                best = found
            if len(best) == self._count:
                break
        return best


def _payload(line: Line) -> str:
    """Return what an event printed; of a system call `fd: 0x3, ...` or `0x1`, which ftrace writes in its own way."""
    payload: str | None = line.groupdict().get("payload")
    if payload is not None:
        return payload.lstrip().removesuffix("\r")
    told: str = line["told"].strip()
    return told[1:].removesuffix(")") if told.startswith("(") else told.removeprefix("-> ")
