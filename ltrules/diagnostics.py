"""Mistakes in rules, as values; renderers are in `report.py`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from ltrules.source import Span


class Severity(Enum):
    """How bad: an ERROR keeps the rule from running."""

    ERROR = "error"
    WARNING = "warning"
    HINT = "hint"

    @property
    def fatal(self) -> bool:
        return self is Severity.ERROR


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the text of a span."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Fix:
    """Edits that mend the mistake. A safe fix keeps the meaning; another may change what is measured."""

    message: str
    edits: tuple[Edit, ...]
    safe: bool = True


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One mistake: what is wrong (`message`), where (`span`), what stands there (`label`), why and what to do."""

    code: str  # "LT202"
    name: str  # "unknown-field"
    message: str
    span: Span
    label: str = ""
    severity: Severity = Severity.ERROR
    related: tuple[tuple[Span, str], ...] = ()
    notes: tuple[str, ...] = ()
    helps: tuple[str, ...] = ()
    fixes: tuple[Fix, ...] = field(default=())

    @property
    def order(self) -> tuple[str, int, str]:
        """Sort by file, place and code, so that a listing never depends on the order of the checks."""
        return self.span.source.name, self.span.start, self.code


def closest(word: str, choices: Iterable[str]) -> str | None:
    """Return the one choice that `word` was probably meant to be, or None."""
    names = list(choices)
    for name in names:
        if name.lower() == word.lower():
            return name
    found = difflib.get_close_matches(word, names, n=1, cutoff=0.7)
    return found[0] if found else None


def replace(span: Span, text: str, *, safe: bool = True) -> Fix:
    """Return the fix that writes `text` over a span."""
    return Fix(f"Change `{span.text}` to `{text}`", (Edit(span, text),), safe)
