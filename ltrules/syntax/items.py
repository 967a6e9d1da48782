"""What a file holds: rules and definitions."""

from __future__ import annotations

from dataclasses import dataclass

from ltrules.source import Source, Span
from ltrules.syntax.clauses import Clause, Param, Requires
from ltrules.syntax.expressions import Expr, Name, Node, Text
from ltrules.syntax.tests import TestBlock


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


FileItem = Rule | DerivedRule | Import | Const | Macro | Param | Requires | TestBlock


@dataclass(frozen=True, slots=True)
class File:
    """A parsed rule file."""

    source: Source
    items: tuple[FileItem, ...]
