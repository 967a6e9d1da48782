"""Messages: a string with expressions in braces, split into what is said and what is filled in."""

from __future__ import annotations

import re

from ltrules.source import Span
from ltrules.syntax import Text

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "0": "\0"}


def unescape(text: str) -> str:
    """Return the value of what stands between the quotes of a string; an unknown escape stands for its character."""
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), text, flags=re.S)


def split_message(node: Text) -> tuple[str | Span, ...]:
    """Return the pieces of a message: text, and the spans of expressions. `{{` and `}}` are braces."""
    source, start, end = node.span.source, node.span.start + 1, node.span.end - 1
    text = source.text
    pieces: list[str | Span] = []
    literal = ""
    at = start
    while at < end:
        char = text[at]
        if char == "\\":
            literal += unescape(text[at : at + 2])
            at += 2
        elif text[at : at + 2] in ("{{", "}}"):
            literal += char
            at += 2
        elif char == "{":
            close = text.find("}", at, end)
            close = end if close < 0 else close
            if literal:
                pieces.append(literal)
                literal = ""
            pieces.append(Span(source, at + 1, close))
            at = close + 1
        else:
            literal += char
            at += 1
    if literal:
        pieces.append(literal)
    return tuple(pieces)
