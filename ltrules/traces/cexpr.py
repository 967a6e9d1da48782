"""The C expressions of print texts (`REC->prev_state & 0xff ? __print_flags(...) : "R"`) as trees.

What is no plain expression (statements in braces, for instance) becomes `Unknown`, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_MASK = (1 << 64) - 1
_DEEPEST = 64
_STRING = r'"(?:[^"\\]|\\.)*"'
_TOKEN = re.compile(
    rf"\s*(?:(?P<text>{_STRING})|(?P<number>0[xX][0-9a-fA-F]{{1,16}}|[0-9]{{1,20}})[uUlL]*\b|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<sign>->|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^~!<>?:,(){}\[\]]))",
    re.ASCII,
)
_PIECES = re.compile(rf"{_STRING}|[(){{}}\[\],]|[^\"(){{}}\[\],]+|.", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", "t": "\t"}
_PRECEDENCE = {
    **dict.fromkeys(("*", "/", "%"), 10), **dict.fromkeys(("+", "-"), 9), **dict.fromkeys(("<<", ">>"), 8),
    **dict.fromkeys(("<", ">", "<=", ">="), 7), **dict.fromkeys(("==", "!="), 6), "&": 5, "^": 4, "|": 3, "&&": 2,
    "||": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Number:
    """A constant, as 64 bits hold it."""

    value: int


@dataclass(frozen=True, slots=True)
class Text:
    """A string constant."""

    text: str


@dataclass(frozen=True, slots=True)
class Ref:
    """A field of the record, or an element of one: "args[0]"."""

    name: str


@dataclass(frozen=True, slots=True)
class Word:
    """A bare name: the argument of `__get_str`, or a constant that the kernel did not expand."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function, an operator or a table entry ("{") with its arguments; "?" has three."""

    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Unknown:
    """What is not understood."""


Node = Number | Text | Ref | Word | Call | Unknown


class _NotUnderstoodError(Exception):
    """This is no plain expression."""


def arguments(text: str) -> list[str]:
    """Split at the commas that stand outside of parentheses, braces and strings."""
    parts = [""]
    depth = 0
    for piece in _PIECES.findall(text):
        depth += (piece in ("(", "{", "[")) - (piece in (")", "}", "]"))
        if piece == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def parse(text: str) -> Node:
    """Return the tree of an expression; casts are left out."""
    try:
        tokens = list(_tokens(text.strip()))
        node, at = _ternary(tokens, 0, 0)
    except (_NotUnderstoodError, IndexError):
        return Unknown()
    return node if tokens[at] == ("end", "") else Unknown()


def unquoted(text: str) -> str:
    """Return what a string constant holds."""
    return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), text[1:-1])


_Token = tuple[str, str]


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise _NotUnderstoodError
        yield found.lastgroup, found[found.lastgroup]
        at = found.end()
    yield "end", ""


def _ternary(tokens: list[_Token], at: int, depth: int) -> tuple[Node, int]:
    condition, at = _binary(tokens, at, 0, depth + 1)
    if tokens[at][1] != "?" or tokens[at][0] != "sign":
        return condition, at
    yes, at = _ternary(tokens, at + 1, depth + 1)
    no, at = _ternary(tokens, _expect(tokens, at, ":"), depth + 1)
    return Call("?", (condition, yes, no)), at


def _binary(tokens: list[_Token], at: int, lowest: int, depth: int) -> tuple[Node, int]:
    left, at = _unary(tokens, at, depth + 1)
    while tokens[at][0] == "sign" and _PRECEDENCE.get(tokens[at][1], 0) > lowest:
        sign = tokens[at][1]
        right, at = _binary(tokens, at + 1, _PRECEDENCE[sign], depth + 1)
        left = _operation(sign, left, right)
    return left, at


def _unary(tokens: list[_Token], at: int, depth: int) -> tuple[Node, int]:
    if depth > _DEEPEST:
        raise _NotUnderstoodError
    kind, what = tokens[at]
    if kind == "sign" and what in ("-", "~", "!", "+"):
        operand, at = _unary(tokens, at + 1, depth + 1)
        if isinstance(operand, Number):
            value = {"-": -operand.value, "~": ~operand.value, "!": int(not operand.value), "+": operand.value}[what]
            return Number(value & _MASK), at
        return Call(what, (operand,)), at
    if kind == "sign" and what == "(":
        if (after := _after_cast(tokens, at)) is not None:
            return _unary(tokens, after, depth + 1)
        node, at = _ternary(tokens, at + 1, depth + 1)
        return node, _expect(tokens, at, ")")
    return _primary(tokens, at, depth)


def _primary(tokens: list[_Token], at: int, depth: int) -> tuple[Node, int]:
    kind, what = tokens[at]
    if kind == "number":
        octal = what[0] == "0" and what.isdecimal()
        if octal and set(what) & set("89"):
            raise _NotUnderstoodError
        return Number(int(what, 8 if octal else 0) & _MASK), at + 1
    if kind == "text":
        text = ""
        while tokens[at][0] == "text":
            text += unquoted(tokens[at][1])
            at += 1
        return Text(text), at
    if (kind, what) == ("sign", "{"):
        inner, at = _list(tokens, at + 1, "}", depth)
        return Call("{", inner), at
    if kind != "word":
        raise _NotUnderstoodError
    if what == "REC" and tokens[at + 1][1] == "->" and tokens[at + 2][0] == "word":
        return _element(tokens, tokens[at + 2][1], at + 3, depth)
    if tokens[at + 1] == ("sign", "("):
        inner, at = _list(tokens, at + 2, ")", depth)
        return Call(what, inner), at
    return Word(what), at + 1


def _element(tokens: list[_Token], name: str, at: int, depth: int) -> tuple[Node, int]:
    if tokens[at] != ("sign", "["):
        return Ref(name), at
    index, at = _ternary(tokens, at + 1, depth + 1)
    return Ref(f"{name}[{index.value}]") if isinstance(index, Number) else Unknown(), _expect(tokens, at, "]")


def _list(tokens: list[_Token], at: int, end: str, depth: int) -> tuple[tuple[Node, ...], int]:
    found: list[Node] = []
    while tokens[at] != ("sign", end):
        node, at = _ternary(tokens, at, depth + 1)
        found.append(node)
        if tokens[at] != ("sign", end):
            at = _expect(tokens, at, ",")
    return tuple(found), at + 1


def _expect(tokens: list[_Token], at: int, sign: str) -> int:
    if tokens[at] != ("sign", sign):
        raise _NotUnderstoodError
    return at + 1


def _after_cast(tokens: list[_Token], at: int) -> int | None:
    """Return where the operand of a cast starts, None if the parenthesis holds more than the words of a type."""
    end = at + 1
    while tokens[end][0] == "word" and tokens[end][1] != "REC":
        end += 1
    words = end - at - 1
    while tokens[end] == ("sign", "*"):
        end += 1
    if not words or tokens[end] != ("sign", ")"):
        return None
    kind, what = tokens[end + 1]
    return end + 1 if (kind != "sign" and kind != "end") or what in ("(", "-", "~", "!") else None


def _operation(sign: str, left: Node, right: Node) -> Node:
    if isinstance(left, Number) and isinstance(right, Number):
        a, b = left.value, right.value
        match sign:
            case "|":
                return Number(a | b)
            case "^":
                return Number(a ^ b)
            case "&":
                return Number(a & b)
            case "<<" if b < 64:
                return Number(a << b & _MASK)
            case ">>" if b < 64:
                return Number(a >> b)
            case "+":
                return Number(a + b & _MASK)
            case "-":
                return Number(a - b & _MASK)
            case "*":
                return Number(a * b & _MASK)
        return Unknown()
    return Call(sign, (left, right))
