"""Find `where x in NAME`: it parses, as the start of another opening, but nobody means that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from ltrules import syntax
from ltrules.diagnostics import Diagnostic, Edit, Fix
from ltrules.source import Span


def look(items: Sequence[syntax.FileItem]) -> list[Diagnostic]:
    """Return a diagnostic for each `in` that follows a condition on the same line, without a comma."""
    found = [d for rule in items if isinstance(rule, syntax.Rule) for d in _between(rule.clauses)]
    for rule, following in pairwise(items):
        if isinstance(rule, syntax.Rule) and isinstance(following, syntax.Rule) and following.name is None:
            found += _between(rule.clauses[-1:] + following.clauses[:1])
    return found


def diagnostic(word: Span, edits: Iterable[Edit], operator: str = "one of [...]") -> Diagnostic:
    """Return the diagnostic for an `in` that was meant as an operator."""
    return Diagnostic(
        "LT105",
        "in-as-operator",
        "`in` opens a rule; it does not test membership",
        word,
        "reads as the start of another rule",
        helps=(f"write `{operator}`",),
        fixes=tuple(Fix(f"Write `{operator}`", found) for found in [tuple(edits)] if found),
    )


def _between(clauses: Sequence[syntax.Clause]) -> Iterable[Diagnostic]:
    for clause, following in pairwise(clauses):
        if not isinstance(following, syntax.EventClause) or following.role != "in" or not _ends_in_condition(clause):
            continue
        source, start = following.span.source, following.span.start
        if not source.text[clause.span.end : start].strip(" \t"):
            word = Span(source, start, start + len("in"))
            yield diagnostic(word, [Edit(word, "one of")], "one of NAME")


def _ends_in_condition(clause: syntax.Clause) -> bool:
    match clause:
        case syntax.When():
            return True
        case syntax.EventClause(modifiers=(*_, syntax.Where())):
            return True
    return False
