"""Expressions, and what every node is made of."""

from __future__ import annotations

from dataclasses import dataclass

from ltrules.source import Span


@dataclass(frozen=True, slots=True)
class Node:
    """Anything that was written, and where."""

    span: Span


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
