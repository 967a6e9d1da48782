"""Traces in the Common Trace Format as the program babeltrace2 writes them, of perf and of LTTng.

    [1571261795.523067504] sched_waking: { cpu_id = 3 }, { comm = "cat", tid = 317, prio = 20, target_cpu = 2 }

The program is much faster than its Python module: some 500,000 events/s against 30,000. LTTng renames events and fields
of the kernel (lttng-modules, include/instrumentation/events): the tables here undo that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ltrules.alert import Scalar
from ltrules.catalog.events import Event
from ltrules.traces.cexpr import unquoted
from ltrules.traces.dialects import Dialect
from ltrules.traces.lines import Line, LineReader, Told
from ltrules.traces.needs import Need
from ltrules.traces.printed import as_field, as_number, fitting
from ltrules.traces.troubles import Troubles
from ltrules.types import Kind, Type

#: The arguments that make babeltrace2 write what this module reads.
BABELTRACE = ("babeltrace2", "--clock-seconds", "--no-delta", "--color=never")
#: How babeltrace2 tells, on standard error, of what was lost while tracing.
_DISCARDED = re.compile(r"discarded (?:([0-9]{1,19}) events?|[0-9]{1,19} packets?)")

_LINE = re.compile(
    r"\[(?P<seconds>[0-9]{1,11})\.(?P<fraction>[0-9]{9})\] (?:\(\+[^)]{1,40}\) )?(?:\S{1,255} )?"
    r"(?P<name>\w[\w.-]{0,127}(?::\w{1,127})?): (?P<payload>\{.*\})\s*",
    re.DOTALL | re.ASCII,
)
CTF = Dialect("text of babeltrace2", _LINE, re.compile(r"(?P<lost>(?!))"), re.compile(r"\s*"), "", "")

_PAIR = re.compile(
    r'(\w+) = (?:("(?:[^"\\]|\\.)*")|\( [^():]{1,255} : container = (-?[0-9]{1,20}) \)'
    r"|(-?(?:0x[0-9A-F]{1,16}|[0-9]{1,20}))|\[ ((?:\[[0-9]{1,6}\] = [^\[\],]{1,40},? )*)\])|(\})"
)
_ELEMENT = re.compile(r"\[([0-9]{1,6})\] = (-?(?:0x[0-9A-F]{1,16}|[0-9]{1,20}))")

#: LTTng's names of events, by what they start with.
_EVENTS = (
    ("syscall_entry_", "sys_enter_"),
    ("syscall_exit_", "sys_exit_"),
    ("irq_softirq_", "softirq_"),
    ("timer_hrtimer_", "hrtimer_"),
)
#: LTTng's names of fields that the kernel names otherwise.
_FIELDS = {"pid": "tid", "prev_pid": "prev_tid", "next_pid": "next_tid"}
_MOST_CPUS = 1 << 16
#: MAX_RT_PRIO of include/linux/sched/prio.h: LTTng counts priorities from there.
_FIRST_NICE = 100
_PRIORITIES = frozenset(("prio", "prev_prio", "next_prio"))


_Group = dict[str, "int | str | dict[int, int]"]


def note_discarded(words: str, troubles: Troubles) -> None:
    """Count the losses that babeltrace2 tells of."""
    for count in _DISCARDED.findall(words):
        troubles.note_lost(int(count) if count else None)


class CtfLines(LineReader):
    """The reader of what babeltrace2 writes."""

    def name_of(self, line: Line) -> str:
        name: str = line["name"]
        for theirs, ours in _EVENTS:
            if name.startswith(theirs):
                return ours + name.removeprefix(theirs)
        return name

    def decoder(self, event: Event, need: Need, name: str) -> list[_Source]:
        return [_source(wanted, kind, lttng=":" not in name) for wanted, kind in need.fields.items()]

    def told(self, decoder: list[_Source], line: Line) -> Told | None:
        *contexts, payload = list(_groups(line["payload"])) or [{}]
        known: _Group = {name: value for group in contexts for name, value in group.items()}
        cpu = known.get("cpu_id")
        if not isinstance(cpu, int) or not 0 <= cpu < _MOST_CPUS:
            return None
        fields = {}
        for source in decoder:
            value = _field(source, payload)
            if value is not None:
                fields[source.name] = value
        return cpu, _context(known, payload), fields


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a field is found: under another name, as an element, counted from elsewhere."""

    name: str
    theirs: str
    index: int
    offset: int
    kind: Type


def _source(name: str, kind: Type, lttng: bool) -> _Source:
    array, _, index = name.rstrip("]").partition("[")
    # CTF takes a first underscore for its own.
    theirs = array.removeprefix("_") if array.startswith("__") else array
    offset = _FIRST_NICE if lttng and name in _PRIORITIES else 0
    return _Source(name, _FIELDS.get(theirs, theirs) if lttng else theirs, int(index or 0), offset, kind)


def _field(source: _Source, payload: _Group) -> Scalar | None:
    value = payload.get(source.theirs)
    if value is None and source.theirs != source.name:
        value = payload.get(source.name)
    if isinstance(value, dict):
        value = value.get(source.index)
    if isinstance(value, str):
        return fitting(value, source.kind) if source.kind.kind is Kind.STRING else None
    if value is None or source.kind.kind is Kind.STRING:
        return None
    return as_field(value + source.offset, source.kind)


def _context(known: _Group, payload: _Group) -> dict[str, Scalar]:
    """Return what is told of the running task: by LTTng in contexts, by perf in the payload."""
    found = {
        "tid": known.get("tid", payload.get("perf_tid")),
        "tgid": known.get("pid", payload.get("perf_pid")),
        "comm": known.get("procname"),
    }
    return {name: value for name, value in found.items() if isinstance(value, str if name == "comm" else int)}


def _groups(text: str) -> Iterator[_Group]:
    """Iterate over the braces of a line."""
    group: _Group = {}
    for found in _PAIR.finditer(text):
        name, quoted, enumerated, number, array, end = found.groups()
        if end:
            yield group
            group = {}
        elif quoted is not None:
            group[name] = unquoted(quoted)
        elif array is not None:
            group[name] = _elements(array)
        elif (value := _number(enumerated or number)) is not None:
            group[name] = value


def _elements(array: str) -> dict[int, int]:
    found = ((int(index), _number(digits)) for index, digits in _ELEMENT.findall(array))
    return {index: value for index, value in found if value is not None}


def _number(digits: str) -> int | None:
    return as_number(digits, 16 if "x" in digits else 10)
