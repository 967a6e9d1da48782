"""Symbolic values of fields, from the tables in the print text of a tracepoint's format.

`__print_symbolic(REC->vec, { 0, "HI" }, …)` and `__print_flags(REC->flags, "|", { 1 << 3, "A" }, …)`. The numbers are C
expressions; those that need more than plain integers (names of constants the kernel did not expand) are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_CALL = re.compile(r"__print_(symbolic|flags)(?:_u64)?\(")
#: The first argument must be the field itself, perhaps cast. Flags may be masked: bits keep their meaning.
_FIELD = re.compile(r"[\s(]*(?:\(\s*[a-z_][\w ]*\))?[\s(]*REC->(\w+)[\s)]*(&.*)?", re.DOTALL)
_ENTRY = re.compile(r'\{([^{}"]*),\s*"((?:[^"\\]|\\.)*)"\s*\}')
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_TOKEN = re.compile(r"\s*(?:(0[xX][0-9a-fA-F]+|[0-9]+)[uUlL]*\b|([A-Za-z_]\w*)|(<<|>>|[-+*|&^~()]))")
_PRECEDENCE = {"|": 1, "^": 2, "&": 3, "<<": 4, ">>": 4, "+": 5, "-": 5, "*": 6}
#: More than C can hold, or than any kernel prints: such a text is damaged.
_LONGEST_LITERAL = 23
_LONGEST_SUBJECT = 1024
_DEEPEST = 64
_WIDEST = 1 << 64


class _NotPlainError(Exception):
    """The expression is not made of plain integers."""


def symbol_tables(print_text: str) -> dict[str, dict[int, str]]:
    """Return a table of value -> name for each field that has one; the values are as written in C."""
    tables: dict[str, dict[int, str]] = {}
    for call in _CALL.finditer(print_text):
        subject, rest = _first_argument(print_text, call.end())
        found = _FIELD.fullmatch(subject)
        if found is None or (found[2] and call[1] == "symbolic"):
            continue
        table = tables.setdefault(found[1], {})
        for expression, name in _entries(print_text, rest):
            number = evaluate(expression)
            if number is not None:
                table.setdefault(number, name)
    return {name: table for name, table in tables.items() if table}


def as_field_values(table: dict[int, str], size: int, signed: bool) -> dict[int, str]:
    """Return the table with the values that a field of `size` bytes has when it is read; others are left out."""
    bits = 8 * size
    values: dict[int, str] = {}
    for number, name in table.items():
        if -(1 << bits - 1) <= number < 1 << bits:
            value = number % (1 << bits)
            values.setdefault(value - (1 << bits) if signed and value >> bits - 1 else value, name)
    return values


def evaluate(expression: str) -> int | None:
    """Return the value of a C expression of plain integers, casts ignored; None if it is anything else."""
    try:
        tokens = list(_tokens(expression.rstrip()))
        value, at = _binary(tokens, 0, 0, 0)
    except _NotPlainError:
        return None
    return value if at == len(tokens) else None


def _tokens(expression: str) -> Iterator[str | int]:
    at = 0
    while at < len(expression):
        found = _TOKEN.match(expression, at)
        if found is None:
            raise _NotPlainError
        number, word, sign = found.groups()
        yield _literal(number) if number else word or sign
        at = found.end()


def _literal(digits: str) -> int:
    if len(digits) > _LONGEST_LITERAL:
        raise _NotPlainError
    if digits[:2] in ("0x", "0X"):
        return int(digits, 16)
    if digits[0] == "0" and set(digits) & set("89"):
        raise _NotPlainError
    return int(digits, 8 if digits[0] == "0" else 10)


def _first_argument(text: str, start: int) -> tuple[str, int]:
    """Return the text up to the first comma outside of parentheses, and where the rest starts."""
    depth = 0
    for at in range(start, min(len(text), start + _LONGEST_SUBJECT)):
        match text[at]:
            case "(":
                depth += 1
            case ")":
                depth -= 1
            case "," if depth == 0:
                return text[start:at], at + 1
        if depth < 0:
            break
    return "", len(text)


def _entries(text: str, at: int) -> Iterator[tuple[str, str]]:
    """Iterate over the `{ value, "name" }` of one table; what stands before and between them is skipped."""
    while True:
        while at < len(text) and text[at] in ", \t":
            at += 1
        separator = _STRING.match(text, at)
        entry = _ENTRY.match(text, at)
        if separator is not None:
            at = separator.end()
        elif entry is not None:
            yield entry[1], entry[2]
            at = entry.end()
        else:
            return


def _binary(tokens: list[str | int], at: int, lowest: int, depth: int) -> tuple[int, int]:
    """Evaluate from a token on, by operators that bind tighter than `lowest`; return the value and the next token."""
    left, at = _unary(tokens, at, depth + 1)
    while at < len(tokens):
        sign = tokens[at]
        precedence = _PRECEDENCE.get(sign, 0) if isinstance(sign, str) else 0
        if precedence <= lowest:
            break
        right, at = _binary(tokens, at + 1, precedence, depth + 1)
        left = _operate(str(sign), left, right)
    return left, at


def _unary(tokens: list[str | int], at: int, depth: int) -> tuple[int, int]:
    if depth > _DEEPEST or at >= len(tokens):
        raise _NotPlainError
    token = tokens[at]
    if isinstance(token, int):
        return token, at + 1
    if token in ("-", "~", "+"):
        value, at = _unary(tokens, at + 1, depth + 1)
        return {"-": -value, "~": ~value, "+": value}[token], at
    if token != "(":
        raise _NotPlainError
    if (after := _after_cast(tokens, at)) is not None:
        return _unary(tokens, after, depth + 1)
    value, at = _binary(tokens, at + 1, 0, depth + 1)
    if at >= len(tokens) or tokens[at] != ")":
        raise _NotPlainError
    return value, at + 1


def _after_cast(tokens: list[str | int], at: int) -> int | None:
    """Return the token after `(unsigned long)`, or None if the parenthesis holds no words alone or nothing follows."""
    end = at + 1
    while end < len(tokens) and isinstance(word := tokens[end], str) and (word[0].isalpha() or word[0] == "_"):
        end += 1
    is_cast = end > at + 1 and end + 1 < len(tokens) and tokens[end] == ")" and tokens[end + 1] not in _PRECEDENCE
    return end + 1 if is_cast else None


def _operate(sign: str, left: int, right: int) -> int:
    if sign in ("<<", ">>") and not 0 <= right < 64:
        raise _NotPlainError
    match sign:
        case "|":
            value = left | right
        case "^":
            value = left ^ right
        case "&":
            value = left & right
        case "<<":
            value = left << right
        case ">>":
            value = left >> right
        case "+":
            value = left + right
        case "-":
            value = left - right
        case _:
            value = left * right
    if not -_WIDEST < value < _WIDEST:
        raise _NotPlainError
    return value
