"""Check the event clauses of a rule: events, keys, conditions and captures become handlers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from ltrules import model, syntax
from ltrules.catalog.events import Event
from ltrules.check.clauses import Clauses
from ltrules.check.events import EventFinder
from ltrules.check.expressions import Typer, symbols_of
from ltrules.check.keys import match_keys
from ltrules.check.problems import Mistake, Problems
from ltrules.check.scope import Place
from ltrules.source import Span
from ltrules.types import INT, Kind, Type

_ROLES = {"in": model.Role.IN, "out": model.Role.OUT, "cancel": model.Role.CANCEL, "at": model.Role.AT}


@dataclass(slots=True)
class KeyPart:
    """One part of a key as one clause writes it."""

    name: str
    expr: model.Expr
    span: Span


@dataclass(slots=True)
class Draft:
    """A handler before the captures of all clauses are known."""

    role: model.Role
    event: Event
    clause: syntax.EventClause
    key: list[KeyPart]
    where: model.Expr | None
    saves: list[tuple[str, model.Expr, Span]]
    outcome: int = 0
    took: model.Expr | None = None


@dataclass(slots=True)
class Events:
    """What the event clauses of a rule come to."""

    handlers: tuple[model.Handler, ...] = ()
    key: tuple[model.Value, ...] = ()
    opened: tuple[model.Value, ...] = ()
    closed: tuple[model.Value, ...] = ()
    outcomes: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    #: A clause had a mistake: what it captures is not known.
    failed: bool = False


class EventChecker:
    """Checks the event clauses of one rule."""

    def __init__(self, clauses: Clauses, base: Place, finder: EventFinder, typer: Typer, problems: Problems) -> None:
        self.clauses = clauses
        self.base = base
        self.finder = finder
        self.typer = typer
        self.problems = problems
        self.found = Events()
        self._in_key: syntax.Key | None = None

    def check(self) -> Events:
        """Return the handlers and values of the rule, as far as they have no mistakes. Raises Mistake."""
        clauses = self.clauses
        every = [c for role in ("in", "at", "out", "cancel") for c in clauses.roles(role)]
        column = self.finder.choose_column(every)
        self._labels(every)
        opening = self._drafts("in", column)
        self.found.opened = self._values(opening)
        ends = self._drafts("at", column)
        self.found.key = self._key_values(opening or ends)
        ends += self._drafts("out", column)
        self.found.closed = self._values(ends)
        cancels = self._drafts("cancel", column)
        if self.found.failed:
            return self.found
        self._refuse_absent("in", opening)
        self._refuse_absent("out" if clauses.roles("out") else "at", ends)
        match_keys([[(p.expr, p.span) for p in d.key] for d in [*opening, *ends, *cancels]], self.problems)
        order = list(model.Role)
        every_draft = sorted([*ends, *cancels, *opening], key=lambda d: order.index(d.role))
        self.found.handlers = tuple(self._finish(draft) for draft in every_draft)
        return self.found

    def _drafts(self, role: str, column: int | None) -> list[Draft]:
        """Return the drafts of all clauses of a role; one with a mistake fails the rule, and the others are checked."""
        made = []
        for clause in self.clauses.roles(role):
            try:
                made += self._clause(clause, column)
            except Mistake:
                self.found.failed = True
        return made

    def _refuse_absent(self, role: str, drafts: list[Draft]) -> None:
        clauses = self.clauses.roles(role)
        if clauses and not drafts:
            raise self.problems.note("LT201", f"none of the events of `{role}` exists here", clauses[0].events.span)

    def _labels(self, clauses: list[syntax.EventClause]) -> None:
        labels: dict[str, str] = {}
        outcomes: list[str] = []
        for clause in clauses:
            label = self.clauses.modifier(clause, syntax.Label, "as")
            side = "in" if clause.role == "in" else "out"
            if label is not None:
                if labels.get(label.name, side) != side or label.name in ("key", "task", "cpu", "ev", "time", "cgroup"):
                    self.problems.note("LT210", f"the label `{label.name}` is already taken", label.span)
                labels[label.name] = side
            if clause.role in ("out", "at"):
                name = label.name if label else clause.role
                if name not in outcomes:
                    outcomes.append(name)
        self.found.labels = labels
        self.found.outcomes = tuple(outcomes)

    def _clause(self, clause: syntax.EventClause, column: int | None) -> list[Draft]:
        """Return one draft for each event of a clause."""
        return [self._draft(clause, event) for _, event in self.finder.of_clause(clause, column)]

    def _draft(self, clause: syntax.EventClause, event: Event) -> Draft:
        finds = clause.role in ("out", "cancel")
        known = self.found
        place = dataclasses.replace(self.base, event=event, labels=known.labels, broken=known.failed)
        matched = place
        if finds:
            matched = dataclasses.replace(place, key=known.key, opened=known.opened, measured=frozenset({"latency"}))
        key = self._key(clause, dataclasses.replace(place, what="`key`"))
        where = self.clauses.modifier(clause, syntax.Where, "where")
        condition = None
        if where is not None:
            condition = self.typer.condition(where.condition, dataclasses.replace(matched, what="`where`"))
        saves = []
        if clause.role == "cancel":
            for item in self.clauses.captures(clause):
                raise self.problems.note("LT208", "`cancel` captures nothing: it reports nothing", item.span)
        for item in self.clauses.captures(clause):
            expr = self.typer.expr(item.expr, dataclasses.replace(matched, what="`capture`"))
            saves.append((item.name or _last_name(item.expr), expr, item.span))
        took = None
        if clause.took is not None:
            took = self.typer.duration(clause.took, dataclasses.replace(place, what="`took`"))
        outcome = 0
        if clause.role in ("out", "at"):
            label = self.clauses.modifier(clause, syntax.Label, "as")
            outcome = known.outcomes.index(label.name if label else clause.role)
        return Draft(_ROLES[clause.role], event, clause, key, condition, saves, outcome, took)

    def _key(self, clause: syntax.EventClause, place: Place) -> list[KeyPart]:
        written = self.clauses.modifier(clause, syntax.Key, "key")
        if clause.role == "in" and written is not None and self._in_key is None:
            self._in_key = written
        if written is None:
            if clause.role == "in":
                raise self.problems.note(
                    "LT208", "`in` needs a `key`", clause.span, "what pairs this event with the one that closes?"
                )
            if clause.role == "at":
                return []
            # Without a key of its own, a clause reads that of `in` by the same words.
            written = self._in_key
            if written is None:
                raise Mistake
        parts = []
        for item in written.items:
            expr = self.typer.expr(item.expr, place)
            if expr.type.kind is Kind.BOOL:
                raise self.problems.note("LT211", "a condition cannot be a key", item.span)
            parts.append(KeyPart(item.name or _last_name(item.expr), expr, item.span))
        return parts

    def _key_values(self, drafts: list[Draft]) -> tuple[model.Value, ...]:
        if not drafts:
            return ()
        first = drafts[0].key
        names: dict[str, Span] = {}
        for part in first:
            if part.name in names:
                raise self.problems.note(
                    "LT210",
                    f"the key has two parts `{part.name}`",
                    part.span,
                    related=[(names[part.name], "the first")],
                )
            names[part.name] = part.span
        return tuple(model.Value(p.name, p.expr.type, symbols_of(p.expr)) for p in first)

    def _values(self, drafts: list[Draft]) -> tuple[model.Value, ...]:
        """Return the captures of several clauses by name, each with a type that holds all."""
        values: dict[str, tuple[model.Value, Span]] = {}
        for draft in drafts:
            here: set[str] = set()
            for name, expr, span in draft.saves:
                if name in here:
                    raise self.problems.note("LT210", f"`{name}` is captured twice", span)
                here.add(name)
                value = model.Value(name, _stored(expr.type), symbols_of(expr))
                if name not in values:
                    values[name] = value, span
                    continue
                old, place = values[name]
                if old.type.kind is not value.type.kind:
                    raise self.problems.note(
                        "LT211",
                        f"`{name}` is captured as {value.type} here and as {old.type} elsewhere",
                        span,
                        related=[(place, "here")],
                    )
                if value.type.size > old.type.size:
                    values[name] = value, place
        return tuple(value for value, _ in values.values())

    def _finish(self, draft: Draft) -> model.Handler:
        values = self.found.opened if draft.role is model.Role.IN else self.found.closed
        names = [v.name for v in values]
        return model.Handler(
            draft.role,
            draft.event,
            tuple(p.expr for p in draft.key),
            draft.where,
            tuple((names.index(name), expr) for name, expr, _ in draft.saves),
            draft.clause.span,
            draft.outcome,
            draft.took,
        )


def _stored(sort: Type) -> Type:
    """Return the type under which a value is kept: every integer takes 64 bits."""
    if sort.kind is Kind.INT and sort.size < 8:
        return INT
    return sort


def _last_name(expr: syntax.Expr) -> str:
    """Return the name that an expression gives to what it captures: the last part of its path."""
    match expr:
        case syntax.Name(path=path):
            return path[-1]
        case syntax.Call(function=function):
            return function.path[-1]
        case syntax.Index(base=base, path=path):
            return path[-1] if path else _last_name(base)
    return "value"
