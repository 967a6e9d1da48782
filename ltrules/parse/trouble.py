"""The surroundings of a syntax error, as the slips look at them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from ltrules.diagnostics import Diagnostic, Edit, Fix
from ltrules.parse import scan
from ltrules.parse.scan import Lexeme, text_at
from ltrules.parse.words import CLAUSES, MODIFIERS, OPERATORS, words_of
from ltrules.source import Source, Span

NAMES = {
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


@dataclass(frozen=True)
class Trouble:
    """An item that does not parse.

    `i` is the index of the token that is wrong, the number of tokens if the item ends too early. `expected` holds the
    names of the terminals that may stand there.
    """

    source: Source
    end: int
    tokens: list[Lexeme]
    i: int
    expected: frozenset[str]

    @property
    def at_end(self) -> bool:
        return self.i == len(self.tokens)

    @property
    def token(self) -> Lexeme:
        """The token that is wrong; an empty one at the end."""
        return self.tokens[self.i] if not self.at_end else Lexeme("end", "", self.end, self.end)

    def text(self, offset: int) -> str:
        """Return the text of a token counted from the wrong one, "" if there is none."""
        return text_at(self.tokens, self.i + offset)

    def kind(self, offset: int) -> str:
        """Return the kind of a token counted from the wrong one, "" if there is none."""
        i = self.i + offset
        return self.tokens[i].kind if 0 <= i < len(self.tokens) else ""

    @property
    def previous(self) -> Lexeme:
        """The token before; only to be asked where there is one."""
        return self.tokens[self.i - 1]

    @cached_property
    def words(self) -> frozenset[str]:
        """The words that may stand here."""
        return words_of(self.expected)

    @cached_property
    def depths(self) -> list[int]:
        """How many brackets are open before each token, and at the end."""
        depths = [0]
        for token in self.tokens:
            change = (token.text in scan.OPENING) - (token.text in scan.CLOSING)
            depths.append(max(0, depths[-1] + change))
        return depths

    @property
    def depth(self) -> int:
        return self.depths[self.i]

    @cached_property
    def in_block(self) -> bool:
        """Whether the item is a rule or a test with braces."""
        return text_at(self.tokens, 0) in ("rule", "test") and any(t.text == "{" for t in self.tokens[: self.i])

    def governing(
        self, i: int | None = None, among: frozenset[str] = CLAUSES | MODIFIERS | {"by", "then", "const", "macro"}
    ) -> str:
        """Return the last word of `among` that governs a token: none in a closed bracket, none that is an operand."""
        i = self.i if i is None else i
        depth = self.depths[i]
        for j in range(i - 1, -1, -1):
            depth = min(depth, self.depths[j])
            if self.depths[j] <= depth and self.tokens[j].text in among and not self._is_operand(j):
                return self.tokens[j].text
        return ""

    def _is_operand(self, j: int) -> bool:
        """Tell whether a word is used as a name: `in.prio`, `key == 5`, `latency.out`."""
        before, after = text_at(self.tokens, j - 1), text_at(self.tokens, j + 1)
        return (
            after == "." or before == "." or before in OPERATORS or before in ("where", "when", "(", "[", "by", "key")
        )

    def span(self, first: Lexeme, last: Lexeme | None = None) -> Span:
        return Span(self.source, first.start, (last or first).end)

    def between(self, first: Lexeme, last: Lexeme) -> Span:
        """Return the place from the end of a token to the start of a later one."""
        return Span(self.source, first.end, last.start)

    def closing(self, i: int) -> int | None:
        """Return the index of the bracket that closes the one at index `i`."""
        for j in range(i + 1, len(self.tokens)):
            if self.depths[j + 1] == self.depths[i]:
                return j
        return None

    def diagnostic(
        self,
        code: str,
        message: str,
        span: Span,
        label: str = "",
        *,
        related: Iterable[tuple[Span, str]] = (),
        notes: Iterable[str] = (),
        helps: Iterable[str] = (),
        fixes: Iterable[Fix] = (),
    ) -> Diagnostic:
        """Return a diagnostic of a syntax error."""
        return Diagnostic(
            code,
            NAMES[code],
            message,
            span,
            label,
            related=tuple(related),
            notes=tuple(notes),
            helps=tuple(helps),
            fixes=tuple(fixes),
        )


def write(message: str, *edits: tuple[Span, str], safe: bool = True) -> Fix:
    """Return the fix that makes some edits."""
    return Fix(message, tuple(Edit(span, text) for span, text in edits), safe)
