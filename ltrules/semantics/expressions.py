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


@dataclass(frozen=True, slots=True)
class Piece:
    """The text of an expression, and the least and the greatest value that it can have if it is a number.

    An `atom` needs no parentheses beside an operator.
    """

    text: str
    low: int = 0
    high: int = 0
    atom: bool = False

    @property
    def operand(self) -> str:
        """Return the text as it stands beside an operator."""
        return self.text if self.atom else f"({self.text})"

    def fit(self, signed: bool) -> Piece:
        """Return the same 64 bits, read as signed or unsigned."""
        low, high = _WIDE[signed]
        if low <= self.low and self.high <= high:
            return self
        if self.atom and not signed:
            return Piece(f"{self.text} & {high:#x}", low, high)
        return Piece(f"wrap({self.text}, {signed})", low, high, atom=True)


def define(name: str, text: str, known: Mapping[str, object] | None = None) -> Callable[..., Any]:
    """Return the function of this name that a text defines; `known` are names that it may use."""
    names: dict[str, Any] = {"cut": cut, "number": number, "wrap": wrap, "divide": divide, "remainder": remainder}
    names |= {**(known or {}), "__builtins__": {}}
    exec(text, names)
    made: Callable[..., Any] = names[name]
    return made


def function(arguments: str, text: str) -> Callable[..., Any]:
    """Return a function of some arguments that returns the value of a text."""
    return define("value", f"def value({arguments}):\n    return {text}\n")


def row(texts: Iterable[str]) -> str:
    """Return the text of a tuple."""
    return f"({''.join(f'{text}, ' for text in texts)})"


def bounds(sort: Type) -> tuple[int, int]:
    """Return the least and the greatest value of a field of this type."""
    bits = 8 * sort.size
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if sort.signed else (0, (1 << bits) - 1)


class Writer:
    """Writes expressions; parameters have the values that they were given."""

    def __init__(self, params: Mapping[str, Scalar]) -> None:
        self.params = params

    def leaf(self, expr: model.EventField | model.Context) -> str:
        """Return the text of a value of the event."""
        return self._write(expr).text

    def all(self, conditions: Iterable[model.Expr]) -> str:
        """Return the text of the condition that all of these hold."""
        return " and ".join(self._write(condition).operand for condition in conditions)

    def value(self, expr: model.Expr, sort: Type | None = None) -> str:
        """Return the text of a value as it is kept: a string, or a number that fits the type, by default its own."""
        piece = self._write(expr)
        if expr.type.kind is Kind.STRING:
            return piece.text
        if expr.type.kind is Kind.BOOL:
            return f"1 if {piece.text} else 0"
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
            return f"{piece.text} & {(1 << 8 * expr.type.size) - 1:#x}"
        return piece.fit(signed=False).text

    def _write(self, expr: model.Expr) -> Piece:
        match expr:
            case model.Constant(value=value):
                return _literal(value)
            case model.Parameter(name=name):
                return _literal(self.params[name])
            case model.EventField(type=sort, field=field):
                return Piece(f"f[{field.name!r}]", *bounds(sort), atom=True)
            case model.Context(type=sort, name=name):
                text = {"cpu": "e.cpu", "mono": "e.time_ns"}.get(name, f"c[{name!r}]")
                return Piece(text, *bounds(sort), atom=True)
            case model.Captured(where="key", type=sort, index=index) if sort.kind is not Kind.STRING:
                if is_unsigned([sort]):
                    return Piece(f"key[{index}]", *_WIDE[False], atom=True)
                bits = 8 * sort.size if sort.signed else 64
                return Piece(f"number(key[{index}], {bits})", *_WIDE[True], atom=True)
            case model.Captured(type=sort, where=where, index=index):
                return Piece(f"{_ROWS[where]}[{index}]", *_WIDE[not is_unsigned([sort])], atom=True)
            case model.Measured(name=name):
                return Piece(name, 0, _WIDE[True][1], atom=True)
            case model.Formatted(operand=operand):
                return self._write(operand)
            case model.Operation():
                return self._operation(expr)
        raise AssertionError(expr)

    def _operation(self, expr: model.Operation) -> Piece:
        operator, pieces = expr.operator, [self._write(operand) for operand in expr.operands]
        match operator, pieces:
            case "and" | "or", _:
                return Piece(f" {operator} ".join(piece.operand for piece in pieces), 0, 1)
            case "not", (piece,):
                return Piece(f"not {piece.operand}", 0, 1)
            case "if", (condition, yes, no):
                text = f"{yes.operand} if {condition.operand} else {no.operand}"
                return Piece(text, min(yes.low, no.low), max(yes.high, no.high)).fit(not is_unsigned([expr.type]))
        if expr.operands[0].type.kind is Kind.STRING:
            return Piece(f"{pieces[0].operand} {operator} {pieces[1].operand}", 0, 1)
        signed = not is_unsigned([operand.type for operand in expr.operands])
        return _compute(operator, [piece.fit(signed) for piece in pieces], signed)


def _literal(value: Scalar) -> Piece:
    if isinstance(value, str):
        return Piece(repr(value), atom=True)
    return Piece(str(value), value, value, atom=value >= 0)


def _compute(operator: str, operands: Sequence[Piece], signed: bool) -> Piece:
    """Return the text of an operator on operands of one sign, with what is known of its result."""
    a, b = operands[0], operands[-1]
    plain = f"{a.operand} {operator} {b.operand}"
    positive = a.low >= 0 and b.low >= 0
    match operator:
        case "==" | "!=" | "<" | "<=" | ">" | ">=":
            return Piece(plain, 0, 1)
        case "neg":
            return Piece(f"-{a.operand}", -a.high, -a.low).fit(signed)
        case "~":
            return Piece(f"~{a.operand}", ~a.high, ~a.low).fit(signed)
        case "+":
            return Piece(plain, a.low + b.low, a.high + b.high).fit(signed)
        case "-":
            return Piece(plain, a.low - b.high, a.high - b.low).fit(signed)
        case "*":
            corners = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
            return Piece(plain, min(corners), max(corners)).fit(signed)
        case "/" if positive and b.low > 0:
            return Piece(f"{a.operand} // {b.operand}", 0, a.high)
        case "%" if positive and b.low > 0:
            return Piece(plain, 0, b.high - 1)
        case "/" | "%":
            name = "divide" if operator == "/" else "remainder"
            return Piece(f"{name}({a.text}, {b.text}, {signed})", *_WIDE[signed], atom=True)
        case "&" if a.low >= 0 or b.low >= 0:
            return Piece(plain, 0, min(p.high for p in operands if p.low >= 0))
        case "|" | "^" if positive:
            return Piece(plain, 0, (1 << max(a.high.bit_length(), b.high.bit_length())) - 1)
        case ">>":
            return Piece(f"{a.operand} >> ({b.operand} & 63)", min(a.low, 0), max(a.high, 0))
        case "<<":
            most = b.high if b.low >= 0 and b.high < 64 else 63
            text = f"{a.operand} << ({b.operand} & 63)"
            return Piece(text, min(a.low << most, a.low), max(a.high << most, 0)).fit(signed)
    return Piece(plain, *_WIDE[signed])
