"""Collect the mistakes of a check."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ltrules.diagnostics import Diagnostic, Fix, Severity, closest, replace
from ltrules.source import Span

NAMES = {
    "LT103": "duration-unit",
    "LT111": "not-available-yet",
    "LT201": "unknown-event",
    "LT202": "unknown-field",
    "LT203": "unknown-name",
    "LT204": "no-current-event",
    "LT205": "task-pid",
    "LT206": "shadowing",
    "LT207": "ambiguous-event",
    "LT208": "missing-clause",
    "LT209": "import",
    "LT210": "duplicate-name",
    "LT211": "type-mismatch",
    "LT213": "userspace-only",
    "LT214": "else-columns",
    "LT218": "setting",
    "LT231": "key-mismatch",
    "LT241": "no-effect",
    "LT243": "expire-before-timeout",
    "LT244": "range",
    "LT251": "test-steps",
    "LT252": "test-file",
    "LT253": "clock-back",
}


class Mistake(Exception):  # noqa: N818 - not an error of the program: it never leaves the checker
    """An expression or clause that cannot be given a meaning; its diagnostic is already noted."""


class Problems:
    """The diagnostics of one check, in the order in which they were found."""

    def __init__(self) -> None:
        self.found: list[Diagnostic] = []

    @property
    def errors(self) -> int:
        """How many of them keep a rule from running."""
        return sum(d.severity.fatal for d in self.found)

    def note(
        self,
        code: str,
        message: str,
        span: Span,
        label: str = "",
        *,
        severity: Severity = Severity.ERROR,
        related: Sequence[tuple[Span, str]] = (),
        notes: Sequence[str] = (),
        helps: Sequence[str] = (),
        fixes: Iterable[Fix] = (),
    ) -> Mistake:
        """Note a diagnostic; return an exception that the caller may raise to leave the clause."""
        self.found.append(
            Diagnostic(
                code,
                NAMES[code],
                message,
                span,
                label,
                severity,
                tuple(related),
                tuple(notes),
                tuple(helps),
                tuple(fixes),
            )
        )
        return Mistake()

    def unavailable(self, what: str, span: Span) -> Mistake:
        """Note a construct whose meaning comes in a later version: refused by name, never ignored."""
        return self.note("LT111", f"{what} is not available yet", span, "parsed, but it has no meaning in this version")

    def unknown(
        self, code: str, message: str, span: Span, word: str, choices: Iterable[str], notes: Sequence[str] = ()
    ) -> Mistake:
        """Note an unknown word, with the known one that was probably meant."""
        meant = closest(word, choices)
        if meant is None:
            return self.note(code, message, span, notes=notes)
        end = span.start + len(span.text)
        start = end - len(word) if span.text.endswith(word) else span.start
        place = Span(span.source, start, end)
        return self.note(code, message, place, f"did you mean `{meant}`?", notes=notes, fixes=[replace(place, meant)])
