"""Events, reports and values as a test would write them, so that they can be copied into one."""

from __future__ import annotations

from collections.abc import Mapping

from ltrules.alert import Alert, Scalar
from ltrules.cases import Expectation, Wanted
from ltrules.catalog.events import Event
from ltrules.template import ESCAPES
from ltrules.testing.judging import own_values
from ltrules.traces import TraceEvent
from ltrules.types import Kind
from ltrules.units import exact_duration

_ESCAPED = {char: f"\\{letter}" for letter, char in ESCAPES.items()}
#: How the running context is written.
_CONTEXT = {
    "tid": "task.tid",
    "tgid": "task.tgid",
    "comm": "task.comm",
    "uid": "task.uid",
    "ppid": "task.ppid",
    "cpu": "cpu.id",
    "node": "cpu.node",
    "cgroup": "cgroup.id",
}


def literal(value: Scalar, symbol: str = "") -> str:
    """Return a value as it is written in a rule file: by its symbol if that is one that rules can use.

    A character without an escape is spelled out.
    """
    if isinstance(value, int):
        return symbol if symbol.isidentifier() and symbol.isupper() else str(value)
    return '"' + "".join(_ESCAPED.get(c, c if c.isprintable() else f"\\\\x{ord(c):02x}") for c in value) + '"'


def wanted_literal(wanted: Wanted, value: Scalar | None) -> str:
    """Return a value as it is written where another one was wanted."""
    if value is None:
        return "nothing"
    if isinstance(value, int):
        if wanted.type.kind is Kind.BOOL:
            return "true" if value else "false"
        if wanted.type.kind is Kind.DURATION:
            return exact_duration(value)
    return literal(value, _symbol(wanted.symbols, value))


def wanted_name(wanted: Wanted, alone: bool) -> str:
    """Return the name of a wanted value; `alone` tells that the key has one part only."""
    if wanted.where == "key" and alone:
        return "key"
    return f"{wanted.where}.{wanted.name}" if wanted.where else wanted.name


def event_text(event: TraceEvent, known: Event) -> str:
    """Return an event with all that is neither 0 nor empty; `known` is the one of the catalog."""
    given = {}
    for name, value in event.fields.items():
        if value not in (0, ""):
            field = known.fields.get(name)
            given[name] = literal(value, _symbol(field.symbols, value) if field else "")
    for name, written in _CONTEXT.items():
        if event.context[name] not in (0, ""):
            given[written] = literal(event.context[name])
    return event.name + _braces(given)


def report_text(report: Alert, start_ns: int, kind: str) -> str:
    """Return a report with its key, its times, what was captured, and what is out of the ordinary."""
    own = own_values(report, start_ns)
    columns = [
        (c, literal(v, _symbol(c.symbols, v))) for c, v in zip(report.heading.columns, report.values, strict=True)
    ]
    alone = report.heading.key_size == 1
    given = {"key" if alone else f"key.{c.name}": text for c, text in columns if c.scope == "key"}
    for name in ("at", "latency"):
        given[name] = exact_duration(int(own[name]))
    if report.late:
        given["late"] = "true"
    if report.suppressed:
        given["suppressed"] = str(report.suppressed)
    if report.outcome not in ("", "out", "at"):
        given["outcome"] = literal(report.outcome)
    given |= {f"{c.scope}.{c.name}": text for c, text in columns if c.scope != "key"}
    return kind + _braces(given)


def expectation_text(expectation: Expectation) -> str:
    """Return an expectation as it stands in the text, on one line."""
    return " ".join(expectation.span.text.split()).removeprefix("expect ")


def _braces(given: Mapping[str, str]) -> str:
    return " { " + ", ".join(f"{name} = {value}" for name, value in given.items()) + " }" if given else " { }"


def _symbol(symbols: Mapping[int, str], value: Scalar) -> str:
    return symbols.get(value, "") if isinstance(value, int) else ""
