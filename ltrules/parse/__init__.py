"""Text to syntax. The only user of Lark.

A file is parsed in one go. If that fails it is split at its top-level items and each is parsed alone, so that every
item with a mistake is reported, once, and the others still mean something.
"""

from __future__ import annotations

import re
from typing import Any

from ltrules import syntax
from ltrules.diagnostics import Diagnostic
from ltrules.parse import kept
from ltrules.parse.words import tokens
from ltrules.source import Source, Span

__all__ = ["parse", "parse_expression"]

#: Deepest nesting of brackets, and longest chain of prefix operators: far beyond any rule, far below Python's stack.
MOST_DEPTH = 60
_BRACKETS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
_ITEM = re.compile(
    r"(?:rule|const|import|macro|param|requires|test)\b|in\s+[A-Za-z_]|at\s+[A-Za-z_]|[A-Za-z_]\w*\s*:\s*(?:in|at)\s"
)


def parse(source: Source) -> tuple[syntax.File, tuple[Diagnostic, ...]]:
    """Return the items of a source that could be read, and the diagnostics of those that could not."""
    try:
        items = _parse(source, 0, len(source.text), "start")
    except _Unreadable as failure:
        parts = _split(source.text)
        if len(parts) == 1:
            return syntax.File(source, ()), (failure.diagnostic,)
        return _parse_parts(source, parts)
    return syntax.File(source, items), ()


def parse_expression(source: Source, start: int, end: int) -> syntax.Expr | Diagnostic:
    """Return the expression that stands in a part of a source, or why it is none."""
    try:
        node: syntax.Expr = _parse(source, start, end, "expr")
    except _Unreadable as failure:
        return failure.diagnostic
    return node


class _Unreadable(Exception):  # noqa: N818 - carries a diagnostic to the two callers above
    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


def _parse(source: Source, start: int, end: int, what: str) -> Any:
    _refuse_depth(source, start, end)
    name = kept.name_of(source.text[start:end], start, what)
    node = kept.read(name, source)
    if node is None:
        from ltrules.parse.lalr import read  # Lark takes long to load, and is needed for new texts only

        node = read(source, start, end, what)
        if isinstance(node, Diagnostic):
            raise _Unreadable(node)
        kept.write(name, source, node)
    return node


def _refuse_depth(source: Source, start: int, end: int) -> None:
    """Raise for text nested so deeply that recursive passes would run out of stack."""
    depth = prefixes = 0
    for token in tokens(source.text, start, end):
        if token.kind == "sign" and token.text in _BRACKETS:
            depth += _BRACKETS[token.text]
        prefixes = prefixes + 1 if token.text in ("-", "+", "~", "!", "not") else 0
        if depth > MOST_DEPTH or prefixes > MOST_DEPTH:
            span = Span(source, token.start, token.end)
            message = f"this is nested more than {MOST_DEPTH} deep"
            raise _Unreadable(Diagnostic("LT101", "syntax", message, span))


def _split(text: str) -> list[tuple[int, int]]:
    """Return the ranges of the top-level items of a text, as far as they can be told apart."""
    starts = []
    depth = 0
    previous = ""
    for token in tokens(text, 0, len(text)):
        line_start = text.rfind("\n", 0, token.start) + 1
        first = not text[line_start : token.start].strip() or previous == ";"
        # A line that begins like an item ends the one before it, even if a brace was left open there.
        strong = first and token.start == line_start and re.match(r"(?:rule|const|import|macro|test)\b", token.text)
        if strong or (first and depth <= 0 and previous != "," and _ITEM.match(text, token.start)):
            starts.append(token.start)
            depth = 0
        if token.kind == "sign":
            depth += _BRACKETS.get(token.text, 0)
        previous = token.text
    if not starts or tokens(text, 0, starts[0]):
        starts.insert(0, 0)
    return [(start, end) for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def _parse_parts(source: Source, parts: list[tuple[int, int]]) -> tuple[syntax.File, tuple[Diagnostic, ...]]:
    items: list[syntax.FileItem] = []
    diagnostics = []
    for start, end in parts:
        try:
            items += _parse(source, start, end, "start")
        except _Unreadable as failure:
            diagnostics.append(failure.diagnostic)
    return syntax.File(source, tuple(items)), tuple(diagnostics)
