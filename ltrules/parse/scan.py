"""Look at a text that does not parse: its tokens, and where its top-level items start and end.

This knows brackets, strings and comments, and nothing of the grammar, so it gets through any text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ltrules.parse.words import CLAUSES

OPENING = {"{": "}", "(": ")", "[": "]"}
CLOSING = {close: opening for opening, close in OPENING.items()}

# The start of an item that is one beyond doubt: what stands open there was never closed.
_ITEM = r"""\n(?:rule\s+\w+[^\n]*\{|test\s+"|const\s+\w+\s*=|macro\s+\w+\s*\(|import\s+")"""
_TOKEN = re.compile(
    rf"""
      (?P<skip>\s+|\#[^\n]*)
    | (?P<doc>"{{3}}(?:(?!{_ITEM})[\s\S])*?"{{3}})
    | (?P<string>"(?!"")(?:[^"\\\n]|\\.)*")
    | (?P<unclosed>"{{3}}(?:(?!{_ITEM})[\s\S])*|"[^\n]*)
    | (?P<number>\d(?:\w|\.\d)*)
    | (?P<word>[^\W\d]\w*)
    | (?P<symbol>->|==|!=|<=|>=|=~|!~|<<|>>|&&|\|\||[-+]=|.)
    """,
    re.VERBOSE | re.DOTALL,
)

_HARD_STARTS = ("rule", "const", "import", "macro", "requires", "test")


@dataclass(frozen=True, slots=True)
class Lexeme:
    """A token of a text: `kind` is doc, string, unclosed (a string or doc without end), number, word or symbol."""

    kind: str
    text: str
    start: int
    end: int


def lexemes(text: str, start: int, end: int) -> list[Lexeme]:
    """Return the tokens of a part of a text, without comments."""
    return [
        Lexeme(found.lastgroup, found[0], found.start(), found.end())
        for found in _TOKEN.finditer(text, start, end)
        if found.lastgroup and found.lastgroup != "skip"
    ]


def unclosed(tokens: list[Lexeme]) -> list[Lexeme]:
    """Return the brackets that nothing closes, in the order of the text."""
    waiting: list[Lexeme] = []
    lost: list[Lexeme] = []
    for token in tokens:
        if token.text in OPENING:
            waiting.append(token)
        elif token.text in CLOSING and any(w.text == CLOSING[token.text] for w in waiting):
            while (last := waiting.pop()).text != CLOSING[token.text]:
                lost.append(last)
    return sorted(lost + waiting, key=lambda token: token.start)


def items(text: str) -> Iterator[tuple[int, int]]:
    """Iterate over the places of the top-level items of a text, right or wrong."""
    tokens = lexemes(text, 0, len(text))
    start = depth = 0
    ended = False
    for i, token in enumerate(tokens):
        if i > start and (ended or _starts_item(text, tokens, i, depth)):
            yield tokens[start].start, tokens[i - 1].end
            start, depth = i, 0
        ended = False
        if token.text in OPENING:
            depth += 1
        elif token.text in CLOSING:
            depth = max(0, depth - 1)
            ended = depth == 0 and token.text == "}" and text_at(tokens, i + 1) != ","
        elif token.text == ";":
            ended = depth == 0
    if tokens:
        yield tokens[start].start, tokens[-1].end


def text_at(tokens: list[Lexeme], i: int) -> str:
    """Return the text of a token, "" if there is no such token."""
    return tokens[i].text if 0 <= i < len(tokens) else ""


def starts_line(text: str, tokens: list[Lexeme], i: int) -> bool:
    """Tell whether a token is the first of its line."""
    return i == 0 or "\n" in text[tokens[i - 1].end : tokens[i].start]


def _starts_item(text: str, tokens: list[Lexeme], i: int, depth: int) -> bool:
    token, following = tokens[i], text_at(tokens, i + 1)
    if token.kind != "word" or not starts_line(text, tokens, i):
        return False
    if depth:
        # Neither word may stand in a block: at the margin, it shows that a bracket was not closed.
        margin = text[token.start - 1] == "\n"
        return margin and token.text in ("rule", "test") and i + 1 < len(tokens) and tokens[i + 1].kind != "symbol"
    if token.text in _HARD_STARTS:
        return True
    if text_at(tokens, i - 1) == ",":
        return False
    if token.text in ("in", "at"):
        return following != "."
    if token.text == "param":
        return text_at(tokens, i + 2) == ":"
    return following == ":" and text_at(tokens, i + 2) in ("in", "at")


def is_clause_word(text: str, place: int) -> bool:
    """Tell whether a clause of a rule begins at a place."""
    found = _TOKEN.match(text, place)
    return found is not None and found[0] in CLAUSES
