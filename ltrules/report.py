"""Print diagnostics: for people with the text and a caret, for editors on one line, for programs as JSON."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from typing import Any

import ltrules
from ltrules.diagnostics import Diagnostic, Fix, Severity
from ltrules.source import Source, Span

FORMATS = ("full", "concise", "json", "github")
_COLORS = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.HINT: "36"}
_GITHUB = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.HINT: "notice"}
#: Longer lines are cut around the caret.
_WIDEST = 160


def render(diagnostics: Sequence[Diagnostic], form: str = "full", color: bool = False) -> str:
    """Return diagnostics in one of FORMATS; "" for none, except in JSON."""
    ordered = sorted(diagnostics, key=lambda d: d.order)
    match form:
        case "json":
            return json.dumps(as_json(ordered), indent=1, ensure_ascii=False) + "\n"
        case "concise":
            return "".join(f"{_place(d.span)}: {d.severity.value} {d.code} {d.name}: {_line(d)}\n" for d in ordered)
        case "github":
            return "".join(_github(d) for d in ordered)
    return "\n".join(_Full(d, color).text() for d in ordered)


def _line(diagnostic: Diagnostic) -> str:
    return _printable(diagnostic.message + (f" ({diagnostic.label})" if diagnostic.label else ""))


def _place(span: Span) -> str:
    return f"{_printable(span.source.name)}:{span.line}:{span.column}"


def _printable(text: str) -> str:
    """Return text that cannot play tricks with a terminal: control characters are spelled out."""
    return "".join(c if c.isprintable() else " " if c in "\t\n\r" else f"\\x{ord(c):02x}" for c in text)


# ----------------------------------------------------------------------------------- for people
class _Full:
    """Renders one diagnostic with the lines that it speaks of."""

    def __init__(self, diagnostic: Diagnostic, color: bool) -> None:
        self.diagnostic = diagnostic
        self.color = color

    def text(self) -> str:
        """Return the rendered diagnostic."""
        d = self.diagnostic
        code = _COLORS[d.severity]
        lines = [self._paint(f"{d.severity.value}[{d.code}]", code) + self._paint(f": {_printable(d.message)}", "1")]
        marks = [(d.span, d.label, "^"), *((span, label, "-") for span, label in d.related)]
        width = max(len(str(span.line)) for span, _, _ in marks)
        for source in dict.fromkeys(id(span.source) for span, _, _ in marks):
            here = [m for m in marks if id(m[0].source) == source]
            lines += self._snippet(here, width)
        lines += [f"{' ' * width} = note: {_printable(note)}" for note in d.notes]
        lines += [f"{' ' * width} = help: {_printable(text)}" for text in d.helps]
        for fix in d.fixes:
            lines += self._fix(fix)
        return "\n".join(lines) + "\n"

    def _snippet(self, marks: list[tuple[Span, str, str]], width: int) -> list[str]:
        gutter = " " * width
        lines = [f"{gutter}--> {_place(marks[0][0])}", f"{gutter} |"]
        before = 0
        for number in sorted({span.line for span, _, _ in marks}):
            if before and number > before + 1:
                lines.append("...")
            before = number
            source = marks[0][0].source
            text = source.line(number)
            here = sorted((m for m in marks if m[0].line == number), key=lambda m: (m[2] != "^", m[0].start))
            start, shown = _window(text, here[0][0].column - 1)
            lines.append(f"{number:>{width}} | {_printable(shown)}".rstrip())
            for span, label, sign in here:
                lines.append(f"{gutter} | {self._mark(span, text, start, label, sign)}")
        lines.append(f"{gutter} |")
        return lines

    def _mark(self, span: Span, text: str, start: int, label: str, sign: str) -> str:
        first = span.column - 1
        last = min(first + max(span.end - span.start, 1), max(len(text), first + 1))
        indent = _cells(text[start:first])
        length = max(_cells(text[first:last]), 1)
        code = _COLORS[self.diagnostic.severity] if sign == "^" else "34"
        return (" " * indent + self._paint(sign * length + (f" {_printable(label)}" if label else ""), code)).rstrip()

    def _fix(self, fix: Fix) -> list[str]:
        lines = [f"fix ({'safe' if fix.safe else 'unsafe'}): {_printable(fix.message)}"]
        source = fix.edits[0].span.source
        changed = Source(source.name, apply_fixes(source, [fix]))
        columns = {edit.span.line: edit.span.column - 1 for edit in reversed(fix.edits)}
        for number, column in sorted(columns.items()):
            for sign, text, code in (("-", source, "31"), ("+", changed, "32")):
                lines.append(self._paint(f"{number} {sign} {_printable(_window(text.line(number), column)[1])}", code))
        return lines

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.color else text


def _window(text: str, column: int) -> tuple[int, str]:
    """Return the part of a line that is shown, and where it starts."""
    if len(text) <= _WIDEST:
        return 0, text
    start = max(0, min(column - _WIDEST // 2, len(text) - _WIDEST))
    return start, text[start : start + _WIDEST]


def _cells(text: str) -> int:
    """Return how many cells a text takes in a terminal, as `_printable` shows it."""
    return sum(
        2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 1 for c in _printable(text)
    )


def apply_fixes(source: Source, fixes: Sequence[Fix]) -> str:
    """Return the text of a source after some fixes. Raises ValueError if they overlap."""
    edits = sorted((e for fix in fixes for e in fix.edits if e.span.source == source), key=lambda e: e.span.start)
    text, at = "", 0
    for edit in edits:
        if edit.span.start < at:
            raise ValueError("fixes overlap")
        text += source.text[at : edit.span.start] + edit.text
        at = edit.span.end
    return text + source.text[at:]


# --------------------------------------------------------------------------------- for programs
def as_json(diagnostics: Sequence[Diagnostic]) -> dict[str, Any]:
    """Return diagnostics as plain data; offsets count code points of the text."""
    return {
        "version": 1,
        "ltrules": ltrules.__version__,
        "diagnostics": [_json(d) for d in diagnostics],
        "summary": {
            "files": len({d.span.source.name for d in diagnostics}),
            "errors": sum(d.severity is Severity.ERROR for d in diagnostics),
            "warnings": sum(d.severity is Severity.WARNING for d in diagnostics),
            "fixable": sum(any(f.safe for f in d.fixes) for d in diagnostics),
        },
    }


def _json(diagnostic: Diagnostic) -> dict[str, Any]:
    d = diagnostic
    fixes = [
        {
            "applicability": "safe" if fix.safe else "unsafe",
            "message": fix.message,
            "edits": [
                {"file": e.span.source.name, "start": e.span.start, "end": e.span.end, "text": e.text}
                for e in fix.edits
            ],
        }
        for fix in d.fixes
    ]
    return {
        "code": d.code,
        "name": d.name,
        "severity": d.severity.value,
        "message": d.message,
        "file": d.span.source.name,
        "range": _range(d.span),
        "label": d.label,
        "related": [{"file": s.source.name, "range": _range(s), "label": label} for s, label in d.related],
        "notes": list(d.notes),
        "help": list(d.helps),
        "fixes": fixes,
    }


def _range(span: Span) -> dict[str, dict[str, int]]:
    def position(offset: int) -> dict[str, int]:
        line, column = span.source.position(offset)
        return {"line": line, "column": column, "offset": offset}

    return {"start": position(span.start), "end": position(span.end)}


def _github(diagnostic: Diagnostic) -> str:
    def escape(text: str, also: str = "") -> str:
        return "".join(f"%{ord(c):02X}" if c in "%\r\n" + also else c for c in text)

    d, span = diagnostic, diagnostic.span
    line, column = span.source.position(span.end)
    where = (
        f"file={escape(_printable(span.source.name), ':,')},line={span.line},col={span.column}"
        f",endLine={line},endColumn={column}"
    )
    said = escape(f"{_place(span)}: {d.code} {_line(d)}")
    return f"::{_GITHUB[d.severity]} title=ltrules ({d.code}),{where}::{said}\n"
