"""What the user wrote: the syntax tree, every node with its place in the text.

Only `parse.py` makes these; only the checker, `show --syntax` and the formatter read them.
"""

from __future__ import annotations

from dataclasses import dataclass

from ltrules.source import Source, Span


@dataclass(frozen=True, slots=True)
class Node:
    """Anything that was written, and where."""

    span: Span


# ------------------------------------------------------------------------------- expressions
class Expr(Node):
    """An expression."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Number(Expr):
    """`42`, `0xff`; `5us` (unit "duration", value in ns); `1MiB` (unit "size", value in bytes)."""

    value: int
    unit: str = "int"  # int | duration | size


@dataclass(frozen=True, slots=True)
class Text(Expr):
    """A string, with escapes resolved."""

    value: str


@dataclass(frozen=True, slots=True)
class Bool(Expr):
    value: bool


@dataclass(frozen=True, slots=True)
class Name(Expr):
    """`prio`, `task.comm`, `in.prio`, `key`: a dotted path, as written."""

    path: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class Call(Expr):
    """`blocked(prev_state)`, `sc.is_idle(pid)`."""

    function: Name
    arguments: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Index(Expr):
    """`args[0]`, `args[0].x`."""

    base: Expr
    index: Expr
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unary(Expr):
    """`-x`, `~x`, `not x` (operator "not" however it was written)."""

    operator: str
    operand: Expr


@dataclass(frozen=True, slots=True)
class Binary(Expr):
    """Any infix operation; `&&` and `||` are stored as "and" and "or"; also "has", "=~" and "!~"."""

    operator: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Member(Expr):
    """`x one of [a, b]`, or `x one of NAME`."""

    operand: Expr
    choices: ListExpr | Name


@dataclass(frozen=True, slots=True)
class ListExpr(Expr):
    items: tuple[Expr, ...]


# ------------------------------------------------------------------------- events, modifiers
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


# ------------------------------------------------------------------------------------ clauses
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


# -------------------------------------------------------------------------------------- items
@dataclass(frozen=True, slots=True)
class Rule(Node):
    """A line rule or a block rule; a line rule may have no name. `span` of an unnamed one is its text."""

    name: str | None
    name_span: Span
    title: str
    doc: str
    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class Argument(Node):
    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class DerivedRule(Node):
    """`rule fast = slow(limit = 1us)`."""

    name: str
    name_span: Span
    title: str
    base: Name
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Import(Node):
    path: Text
    alias: str | None


@dataclass(frozen=True, slots=True)
class Const(Node):
    name: str
    name_span: Span
    value: Expr


@dataclass(frozen=True, slots=True)
class Macro(Node):
    name: str
    name_span: Span
    parameters: tuple[str, ...]
    body: Expr


@dataclass(frozen=True, slots=True)
class Binding(Node):
    """`pid = 42` in a test."""

    name: Name
    value: Expr


@dataclass(frozen=True, slots=True)
class TestStep(Node):
    """`at`, `expect`, `param`, `replay` or `catalog` in a test, with what it was given."""

    word: str
    bindings: tuple[Binding, ...] = ()
    probe: Probe | None = None
    time_ns: int | None = None
    count: str | None = None  # a number, or "no"
    kind: str | None = None  # alert, timeout, pending, …
    rule: Name | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class TestBlock(Node):
    title: str
    rule: Name | None
    steps: tuple[TestStep, ...]


FileItem = Rule | DerivedRule | Import | Const | Macro | Param | Requires | TestBlock


@dataclass(frozen=True, slots=True)
class File:
    """A parsed rule file."""

    source: Source
    items: tuple[FileItem, ...]
