"""The clauses of a rule."""

from __future__ import annotations

from dataclasses import dataclass

from ltrules.source import Span
from ltrules.syntax.events import Events, Item, Modifier
from ltrules.syntax.expressions import Expr, Node, Text


class Clause(Node):
    """A clause of a rule."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class EventClause(Clause):
    """`in`, `out`, `cancel`, `step`, `during` and `at`; `took` belongs to `at` alone."""

    role: str
    events: Events
    modifiers: tuple[Modifier, ...]
    took: Expr | None = None


@dataclass(frozen=True, slots=True)
class When(Clause):
    condition: Expr


@dataclass(frozen=True, slots=True)
class Thresh(Clause):
    limit: Expr
    ratchet: bool = False


@dataclass(frozen=True, slots=True)
class Timeout(Clause):
    limit: Expr
    mode: str | None = None  # keep | drop
    slack: Expr | None = None


@dataclass(frozen=True, slots=True)
class Expire(Clause):
    limit: Expr


@dataclass(frozen=True, slots=True)
class Inflight(Clause):
    room: Expr
    mode: str | None = None  # reject | evict


@dataclass(frozen=True, slots=True)
class Duplicate(Clause):
    mode: str  # replace | keep | nest | queue | all
    depth: int | None = None


@dataclass(frozen=True, slots=True)
class Rate(Clause):
    """`rate N per D by …`; word "after" for the `after` clause."""

    word: str
    count: Expr
    period: Expr
    by: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample(Clause):
    take: int
    of: int


@dataclass(frozen=True, slots=True)
class Scale(Node):
    """`log2` (no bounds), or `linear(low, high, step)`."""

    kind: str
    bounds: tuple[Expr, ...] = ()


@dataclass(frozen=True, slots=True)
class Hist(Clause):
    value: Expr
    scale: Scale | None = None
    by: tuple[Item, ...] = ()
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Stat(Clause):
    function: str  # count | sum | min | max | avg
    value: Expr | None = None
    by: tuple[Item, ...] = ()
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Message(Clause):
    text: Text


@dataclass(frozen=True, slots=True)
class Action(Node):
    """One action of `on`: its word, and its operands as written."""

    word: str
    operands: tuple[Expr | Item, ...] = ()


@dataclass(frozen=True, slots=True)
class On(Clause):
    trigger: str
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class MetaItem(Node):
    name: str
    value: str | int | bool | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Meta(Clause):
    items: tuple[MetaItem, ...]


@dataclass(frozen=True, slots=True)
class Requires(Clause):
    """`requires kernel >= 5.15`: kind, and the words after it."""

    kind: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Param(Clause):
    """`param limit: duration = 1ms range 1us to 10s "doc"`; stands in a file or in a rule."""

    name: str
    name_span: Span
    type: str
    default: Expr
    low: Expr | None = None
    high: Expr | None = None
    doc: str = ""
