"""Sort the clauses of a rule by kind; refuse what is doubled, missing, or has no meaning yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from ltrules import syntax
from ltrules.check.problems import Mistake, Problems

_C = TypeVar("_C", bound=syntax.Node)
_LATER_ROLES = ("step", "during")
_LATER_DUPLICATES = ("nest", "queue", "all")


class Clauses:
    """The clauses of one rule. Making one notes every construct without a meaning, and raises Mistake if there are."""

    def __init__(self, rule: syntax.Rule, problems: Problems) -> None:
        self.rule = rule
        self.problems = problems
        before = len(problems.found)
        for clause in rule.clauses:
            self._refuse_later(clause)
        if len(problems.found) > before:
            raise Mistake

    def roles(self, role: str) -> list[syntax.EventClause]:
        """Return the event clauses of a role, in the order of the text."""
        return [c for c in self.rule.clauses if isinstance(c, syntax.EventClause) and c.role == role]

    def all(self, sort: type[_C]) -> list[_C]:
        """Return all clauses of a kind."""
        return [c for c in self.rule.clauses if isinstance(c, sort)]

    def one(self, sort: type[_C], word: str) -> _C | None:
        """Return the only clause of a kind, or None; a second one is noted."""
        return self.single(self.all(sort), f"`{word}`")

    def single(self, found: list[_C], what: str) -> _C | None:
        """Return the only node of a list, or None; a second one is noted."""
        for other in found[1:]:
            self.problems.note(
                "LT210", f"two {what} clauses", other.span, related=[(found[0].span, "the first one is here")]
            )
        return found[0] if found else None

    def modifier(self, clause: syntax.EventClause, sort: type[_C], word: str) -> _C | None:
        """Return the only modifier of a kind of an event clause, or None; a second one is noted."""
        return self.single([m for m in clause.modifiers if isinstance(m, sort)], f"`{word}`")

    def captures(self, clause: syntax.EventClause) -> Iterable[syntax.Item]:
        """Iterate over what an event clause captures."""
        for modifier in clause.modifiers:
            if isinstance(modifier, syntax.Capture):
                yield from modifier.items

    def require(self) -> None:
        """Note what is missing: a rule opens and closes, or stands `at` one event. Raises Mistake."""
        name = self.rule.name or "this rule"
        openings, ats = self.roles("in"), self.roles("at")
        if openings and ats:
            raise self.problems.note(
                "LT208", "a rule has `in` and `out`, or `at`", ats[0].span, related=[(openings[0].span, "`in` is here")]
            )
        if not openings and not ats:
            raise self.problems.note("LT208", f"{name} has no `in`", self.rule.name_span, "what opens a measurement?")
        if ats:
            for clause in self.roles("out") + self.roles("cancel"):
                raise self.problems.note("LT208", f"`{clause.role}` pairs with `in`; `at` needs no pair", clause.span)
            for sort, word in ((syntax.Timeout, "timeout"), (syntax.Expire, "expire"), (syntax.Inflight, "inflight")):
                for limit in self.all(sort):
                    raise self.problems.note(
                        "LT208", f"`{word}` has no meaning for `at`: nothing is in flight", limit.span
                    )
        elif not self.roles("out"):
            raise self.problems.note("LT208", f"{name} has no `out`", openings[0].span, "opened here; what closes it?")

    def _refuse_later(self, clause: syntax.Clause) -> None:
        refuse = self.problems.unavailable
        match clause:
            case syntax.EventClause(role=role) if role in _LATER_ROLES:
                refuse(f"`{role}`", clause.span)
            case syntax.EventClause(modifiers=modifiers):
                for modifier in modifiers:
                    match modifier:
                        case syntax.From():
                            refuse("`from`", modifier.span)
                        case syntax.Within():
                            refuse("`within`", modifier.span)
                        case syntax.Flag(word=word):
                            refuse(f"`{word}`", modifier.span)
                        case syntax.Key(then=then) if then:
                            refuse("`then`", modifier.span)
            case syntax.Thresh(ratchet=True):
                refuse("`ratchet`", clause.span)
            case syntax.Duplicate(mode=mode) if mode in _LATER_DUPLICATES:
                refuse(f"`duplicate {mode}`", clause.span)
            case syntax.Rate(word="after"):
                refuse("`after`", clause.span)
            case syntax.Sample():
                refuse("`sample`", clause.span)
            case syntax.On(trigger=trigger):
                refuse(f"`on {trigger}`", clause.span)
            case syntax.Requires():
                refuse("`requires`", clause.span)
