"""Tests of rules: what happens, and what is expected of that."""

from __future__ import annotations

from dataclasses import dataclass

from ltrules.source import Span
from ltrules.syntax.events import Probe
from ltrules.syntax.expressions import Expr, Name, Node, Number, Text


@dataclass(frozen=True, slots=True)
class Binding(Node):
    """`pid = 42`, `args[0] = 1`, `in.comm = "x"`: a value of an event or of a report."""

    name: Name
    index: Number | None
    value: Expr


class TestStep(Node):
    """A statement in a test."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class TestParam(TestStep):
    """`param limit = 5us`: the value of a param of the rules under test."""

    name: str
    name_span: Span
    value: Expr


@dataclass(frozen=True, slots=True)
class TestEvent(TestStep):
    """`at 8us sched:sched_switch { next_pid = 42 }`."""

    time_ns: int
    probe: Probe
    bindings: tuple[Binding, ...]


@dataclass(frozen=True, slots=True)
class TestUntil(TestStep):
    """`until 1s`: how long the test lasts."""

    time_ns: int


@dataclass(frozen=True, slots=True)
class TestReplay(TestStep):
    """`replay "trace.jsonl"`."""

    path: Text


@dataclass(frozen=True, slots=True)
class TestCatalog(TestStep):
    """`catalog "events.json"`."""

    path: Text


@dataclass(frozen=True, slots=True)
class TestExpect(TestStep):
    """`expect 2 alerts for wakeup { key = 42 }`; `count` is 0 for "no", None if it is not given."""

    count: int | None
    count_span: Span | None
    kind: str
    kind_span: Span
    rule: Name | None
    bindings: tuple[Binding, ...]


@dataclass(frozen=True, slots=True)
class TestBlock(Node):
    """`test "title" for RULE { … }`."""

    title: Text
    rule: Name | None
    steps: tuple[TestStep, ...]
