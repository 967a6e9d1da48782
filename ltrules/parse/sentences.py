"""Syntax errors as sentences: what the parser tripped over, from the words before and after that place."""

from __future__ import annotations

import re

from lark.exceptions import UnexpectedEOF, UnexpectedInput, UnexpectedToken

from ltrules.diagnostics import Diagnostic, Edit, Fix, closest, replace
from ltrules.parse.expected import expected, possible
from ltrules.parse.words import CLAUSES, MEANT, MODIFIERS, OPEN, RESERVED, STATEMENTS, UNITS, Word, meant_unit, tokens
from ltrules.source import Source, Span

_NAMES = {
    "LT101": "syntax",
    "LT102": "bare-key-list",
    "LT103": "duration-unit",
    "LT104": "clause-name",
    "LT105": "in-as-operator",
    "LT106": "arrow",
    "LT107": "assignment-in-where",
    "LT108": "statement",
    "LT109": "unclosed",
    "LT110": "reserved-word",
}
#: What may stand before a value: a reserved word there was meant as the name of a field.
_BEFORE_VALUES = frozenset(
    ("key", "where", "capture", "when", "(", ",", "and", "or", "not", "==", "!=", "<", ">", "by")
)


def sentence(error: UnexpectedInput, source: Source, start: int, end: int) -> Diagnostic:
    """Return the diagnostic of a syntax error in source.text[start:end]."""
    return _Reader(source, start, end, _place(error, start, end), error).diagnostic()


def _place(error: UnexpectedInput, start: int, end: int) -> int:
    if isinstance(error, UnexpectedEOF) or (isinstance(error, UnexpectedToken) and error.token.type == "$END"):
        return end
    return start + (error.pos_in_stream or 0)


class _Reader:
    """Reads the neighbourhood of one error."""

    def __init__(self, source: Source, start: int, end: int, place: int, error: UnexpectedInput) -> None:
        self.source = source
        self.start = start
        self.error = error
        every = tokens(source.text, start, end)
        self.before = [t for t in every if t.end <= place]
        self.after = [t for t in every if t.end > place]
        self.every = every
        self.at_end = place >= end or not self.after

    def diagnostic(self) -> Diagnostic:
        for attempt in (
            self._unclosed,
            self._arrow,
            self._assignment,
            self._membership,
            self._unit,
            self._bare_list,
            self._statement,
            self._unclosed_before,
            self._comma,
            self._clause_name,
            self._reserved,
        ):
            found = attempt()
            if found is not None:
                return found
        return self._other()

    # ------------------------------------------------------------------------ small helpers
    def _span(self, token: Word, to: Word | None = None) -> Span:
        return Span(self.source, token.start, (to or token).end)

    def _make(self, code: str, message: str, span: Span, label: str = "", **more: tuple[object, ...]) -> Diagnostic:
        return Diagnostic(code, _NAMES[code], message, span, label, **more)  # type: ignore[arg-type]

    def _previous(self, back: int = 1) -> Word | None:
        return self.before[-back] if len(self.before) >= back else None

    def _clause(self) -> str:
        """Return the last word before the error that begins a clause or a modifier."""
        for token in reversed(self.before):
            if token.kind == "word" and token.text in (*CLAUSES, *MODIFIERS):
                return token.text
        return ""

    # -------------------------------------------------------------------------- the slips
    def _unclosed(self) -> Diagnostic | None:
        for token in self.every:
            whole = {"doc": len(token.text) >= 6, "string": len(token.text) >= 2 and token.text.endswith('"')}
            if not whole.get(token.kind, True):
                what = "doc string" if token.kind == "doc" else "string"
                span = Span(self.source, token.start, token.start + (3 if token.kind == "doc" else 1))
                return self._make("LT109", f"this {what} is not closed", span, "it begins here")
        return self._open_bracket(self.every) if self.at_end else None

    def _unclosed_before(self) -> Diagnostic | None:
        """`key (a, b, out …`: the clause after a list that is not closed."""
        stack = _open_brackets(self.every)
        if stack and stack[-1].text != "{" and stack[-1] in self.before:
            return self._open_bracket(self.before)
        return None

    def _open_bracket(self, words: list[Word]) -> Diagnostic | None:
        stack = _open_brackets(words)
        if not stack:
            return None
        line = self.source.position(stack[-1].start)[0]
        message = f"`{stack[-1].text}` opened at line {line} is not closed"
        return self._make("LT109", message, self._span(stack[-1]), "opened here")

    def _arrow(self) -> Diagnostic | None:
        for token in self.after[:1] + self.before[-1:]:
            if token.text == "->":
                return self._make(
                    "LT106",
                    "pointers are followed with `.`",
                    self._span(token),
                    fixes=(replace(self._span(token), "."),),
                )
        return None

    def _assignment(self) -> Diagnostic | None:
        if self.at_end or self.after[0].text != "=" or self._clause() not in ("where", "when"):
            return None
        first = last = self.after[0]
        if self.before[-1].text == "==" and self.before[-1].end == first.start:
            first = self.before[-1]
        elif len(self.after) > 1 and self.after[1].text == "=":
            last = self.after[1]
        span = self._span(first, last)
        return self._make("LT107", "`=` gives a name; compare with `==`", span, fixes=(replace(span, "=="),))

    def _membership(self) -> Diagnostic | None:
        here = self.after[0] if self.after else None
        previous = self._previous()
        if here is None or previous is None:
            return None
        if here.text != "in":
            # In a block, `in` begins a clause: the error comes at the list after it.
            if previous.text != "in" or here.text not in OPEN:
                return None
            here = previous
        if self._clause_before(here) not in ("where", "when"):
            return None
        span = self._span(here)
        return self._make(
            "LT105",
            "`in` opens a rule; it does not test membership",
            span,
            "reads as the start of another rule",
            helps=("write `one of [...]`",),
            fixes=self._list_fix(here),
        )

    def _clause_before(self, token: Word) -> str:
        for other in reversed([t for t in self.every if t.end <= token.start]):
            if other.kind == "word" and other.text in (*CLAUSES, *MODIFIERS):
                return other.text
        return ""

    def _list_fix(self, word: Word) -> tuple[Fix, ...]:
        rest = [t for t in self.every if t.start >= word.end]
        if not rest or rest[0].text not in OPEN:
            return ()
        close = OPEN[rest[0].text]
        for token in rest:
            if token.text == close:
                inner = self.source.text[rest[0].end : token.start]
                return (replace(self._span(word, token), f"one of [{inner}]"),)
        return ()

    def _unit(self) -> Diagnostic | None:
        here, previous = (self.after[0] if self.after else None), self._previous()
        if here and previous and here.kind == "word" and re.fullmatch(r"[0-9][0-9_.]*", previous.text):
            unit = meant_unit(here.text)
            if unit:
                span = self._span(previous, here)
                return self._make(
                    "LT103",
                    f"`{span.text}` is two words",
                    span,
                    "number and unit are written together",
                    fixes=(replace(span, previous.text + unit),),
                )
        if {"INT", "DURATION"}.isdisjoint(possible(self.error)):
            return None  # no number may stand here, with a unit or without
        match = re.fullmatch(r"([0-9][0-9_]*(?:\.[0-9]+)?)([A-Za-zµμ]+)", here.text) if here else None
        if here and match and match[2] not in (*UNITS, "x", "X"):
            unit = meant_unit(match[2])
            span = Span(self.source, here.start + len(match[1]), here.end)
            fixes = (replace(span, unit),) if unit else ()
            return self._make(
                "LT103", f"`{match[2]}` is not a unit", span, "units are ns us ms s m h, and B KiB MiB GiB", fixes=fixes
            )
        if here and re.fullmatch(r"[0-9][0-9_]*\.[0-9]+", here.text):
            return self._make("LT103", f"`{here.text}` needs a unit", self._span(here), "only durations have fractions")
        return None

    def _bare_list(self) -> Diagnostic | None:
        """`key dev, sector`: the comma ended the clause, and a name stands where a clause should begin."""
        lists = [
            found for i, t in enumerate(self.every) if t.text == "key" and (found := self._names_after(i)) is not None
        ]
        here = self.after[0].start if self.after else -1
        hit = [x for x in lists if x[0].start <= here <= x[1].start]
        if not hit:
            return None
        spans = [self._span(*x) for x in lists]
        fix = Fix("Add parentheses", tuple(Edit(s, f"({s.text})") for s in spans))
        first = self._span(*hit[0])
        return self._make(
            "LT102",
            "a compound key needs parentheses",
            first,
            "several key fields, written as a bare list",
            related=tuple((s, "here as well") for s in spans if s != first),
            notes=("a comma outside parentheses ends a clause, so what follows it was read as the next clause",),
            fixes=(fix,),
        )

    def _names_after(self, index: int) -> tuple[Word, Word] | None:
        """Return the first and last token of `a, b.c, d` after the one at `index`; None if it has no comma."""
        at, last, commas = index + 1, None, 0
        while (
            at < len(self.every) and self.every[at].kind == "word" and self.every[at].text not in (*CLAUSES, *MODIFIERS)
        ):
            while at + 2 < len(self.every) and self.every[at + 1].text == ".":
                at += 2
            last = at
            if at + 1 >= len(self.every) or self.every[at + 1].text != ",":
                break
            if at + 2 < len(self.every) and self._begins_clause(at + 2):
                break
            commas += 1
            at += 2
        if last is None or not commas or last <= index + 1:
            return None
        return self.every[index + 1], self.every[last]

    def _begins_clause(self, index: int) -> bool:
        text = self.every[index].text
        known = text in (*CLAUSES, *MODIFIERS) or text in MEANT or text in STATEMENTS
        return known or closest(text, ("thresh", "timeout")) is not None

    def _statement(self) -> Diagnostic | None:
        if self.at_end:
            return None
        here, previous = self.after[0], self._previous()
        block = here.text == "if" and any(t.text == "{" for t in self.after)
        before = previous is not None and previous.text in STATEMENTS
        if here.text in STATEMENTS or before or block or here.text in ("$", "@"):
            token = here if previous is None or previous.text not in STATEMENTS else previous
            return self._make(
                "LT108",
                "rules hold clauses, not code",
                self._span(token),
                "not part of the language",
                helps=("a rule is `in …`, `out …` and limits; a condition is `where` after an event, or `when`",),
            )
        return None

    def _comma(self) -> Diagnostic | None:
        """`in a key x out b key x`: in a rule on one line, clauses are joined by commas."""
        here, previous = (self.after[0] if self.after else None), self._previous()
        if here is None or previous is None or here.text not in CLAUSES or "COMMA" not in possible(self.error):
            return None
        end = Span(self.source, previous.end, previous.end)
        fix = Fix(f"Write a comma before `{here.text}`", (Edit(end, ","),))
        return self._make(
            "LT101", f"there is no comma before `{here.text}`", self._span(here),
            "outside of a block, commas join the clauses of a rule", fixes=(fix,)
        )  # fmt: skip

    def _clause_name(self) -> Diagnostic | None:
        for token in self.after[:1] + self.before[-1:]:
            if token.kind != "word" or token.text in (*CLAUSES, *MODIFIERS) or token.text in RESERVED:
                continue
            meant = MEANT.get(token.text) or closest(token.text, (*CLAUSES, *MODIFIERS, "rule", "const", "import"))
            if meant is not None and token.text != meant:
                span = self._span(token)
                return self._make(
                    "LT104",
                    f"there is no clause `{token.text}`",
                    span,
                    f"did you mean `{meant}`?",
                    fixes=(replace(span, meant),),
                )
        return None

    def _reserved(self) -> Diagnostic | None:
        here, previous = (self.after[0] if self.after else None), self._previous()
        if here is None or previous is None or here.text not in RESERVED:
            return None
        if previous.text not in _BEFORE_VALUES:
            return None
        if previous.text == "," and not any(t.text == "(" for t in self.before):
            return None
        span = self._span(here)
        return self._make(
            "LT110",
            f"`{here.text}` is a word of the language",
            span,
            f"a field of this name is written `ev.{here.text}`",
            fixes=(replace(span, f"ev.{here.text}"),),
        )

    def _other(self) -> Diagnostic:
        wanted = expected(self.error)
        label = f"expected {wanted}" if wanted else ""
        if self.at_end:
            last = self.every[-1] if self.every else Word("sign", "", self.start)
            span = Span(self.source, last.end, last.end)
            return self._make("LT101", "the text ends too early", span, label or "something is missing here")
        here = self.after[0]
        shown = here.text if len(here.text) <= 20 else here.text[:17] + "..."
        if not shown.isprintable():
            shown = ascii(shown)[1:-1]
        return self._make("LT101", f"unexpected `{shown}`", self._span(here), label)


def _open_brackets(words: list[Word]) -> list[Word]:
    """Return the brackets that are not closed, the innermost last."""
    stack: list[Word] = []
    for word in words:
        if word.text in OPEN:
            stack.append(word)
        elif stack and word.text == OPEN[stack[-1].text]:
            stack.pop()
    return stack
