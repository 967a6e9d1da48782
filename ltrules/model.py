"""Checked rules: names resolved, every expression typed, durations in ns, else-columns chosen.

`lower.py` turns these into a plan for the kernel; replay interprets them as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from ltrules.catalog.events import Event, Field
from ltrules.source import Span
from ltrules.types import Type


# ------------------------------------------------------------------------------- expressions
@dataclass(frozen=True, slots=True)
class Expr:
    """A typed expression."""

    type: Type


@dataclass(frozen=True, slots=True)
class Constant(Expr):
    """A number (ns for a duration, bytes for a size, 0 or 1 for a bool) or a string."""

    value: int | str


@dataclass(frozen=True, slots=True)
class EventField(Expr):
    """A field of the event at hand; `index` picks an element of an array."""

    field: Field


@dataclass(frozen=True, slots=True)
class Context(Expr):
    """What the running context knows: "tid", "tgid", "comm", "uid", "ppid", "cpu", "node", "cgroup", "mono", "boot"."""

    name: str


@dataclass(frozen=True, slots=True)
class Captured(Expr):
    """A captured value: `where` is "key", "in" or "out" (which stands for `at` too); `index` counts there."""

    where: str
    index: int
    symbols: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Parameter(Expr):
    """A parameter's present value; `name` is the full name, unique in the rule set."""

    name: str


@dataclass(frozen=True, slots=True)
class Measured(Expr):
    """What is known of a measurement: "latency", "outcome", and for messages "late", "overdue", "suppressed"."""

    name: str


@dataclass(frozen=True, slots=True)
class Operation(Expr):
    """An operator, spelled as in the syntax tree; "if" has three operands, "neg", "~" and "not" have one."""

    operator: str
    operands: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Formatted(Expr):
    """A value that user space prints in its own way (`disk(dev)`, `errno(n)`); grouping uses the operand itself."""

    function: str
    operand: Expr
    symbols: Mapping[int, str]


def walk(expr: Expr | None) -> Iterator[Expr]:
    """Iterate over an expression and all that it is made of."""
    if expr is None:
        return
    yield expr
    match expr:
        case Operation(operands=operands):
            for operand in operands:
                yield from walk(operand)
        case Formatted(operand=operand):
            yield from walk(operand)


# -------------------------------------------------------------------------------------- rules
class Role(Enum):
    """What an event does to a measurement; at one event the roles run in this order (design: meaning, 4)."""

    OUT = "out"
    CANCEL = "cancel"
    IN = "in"
    AT = "at"


@dataclass(frozen=True, slots=True)
class Value:
    """A named value that a measurement carries: a part of its key, or a capture."""

    name: str
    type: Type
    symbols: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter and the value that it starts with; `name` is "RULE.PARAM", or "PARAM" for one of a file."""

    name: str
    short: str
    type: Type
    value: int | str
    low: int | None
    high: int | None
    doc: str


@dataclass(frozen=True, slots=True)
class Handler:
    """What a rule does at one event. `saves` are (index, expression) of the captures made here.

    `where` may use captures and `latency` for roles that look up a measurement. `took` is the latency that an `at`
    event carries. `outcome` is the index of the label in `Rule.outcomes`.
    """

    role: Role
    event: Event
    key: tuple[Expr, ...]
    where: Expr | None
    saves: tuple[tuple[int, Expr], ...]
    span: Span
    outcome: int = 0
    took: Expr | None = None


@dataclass(frozen=True, slots=True)
class Timeout:
    """`timeout`: its limit, whether the measurement goes with it, how late it may be told (ns; None: default)."""

    limit: Expr
    drop: bool
    slack_ns: int | None


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` alerts in each `period` for each group."""

    count: Expr
    period: Expr
    by: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Histogram:
    """`hist`: log-linear inside when `step` is 0, else from `low` to `high` in steps."""

    name: str
    value: Expr
    by: tuple[Expr, ...]
    by_names: tuple[str, ...]
    low: int = 0
    high: int = 0
    step: int = 0

    @property
    def unit(self) -> str:
        """The unit of what is counted: "duration", "size" or "int"."""
        return self.value.type.kind.value


@dataclass(frozen=True, slots=True)
class Statistic:
    """`stat`: one number a group."""

    name: str
    function: str
    value: Expr
    by: tuple[Expr, ...]
    by_names: tuple[str, ...]

    @property
    def unit(self) -> str:
        """The unit of the number: a count has none, others that of their value."""
        return "int" if self.function == "count" else self.value.type.kind.value


@dataclass(frozen=True, slots=True)
class Rule:
    """A checked rule. `key`, `opened` and `closed` name what a measurement carries, in the order of its record."""

    name: str
    title: str
    doc: str
    span: Span
    meta: Mapping[str, str | int | bool | tuple[str, ...]]
    handlers: tuple[Handler, ...]
    key: tuple[Value, ...]
    opened: tuple[Value, ...]
    closed: tuple[Value, ...]
    outcomes: tuple[str, ...]
    when: Expr | None
    thresh: Expr | None
    timeout: Timeout | None
    expire: Expr | None
    inflight: int
    keep_first: bool
    evict: bool
    rate: Rate | None
    histograms: tuple[Histogram, ...]
    statistics: tuple[Statistic, ...]
    message: tuple[str | Expr, ...] | None

    @property
    def severity(self) -> str:
        return str(self.meta.get("severity", "warning"))

    @property
    def pairs(self) -> bool:
        """Tell whether the rule pairs events; a rule with `at` does not."""
        return any(h.role is Role.IN for h in self.handlers)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules of a run, with the parameters that they share or own."""

    rules: tuple[Rule, ...]
    params: tuple[Param, ...]
    kernel: str  # the description of the catalog
    machine: str
