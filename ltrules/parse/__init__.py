"""Read rule files: text to syntax tree, and every mistake as a diagnostic. Nothing else in ltrules knows Lark."""

from __future__ import annotations

import re

from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from ltrules import syntax
from ltrules.diagnostics import Diagnostic
from ltrules.parse import membership, scan
from ltrules.parse.build import item
from ltrules.parse.expressions import Branch, Mistake, Origin, expression, refuse_depth
from ltrules.parse.grammar import parser
from ltrules.source import Source, Span

__all__ = ["parse", "parse_expression"]

#: Bad items after which the rest of a file is not looked at: such a text is no rule file.
MOST_MISTAKES = 100

# Characters that hide what is written: controls, and those that change the direction of the text.
_HIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")


def parse(source: Source) -> tuple[syntax.File, tuple[Diagnostic, ...]]:
    """Return the items that could be read, and one diagnostic for each top-level item that could not."""
    try:
        found = _read(source, 0, len(source.text))
        mistakes: list[Diagnostic] = []
    except (UnexpectedInput, Mistake) as error:
        found, mistakes = _read_one_by_one(source)
        if not mistakes:
            end = len(source.text)
            mistakes = [_diagnostic(source, 0, end, error, _offset(error, 0, end))]
    mistakes += membership.look(found)
    return syntax.File(source, tuple(found)), tuple(sorted(mistakes, key=lambda m: m.order))


def parse_expression(source: Source, start: int, end: int) -> syntax.Expr | Diagnostic:
    """Return the expression that stands in a part of a source, or what is wrong with it."""
    try:
        return expression(*_tree(source, start, end, "expr"))
    except (UnexpectedInput, Mistake) as error:
        return _diagnostic(source, start, end, error, _offset(error, start, end))


def _read_one_by_one(source: Source) -> tuple[list[syntax.FileItem], list[Diagnostic]]:
    found: list[syntax.FileItem] = []
    mistakes: list[Diagnostic] = []
    for start, end in scan.items(source.text):
        if len(mistakes) == MOST_MISTAKES:
            break
        try:
            found += _read(source, start, end)
        except (UnexpectedInput, Mistake) as error:
            place = _offset(error, start, end)
            good = _salvage(source, start, place)
            found += good
            mistakes.append(_diagnostic(source, place if good else start, end, error, place))
    return found, mistakes


def _salvage(source: Source, start: int, place: int) -> list[syntax.FileItem]:
    """Read what stands before a mistake, if that is whole: a line rule does not say where it ends."""
    before = source.text[start:place]
    if before.rstrip(" \t").endswith("\n") and not scan.is_clause_word(source.text, place):
        try:
            return _read(source, start, place)
        except (UnexpectedInput, Mistake):
            pass
    return []


def _read(source: Source, start: int, end: int) -> list[syntax.FileItem]:
    """Read the items in a part of a source. Raises UnexpectedInput or Mistake."""
    at, tree = _tree(source, start, end, "start")
    return [item(at, child) for child in tree.children if not isinstance(child, str)]


def _tree(source: Source, start: int, end: int, rule: str) -> tuple[Origin, Branch]:
    hidden = _HIDDEN.search(source.text, start, end)
    if hidden:
        place = Span(source, hidden.start(), hidden.end())
        name = f"U+{ord(hidden[0]):04X}"
        raise Mistake(Diagnostic("LT101", "syntax", f"the invisible character {name} has no place in a rule", place))
    at = Origin(source, start)
    tree = parser().parse(source.text[start:end], start=rule)
    refuse_depth(at, tree)
    return at, tree


def _diagnostic(source: Source, start: int, end: int, error: Exception, place: int) -> Diagnostic:
    if isinstance(error, Mistake):
        return error.diagnostic
    # Only who makes mistakes pays for the tables that explain them.
    from ltrules.parse.errors import explain

    assert isinstance(error, UnexpectedCharacters | UnexpectedToken)
    expected = error.allowed if isinstance(error, UnexpectedCharacters) else error.expected
    return explain(source, start, end, place, frozenset(expected or ()))


def _offset(error: Exception, start: int, end: int) -> int:
    """Return the offset in the source at which reading [start, end) failed."""
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        return end
    return start + (error.pos_in_stream or 0) if isinstance(error, UnexpectedInput) else start
