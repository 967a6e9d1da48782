"""Words and tokens of the language, as far as sentences about slips need them."""

from __future__ import annotations

import re
from dataclasses import dataclass

CLAUSES = (
    "in", "out", "cancel", "at", "step", "during", "when", "thresh", "timeout", "expire", "inflight", "duplicate",
    "rate", "after", "sample", "hist", "stat", "message", "on", "param", "requires", "meta",
)  # fmt: skip
MODIFIERS = ("key", "where", "capture", "as", "from", "within", "fork", "optional", "once", "then")
RESERVED = frozenset((
    "in", "out", "step", "during", "cancel", "key", "where", "capture", "thresh", "timeout", "when", "rule",
    "const", "macro", "import", "requires", "test", "and", "or", "not", "one", "has", "as", "else", "then",
    "within", "true", "false",
))  # fmt: skip
#: Words that people write for clauses and modifiers of ours.
MEANT = {
    "threshold": "thresh",
    "timeouts": "timeout",
    "filter": "where",
    "if": "where",
    "group": "hist",
    "histogram": "hist",
    "start": "in",
    "begin": "in",
    "enter": "in",
    "end": "out",
    "exit": "out",
    "stop": "out",
    "alert": "on alert",
    "save": "capture",
    "print": "message",
    "label": "as",
    "limit": "thresh",
    "drop": "cancel",
}
UNITS = ("ns", "us", "µs", "ms", "s", "m", "h", "B", "KiB", "MiB", "GiB")
#: Words and abbreviations that people write for units of ours.
_UNITS_MEANT = {
    "ns": "nsec nanos nanosecond nanoseconds",
    "us": "usec micros microsecond microseconds",
    "ms": "msec millis millisecond milliseconds",
    "s": "sec secs second seconds",
    "m": "min mins minute minutes",
    "h": "hr hour hours",
}
STATEMENTS = frozenset(("for", "while", "print", "printf", "return", "let", "var", "delete", "else", "def", "function"))
OPEN = {"(": ")", "[": "]", "{": "}"}
_TOKEN = re.compile(
    r'(?P<space>\s+|#[^\n]*)|(?P<doc>"""(?:[\s\S]*?""")?)|(?P<string>"(?:[^"\\\n]|\\.)*"?)|(?P<number>[0-9][\w.µ]*)'
    r"|(?P<word>[A-Za-z_]\w*(?::[A-Za-z_]\w*)*)|(?P<sign>->|==|!=|<=|>=|=~|!~|<<|>>|&&|\|\||.)",
    re.S,
)


@dataclass(frozen=True, slots=True)
class Word:
    """A token and where it stands."""

    kind: str  # doc | string | number | word | sign
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def tokens(text: str, start: int, end: int) -> list[Word]:
    """Return the tokens of a part of a text, without space and comments; it never fails."""
    found = []
    for match in _TOKEN.finditer(text, start, end):
        if match.lastgroup != "space":
            found.append(Word(match.lastgroup or "sign", match.group(), match.start()))
    return found


def meant_unit(text: str) -> str | None:
    """Return the unit that a word was probably meant to be."""
    for known in UNITS:
        if text.lower() == known.lower():
            return known
    return next((unit for unit, words in _UNITS_MEANT.items() if text.lower() in words.split()), None)
