"""Read the text of string literals: escapes, and the `{expression}` parts of messages."""

from __future__ import annotations

import re

from ltrules.source import Span
from ltrules.syntax import Text

#: What may follow a backslash in a string.
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}

_ESCAPE = re.compile(r"\\(.)")
# A literal brace is doubled. An opening brace that nothing closes runs to the end.
_PART = re.compile(r"\{\{|\}\}|\{[^{}]*\}|\{.*", re.DOTALL)


def unescape(raw: str) -> str:
    """Return the value of what stands between the quotes. Raises KeyError, with the character, at an unknown escape."""
    return _ESCAPE.sub(lambda found: ESCAPES[found[1]], raw)


def split_message(text: Text) -> tuple[str | Span, ...]:
    """Split a message at `{…}`: literal pieces, and the places of the expressions between.

    The place of a brace that is never closed starts at the brace, so that parsing it reports just that.
    """
    source, start = text.span.source, text.span.start + 1
    raw = text.span.text[1:-1]
    parts: list[str | Span] = []
    literal, done = "", 0
    for found in _PART.finditer(raw):
        literal += unescape(raw[done : found.start()])
        done = found.end()
        if found[0] in ("{{", "}}"):
            literal += found[0][0]
            continue
        if literal:
            parts.append(literal)
            literal = ""
        closed = found[0].endswith("}") and "{" not in found[0][1:]
        inside = slice(found.start() + 1, found.end() - 1) if closed else slice(found.start(), found.end())
        parts.append(Span(source, start + inside.start, start + inside.stop))
    literal += unescape(raw[done:])
    return (*parts, literal) if literal else tuple(parts)
