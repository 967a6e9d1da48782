"""What names mean where: the scope of a file, and the place in a rule from which it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ltrules import model, syntax
from ltrules.catalog.events import Event
from ltrules.source import COMMAND_LINE, TESTS


@dataclass(slots=True)
class Scope:
    """The names of one file. `imports` are its aliases; `rules` what it defines."""

    file: syntax.File
    consts: dict[str, syntax.Const] = field(default_factory=dict)
    macros: dict[str, syntax.Macro] = field(default_factory=dict)
    params: dict[str, syntax.Param] = field(default_factory=dict)
    imports: dict[str, Scope] = field(default_factory=dict)
    rules: dict[str, syntax.Rule | syntax.DerivedRule] = field(default_factory=dict)
    #: The file that this one tests, if it lies beside it.
    subject: Scope | None = None

    @property
    def stem(self) -> str:
        """The name of the file without its ending."""
        name = self.file.source.name
        return "line" if name == COMMAND_LINE else Path(name).stem

    def name_of(self, rule: syntax.Rule | syntax.DerivedRule) -> str:
        """Return what a rule of the file is called: `FILE:LINE` if it has no name."""
        return rule.name or f"{self.stem}:{rule.span.line}"

    @property
    def tested_name(self) -> str:
        """The name of the file whose tests are in this one: `x.lt` for `x_test.lt`; "" if it is no file of tests."""
        name = Path(self.file.source.name).name
        return f"{name.removesuffix(TESTS)}.lt" if name.endswith(TESTS) and name != TESTS else ""

    def alias(self, path: tuple[str, ...]) -> tuple[Scope, tuple[str, ...]]:
        """Follow import aliases at the head of a path; return the scope reached and the rest of the path."""
        scope = self
        while len(path) > 1 and path[0] in scope.imports:
            scope, path = scope.imports[path[0]], path[1:]
        return scope, path


@dataclass(frozen=True, slots=True)
class Place:
    """From where in a rule an expression is read, and so what its names may mean.

    `event` is the event at hand (None in clauses of the rule). `key`, `opened` and `closed` are the measurement's
    values where it is known, None where it is not. `labels` maps the label of an event clause to "in" or "out".
    `measured` holds the words that are known of the measurement. `user` tells that user space computes the expression.
    """

    scope: Scope
    what: str
    params: Mapping[str, model.Param] = field(default_factory=dict)
    event: Event | None = None
    key: tuple[model.Value, ...] | None = None
    opened: tuple[model.Value, ...] | None = None
    closed: tuple[model.Value, ...] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    measured: frozenset[str] = frozenset()
    user: bool = False
    bound: Mapping[str, model.Expr] = field(default_factory=dict)
    depth: int = 0
    #: An event clause of the rule had a mistake, so that nothing can be said about what was captured.
    broken: bool = False

    def inside_macro(self, scope: Scope, bound: Mapping[str, model.Expr]) -> Place:
        """Return the place of a macro's body: its own file, its arguments, and nothing of the caller."""
        return replace(
            self, scope=scope, bound=bound, event=None, key=None, opened=None, closed=None, depth=self.depth + 1
        )
