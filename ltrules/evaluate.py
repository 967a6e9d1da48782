"""What expressions are worth: the arithmetic of the language, 64 bits wide as in the kernel.

Used to fold constants, to fill in messages, and by the reference semantics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ltrules import model
from ltrules.types import Kind, Type

_MASK = (1 << 64) - 1


def wrap(value: int, signed: bool = True) -> int:
    """Return `value` as 64 bits hold it."""
    value &= _MASK
    return value - (1 << 64) if signed and value >> 63 else value


class Environment(Protocol):
    """Where the leaves of an expression find their values."""

    def value(self, expr: model.Expr) -> int | str:
        """Return the value of a leaf: a field, a captured value, a parameter…"""


def evaluate(expr: model.Expr, env: Environment) -> int | str:
    """Return the value of an expression; 0 and 1 stand for false and true."""
    match expr:
        case model.Constant(value=value):
            return value
        case model.Operation(operator="if", operands=(condition, yes, no)):
            value = evaluate(yes if evaluate(condition, env) else no, env)
            return value if isinstance(value, str) else wrap(value, not is_unsigned([expr.type]))
        case model.Operation(operator="and", operands=operands):
            return int(all(evaluate(o, env) for o in operands))
        case model.Operation(operator="or", operands=operands):
            return int(any(evaluate(o, env) for o in operands))
        case model.Operation(operator=operator, operands=operands):
            return apply(operator, [evaluate(o, env) for o in operands], [o.type for o in operands])
        case model.Formatted(operand=operand):
            return evaluate(operand, env)
        case _:
            return env.value(expr)


def is_unsigned(types: Sequence[Type]) -> bool:
    """Tell whether an operation on these types is unsigned: one unsigned 64-bit operand makes it so, as in C."""
    return any(t.kind is Kind.INT and not t.signed and t.size == 8 for t in types)


def apply(operator: str, values: Sequence[int | str], types: Sequence[Type]) -> int:
    """Return the result of an operator on values of the given types. Dividing by zero gives 0."""
    if any(isinstance(v, str) for v in values):
        return int((values[0] == values[1]) == (operator == "=="))
    numbers = [int(v) for v in values]
    signed = not is_unsigned(types)
    if len(numbers) == 1:
        (x,) = numbers
        return {"neg": wrap(-x, signed), "~": wrap(~x, signed), "not": int(not x)}[operator]
    x, y = (wrap(n, signed) for n in numbers)
    return _BINARY[operator](x, y, signed)


def divide(x: int, y: int, signed: bool) -> int:
    """Return a quotient, rounded towards zero; dividing by zero gives 0."""
    if not y:
        return 0
    quotient = abs(x) // abs(y)
    return wrap(-quotient if (x < 0) != (y < 0) else quotient, signed)


def remainder(x: int, y: int, signed: bool) -> int:
    """Return what a quotient leaves, with the sign of `x`; dividing by zero leaves 0."""
    if not y:
        return 0
    rest = abs(x) % abs(y)
    return -rest if x < 0 else rest


_BINARY: Mapping[str, Callable[[int, int, bool], int]] = {
    "+": lambda x, y, s: wrap(x + y, s),
    "-": lambda x, y, s: wrap(x - y, s),
    "*": lambda x, y, s: wrap(x * y, s),
    "/": divide,
    "%": remainder,
    "&": lambda x, y, s: wrap(x & y, s),
    "|": lambda x, y, s: wrap(x | y, s),
    "^": lambda x, y, s: wrap(x ^ y, s),
    "<<": lambda x, y, s: wrap(x << (y & 63), s),
    ">>": lambda x, y, s: wrap(x >> (y & 63), s),
    "==": lambda x, y, s: int((x - y) & _MASK == 0),
    "!=": lambda x, y, s: int((x - y) & _MASK != 0),
    "<": lambda x, y, s: int(x < y),
    "<=": lambda x, y, s: int(x <= y),
    ">": lambda x, y, s: int(x > y),
    ">=": lambda x, y, s: int(x >= y),
}


class Constants:
    """The environment in which nothing but constants and parameters has a value."""

    def __init__(self, params: Mapping[str, int | str]) -> None:
        self._params = params

    def value(self, expr: model.Expr) -> int | str:
        """Return a parameter's value. Raises KeyError for anything else."""
        if isinstance(expr, model.Parameter):
            return self._params[expr.name]
        raise KeyError(type(expr).__name__)
