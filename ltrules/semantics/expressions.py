"""Expressions to Python: the text of each is written once, so that an event costs one call and no walk over a tree.

A text may use the event `e`, its fields `f` and its context `c`, and of a measurement `key`, `ins`, `outs`, `latency`
and `outcome`. Arithmetic is 64 bits wide, as `ltrules.evaluate` has it; the bounds that are known of every value show
where it could leave them, and only there a text wraps it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ltrules import model
from ltrules.alert import Scalar
from ltrules.evaluate import divide, is_unsigned, remainder, wrap
from ltrules.types import Kind, Type

#: What the functions that judge a measurement are called with.
MEASUREMENT = "key, ins, outs, latency, outcome"
#: What the functions of a handler are called with, once its key was found.
HANDLER = "e, f, c, key, ins, latency"

#: What 64 bits hold, by whether they are signed.
_WIDE = {True: (-(1 << 63), (1 << 63) - 1), False: (0, (1 << 64) - 1)}
#: Where the values of a measurement stand.
_ROWS = {"key": "key", "in": "ins", "out": "outs"}


def cut(text: str, room: int) -> str:
    """Return as much of a string as fits in a room of so many bytes, the NUL at its end included."""
    data = text.encode("utf-8", "surrogatepass")
    return text if len(data) < room else data[: room - 1].decode("utf-8", "backslashreplace")


def number(word: int, bits: int) -> int:
    """Return the number in a word of a key: a narrow one of so many bits finds its sign again."""
    return word - (1 << bits) if word >> bits - 1 == 1 else wrap(word)


#: What the text of an expression may call.
KNOWN = {"cut": cut, "number": number, "s64": wrap, "divide": divide, "remainder": remainder}


@dataclass(frozen=True, slots=True)
class Piece:
    """The text of an expression, and the least and the greatest value that it can have if it is a number."""

    text: str
    low: int = 0
    high: int = 0

    def fit(self, signed: bool) -> Piece:
        """Return the same 64 bits, read as signed or unsigned."""
        low, high = _WIDE[signed]
        if low <= self.low and self.high <= high:
            return self
        return Piece(f"s64({self.text})" if signed else f"({self.text} & {high:#x})", low, high)


def function(arguments: str, text: str) -> Callable[..., Any]:
    """Return a function of some arguments that returns the value of a text."""
    made: Callable[..., Any] = eval(f"lambda {arguments}: {text}", {**KNOWN, "__builtins__": {}})
    return made


def row(texts: Iterable[str]) -> str:
    """Return the text of a tuple."""
    return f"({''.join(f'{text}, ' for text in texts)})"


def bounds(sort: Type) -> tuple[int, int]:
    """Return the least and the greatest value of a field of this type."""
    if sort.kind is Kind.BOOL:
        return 0, 1
    bits = 8 * sort.size
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if sort.signed else (0, (1 << bits) - 1)


class Writer:
    """Writes expressions; parameters have the values that they were given."""

    def __init__(self, params: Mapping[str, Scalar]) -> None:
        self.params = params

    def text(self, expr: model.Expr) -> str:
        """Return the bare text: of a condition, anything that Python takes for true or false."""
        return self._write(expr).text

    def value(self, expr: model.Expr, sort: Type | None = None) -> str:
        """Return the text of a value as it is kept: a string, or a number that fits the type, by default its own."""
        piece = self._write(expr)
        if expr.type.kind is Kind.STRING:
            return piece.text
        if expr.type.kind is Kind.BOOL:
            return f"(1 if {piece.text} else 0)"
        return piece.fit(not is_unsigned([sort or expr.type])).text

    def part(self, value: model.Value, index: int) -> str:
        """Return the text of a part of the key as people read it."""
        return self.value(model.Captured(value.type, "key", index, value.symbols))

    def word(self, expr: model.Expr, sort: Type) -> str:
        """Return the text of a part of a key as it is compared: 64 bits without a sign, or a string of that room.

        A narrow field is compared by its own bits, whatever the sign that the field of another event has.
        """
        piece = self._write(expr)
        if sort.kind is Kind.STRING:
            return piece.text if expr.type.size <= sort.size else f"cut({piece.text}, {sort.size})"
        if isinstance(expr, model.EventField) and piece.low < 0:
            return f"({piece.text} & {(1 << 8 * expr.type.size) - 1:#x})"
        return piece.fit(signed=False).text

    def _write(self, expr: model.Expr) -> Piece:
        match expr:
            case model.Constant(value=value):
                return _literal(value)
            case model.Parameter(name=name):
                return _literal(self.params[name])
            case model.EventField(type=sort, field=field):
                return Piece(f"f[{field.name!r}]", *bounds(sort))
            case model.Context(type=sort, name=name):
                text = {"cpu": "e.cpu", "mono": "e.time_ns"}.get(name, f"c[{name!r}]")
                return Piece(text, *bounds(sort))
            case model.Captured(where="key", type=sort, index=index) if sort.kind is not Kind.STRING:
                signed = not is_unsigned([sort])
                return Piece(
                    f"number(key[{index}], {8 * sort.size if sort.signed else 64})" if signed else f"key[{index}]",
                    *_WIDE[signed],
                )
            case model.Captured(type=sort, where=where, index=index):
                return Piece(f"{_ROWS[where]}[{index}]", *_WIDE[not is_unsigned([sort])])
            case model.Measured(name=name):
                return Piece(name, 0, _WIDE[True][1])
            case model.Formatted(operand=operand):
                return self._write(operand)
            case model.Operation(operator="and" | "or" as operator):
                return Piece(f"({f' {operator} '.join(self.text(o) for o in _flat(expr))})", 0, 1)
            case model.Operation(operator="not", operands=(operand,)):
                return Piece(f"(not {self.text(operand)})", 0, 1)
            case model.Operation(operator="if", operands=(condition, yes, no)):
                one, two = self._write(yes), self._write(no)
                text = f"({one.text} if {self.text(condition)} else {two.text})"
                return Piece(text, min(one.low, two.low), max(one.high, two.high)).fit(not is_unsigned([expr.type]))
            case model.Operation(operator=operator, operands=operands):
                if operands[0].type.kind is Kind.STRING:
                    return Piece(f"({self._write(operands[0]).text} {operator} {self._write(operands[1]).text})", 0, 1)
                signed = not is_unsigned([o.type for o in operands])
                return _compute(operator, [self._write(o).fit(signed) for o in operands], signed)
        raise AssertionError(expr)


def _literal(value: Scalar) -> Piece:
    if isinstance(value, str):
        return Piece(repr(value))
    return Piece(f"({value})" if value < 0 else str(value), value, value)


def _flat(expr: model.Operation) -> Iterable[model.Expr]:
    """Iterate over all that one `and` or `or` joins, however it is grouped: long lists nest deeply."""
    for operand in expr.operands:
        if isinstance(operand, model.Operation) and operand.operator == expr.operator:
            yield from _flat(operand)
        else:
            yield operand


def _compute(operator: str, operands: Sequence[Piece], signed: bool) -> Piece:
    """Return the text of an operator on operands of one sign, with what is known of its result."""
    a, b = operands[0], operands[-1]
    wide = _WIDE[signed]
    plain = f"({a.text} {operator} {b.text})"
    positive = a.low >= 0 and b.low >= 0
    match operator:
        case "==" | "!=" | "<" | "<=" | ">" | ">=":
            return Piece(plain, 0, 1)
        case "neg":
            return Piece(f"(-{a.text})", -a.high, -a.low).fit(signed)
        case "~":
            return Piece(f"(~{a.text})", ~a.high, ~a.low).fit(signed)
        case "+":
            return Piece(plain, a.low + b.low, a.high + b.high).fit(signed)
        case "-":
            return Piece(plain, a.low - b.high, a.high - b.low).fit(signed)
        case "*":
            corners = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
            return Piece(plain, min(corners), max(corners)).fit(signed)
        case "/" if positive and b.low > 0:
            return Piece(f"({a.text} // {b.text})", 0, a.high)
        case "%" if positive and b.low > 0:
            return Piece(plain, 0, b.high - 1)
        case "/" | "%":
            name = "divide" if operator == "/" else "remainder"
            return Piece(f"{name}({a.text}, {b.text}, {signed})", *wide)
        case "&" if a.low >= 0 or b.low >= 0:
            return Piece(plain, 0, min(p.high for p in operands if p.low >= 0))
        case "|" | "^" if positive:
            return Piece(plain, 0, (1 << max(a.high.bit_length(), b.high.bit_length())) - 1)
        case ">>":
            return Piece(f"({a.text} >> ({b.text} & 63))", min(a.low, 0), max(a.high, 0))
        case "<<":
            most = b.high if b.low >= 0 and b.high < 64 else 63
            text = f"({a.text} << ({b.text} & 63))"
            return Piece(text, min(a.low << most, a.low), max(a.high << most, 0)).fit(signed)
    return Piece(plain, *wide)
