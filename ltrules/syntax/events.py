"""Events, and the modifiers that may follow one."""

from __future__ import annotations

from dataclasses import dataclass

from ltrules.source import Span
from ltrules.syntax.expressions import Expr, Node


@dataclass(frozen=True, slots=True)
class Probe(Node):
    """One event as written: `sched_switch`, `sched:sched_switch`, `raw:x`; `optional` if it ended in `?`."""

    text: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Events(Node):
    """Columns joined by `else`; each column is probes joined by `or`."""

    columns: tuple[tuple[Probe, ...], ...]


@dataclass(frozen=True, slots=True)
class Item(Node):
    """One part of a key, a capture or a group: an expression and the name given to it, if any."""

    name: str | None
    expr: Expr
    name_span: Span | None = None


@dataclass(frozen=True, slots=True)
class Modifier(Node):
    """What may follow an event."""


@dataclass(frozen=True, slots=True)
class Key(Modifier):
    items: tuple[Item, ...]
    then: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Where(Modifier):
    condition: Expr


@dataclass(frozen=True, slots=True)
class Capture(Modifier):
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Label(Modifier):
    name: str


@dataclass(frozen=True, slots=True)
class From(Modifier):
    stages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Within(Modifier):
    limit: Expr


@dataclass(frozen=True, slots=True)
class Flag(Modifier):
    """`fork`, `optional`, `once`."""

    word: str
