"""Traces for tests: needs of all fields of events, and the events of a text or of bytes."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from ltrules.catalog.events import Catalog, Event, Field, Shape
from ltrules.traces import Need, Trace, TraceEvent, Troubles, open_trace
from ltrules.traces.needs import OF_THE_EVENT
from ltrules.types import INT, STRING_BYTES, Kind, Type, string
from support import CATALOG

SAMPLES = Path(__file__).parent / "data" / "traces"
CONTEXT = {"tid": INT, "tgid": INT, "comm": string(16)}


def types_of(field: Field) -> dict[str, Type]:
    """Return the types of a field, or of its elements, as rules read them."""
    match field.shape:
        case Shape.INT:
            return {field.name: Type(Kind.INT, field.signed, field.size)}
        case Shape.STRING:
            return {field.name: string(-(-field.size // 8) * 8)}
        case Shape.DYNAMIC_STRING:
            return {field.name: string(STRING_BYTES)}
    if not field.element_size:
        return {}
    kind = Type(Kind.INT, field.signed, field.element_size)
    return {f"{field.name}[{index}]": kind for index in range(field.size // field.element_size)}


def whole(event: Event) -> dict[str, Type]:
    """Return the types of all that rules can read of an event."""
    return {name: kind for field in event.fields.values() for name, kind in types_of(field).items()}


def needs(*names: str, catalog: Catalog = CATALOG, context: Iterable[str] = ()) -> dict[str, Need]:
    """Return the need of everything that some events carry."""
    found = {name: catalog.find(name) for name in names}
    assert all(found.values()), found
    kinds = {name: CONTEXT[name] for name in context}
    return {event.full_name: Need(whole(event), kinds) for events in found.values() for event in events}


def read(source: str | bytes | Path | BinaryIO, wanted: dict[str, Need]) -> tuple[list[TraceEvent], Trace]:
    """Return the events of a trace, and the trace, closed."""
    if isinstance(source, str):
        source = source.encode("utf-8", "surrogateescape")
    with open_trace(io.BytesIO(source) if isinstance(source, bytes) else source, CATALOG, wanted) as trace:
        return list(trace), trace


def assert_sound(events: list[TraceEvent], troubles: Troubles, wanted: dict[str, Need]) -> None:
    """Hold what is promised of every event: order, names, types and ranges, and an account of what is missing."""
    last, late = 0, 0
    lacking: Counter[tuple[str, str]] = Counter()
    for event in events:
        late += event.time_ns < last
        last = max(last, event.time_ns)
        assert type(event.time_ns) is int and 0 <= event.time_ns < 1 << 64
        assert type(event.cpu) is int and 0 <= event.cpu < 1 << 17
        need = wanted[event.name]
        context = {name: kind for name, kind in need.context.items() if name not in OF_THE_EVENT}
        for kinds, values, prefix in ((need.fields, event.fields, ""), (context, event.context, "task.")):
            for name, kind in kinds.items():
                value = values.get(name)
                if value is None:
                    lacking[event.name, prefix + name] += 1
                elif kind.kind is Kind.STRING:
                    assert type(value) is str, (event, name)
                else:
                    assert type(value) is int and -(1 << 63) <= value < 1 << 64, (event, name)
    assert troubles.late == late
    assert troubles.lacking == lacking
