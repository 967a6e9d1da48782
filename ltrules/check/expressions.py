"""Give expressions their types, and constants their values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ltrules import model, syntax
from ltrules.check import functions
from ltrules.check.names import Names, no_symbols
from ltrules.check.problems import Mistake, Problems
from ltrules.check.scope import Place
from ltrules.diagnostics import Edit, Fix, replace
from ltrules.evaluate import apply, is_unsigned
from ltrules.source import Span
from ltrules.types import BOOL, DURATION, INT, SIZE, UNSIGNED, Kind, Type, string

_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_KINDS = {"int": INT, "duration": DURATION, "size": SIZE}
#: What `left operator right` is, for arithmetic on kinds that may be mixed.
_ARITHMETIC = {
    ("*", Kind.DURATION, Kind.INT): DURATION,
    ("*", Kind.INT, Kind.DURATION): DURATION,
    ("*", Kind.SIZE, Kind.DURATION): DURATION,
    ("*", Kind.DURATION, Kind.SIZE): DURATION,
    ("*", Kind.SIZE, Kind.INT): SIZE,
    ("*", Kind.INT, Kind.SIZE): SIZE,
    ("/", Kind.DURATION, Kind.INT): DURATION,
    ("/", Kind.DURATION, Kind.DURATION): INT,
    ("/", Kind.DURATION, Kind.SIZE): DURATION,
    ("/", Kind.INT, Kind.SIZE): INT,
    ("/", Kind.SIZE, Kind.SIZE): INT,
    ("/", Kind.SIZE, Kind.INT): SIZE,
}


class Typer:
    """Types the expressions of a rule set. Every method raises `Mistake` when it has noted a diagnostic."""

    def __init__(self, problems: Problems, machine: str) -> None:
        self.problems = problems
        self.machine = machine
        self.names = Names(problems, self)

    # ------------------------------------------------------------------- what clauses ask for
    def duration(self, node: syntax.Expr, place: Place) -> model.Expr:
        """Type an expression that must be a duration."""
        expr = self.expr(node, place)
        if expr.type.kind is Kind.DURATION:
            return expr
        if isinstance(node, syntax.Number):
            fix = Fix(f"Write `{node.span.text}us`", (Edit(node.span, node.span.text + "us"),), safe=False)
            raise self.problems.note(
                "LT103", f"`{node.span.text}` needs a unit", node.span, "a duration: ns us ms s m h", fixes=[fix]
            )
        helps = ["multiply a number of nanoseconds by 1ns"] if expr.type.kind is Kind.INT else []
        raise self.problems.note(
            "LT211", f"{place.what} needs a duration", node.span, f"this is of type {expr.type}", helps=helps
        )

    def condition(self, node: syntax.Expr, place: Place) -> model.Expr:
        """Type an expression that must be true or false."""
        expr = self.expr(node, place)
        if expr.type.kind is Kind.BOOL:
            return expr
        helps = [f"compare it: `{node.span.text} != 0`"] if expr.type.numeric else []
        raise self.problems.note(
            "LT211", f"{place.what} needs a condition", node.span, f"this is of type {expr.type}", helps=helps
        )

    def integer(self, node: syntax.Expr, place: Place) -> model.Expr:
        """Type an expression that must be a plain number."""
        expr = self.expr(node, place)
        if expr.type.kind not in (Kind.INT, Kind.SIZE):
            raise self.problems.note("LT211", f"{place.what} needs a number", node.span, f"this is of type {expr.type}")
        return expr

    # --------------------------------------------------------------------------- expressions
    def expr(self, node: syntax.Expr, place: Place, symbols: Mapping[int, str] = no_symbols) -> model.Expr:
        """Type an expression; `symbols` are the names that a constant may have here."""
        match node:
            case syntax.Number(value=value, unit=unit):
                if value >> 64 or (unit != "int" and value >> 63):
                    raise self.problems.note("LT211", "this number does not fit in 64 bits", node.span)
                return model.Constant(UNSIGNED if value >> 63 else _KINDS[unit], value)
            case syntax.Bool(value=flag):
                return model.Constant(BOOL, int(flag))
            case syntax.Text(value=text):
                if "\0" in text:
                    raise self.problems.note("LT211", "a string cannot hold a zero byte", node.span)
                size = -(-(len(text.encode()) + 1) // 8) * 8
                return model.Constant(string(size), text)
            case syntax.Name():
                return self.names.resolve(node, place, symbols)
            case syntax.Index():
                return self.names.element(node, place)
            case syntax.Call():
                return self._call(node, place)
            case syntax.Unary():
                return self._unary(node, place)
            case syntax.Binary():
                return self._binary(node, place)
            case syntax.Member():
                return self._member(node, place)
            case syntax.ListExpr():
                raise self.problems.note("LT211", "a list stands only after `one of`", node.span)
        raise AssertionError(node)

    def _unary(self, node: syntax.Unary, place: Place) -> model.Expr:
        if node.operator == "not":
            return self._fold("not", BOOL, self.condition(node.operand, _within(place, "`not`")))
        operand = self.expr(node.operand, place)
        operator = "neg" if node.operator == "-" else node.operator
        wanted = operand.type.kind is Kind.INT or (operator == "neg" and operand.type.numeric)
        if operator == "+":
            return operand
        if not wanted:
            raise self.problems.note("LT211", f"`{node.operator}` needs a number", node.operand.span, _is(operand))
        return self._fold(operator, _widened(operand.type), operand)

    def _binary(self, node: syntax.Binary, place: Place) -> model.Expr:
        operator = node.operator
        if operator in ("and", "or"):
            inner = _within(place, f"`{operator}`")
            return self._fold(operator, BOOL, self.condition(node.left, inner), self.condition(node.right, inner))
        if operator in ("=~", "!~"):
            raise self.problems.unavailable("comparing with a pattern (`=~`)", node.span)
        left, right = self._operands(node, place)
        if operator in _COMPARISONS:
            self._comparable(node, left, right)
            return self._fold(operator, BOOL, left, right)
        if operator == "has":
            self._both_int(node, left, right)
            return self._fold("==", BOOL, self._fold("&", _joint(left, right), left, right), right)
        kinds = left.type.kind, right.type.kind
        if operator in ("+", "-", "%") and kinds[0] is kinds[1] and left.type.numeric:
            return self._fold(operator, _joint(left, right), left, right)
        if operator in ("*", "/") and kinds == (Kind.INT, Kind.INT):
            return self._fold(operator, _joint(left, right), left, right)
        if (result := _ARITHMETIC.get((operator, *kinds))) is not None:
            return self._fold(operator, result, left, right)
        if operator in ("&", "|", "^", "<<", ">>"):
            self._both_int(node, left, right)
            return self._fold(operator, _joint(left, right), left, right)
        raise self._mismatch(node, f"cannot compute {left.type} {operator} {right.type}", left, right)

    def _operands(self, node: syntax.Binary, place: Place) -> tuple[model.Expr, model.Expr]:
        """Type both sides; a bare upper-case name on one side may be a symbol of the field on the other."""
        if may_be_symbol(node.left) and not may_be_symbol(node.right):
            right = self.expr(node.right, place)
            return self.expr(node.left, place, symbols_of(right)), right
        left = self.expr(node.left, place)
        return left, self.expr(node.right, place, symbols_of(left))

    def _comparable(self, node: syntax.Binary, left: model.Expr, right: model.Expr) -> None:
        kinds = {left.type.kind, right.type.kind}
        if kinds == {Kind.STRING}:
            if node.operator not in ("==", "!="):
                raise self._mismatch(node, f"strings have no order: `{node.operator}` compares numbers", left, right)
        elif len(kinds) != 1 and kinds != {Kind.INT, Kind.SIZE}:
            raise self._mismatch(
                node, f"cannot compare {left.type.kind.value} with {right.type.kind.value}", left, right
            )
        elif kinds == {Kind.BOOL} and node.operator not in ("==", "!="):
            raise self._mismatch(node, "conditions have no order", left, right)

    def _both_int(self, node: syntax.Binary, left: model.Expr, right: model.Expr) -> None:
        for side, expr in ((node.left, left), (node.right, right)):
            if expr.type.kind not in (Kind.INT, Kind.SIZE):
                raise self.problems.note("LT211", f"`{node.operator}` needs whole numbers", side.span, _is(expr))

    def _mismatch(self, node: syntax.Binary, message: str, left: model.Expr, right: model.Expr) -> Mistake:
        for side, other in ((node.left, right), (node.right, left)):
            if isinstance(side, syntax.Number) and side.unit == "int" and other.type.kind is Kind.DURATION:
                return self.problems.note(
                    "LT211",
                    message,
                    side.span,
                    f"did you mean `{side.span.text}us`?",
                    fixes=[replace(side.span, side.span.text + "us", safe=False)],
                )
        return self.problems.note("LT211", message, node.right.span, _is(right), related=[(node.left.span, _is(left))])

    def _member(self, node: syntax.Member, place: Place) -> model.Expr:
        operand = self.expr(node.operand, place)
        choices, home = node.choices, place
        if isinstance(choices, syntax.Name):
            choices, home = self.names.list_of(choices, place)
        if not choices.items:
            return model.Constant(BOOL, 0)
        tests = []
        for item in choices.items:
            value = self.expr(item, home, symbols_of(operand))
            self._comparable(syntax.Binary(node.span, "==", node.operand, item), operand, value)
            tests.append(self._fold("==", BOOL, operand, value))
        # In pairs of pairs: a chain of a long list would be as deep as it is long.
        while len(tests) > 1:
            pairs = [self._fold("or", BOOL, a, b) for a, b in zip(tests[::2], tests[1::2], strict=False)]
            tests = pairs + tests[2 * len(pairs) :]
        return tests[0]

    # ----------------------------------------------------------------------------- functions
    def _call(self, node: syntax.Call, place: Place) -> model.Expr:
        name = str(node.function)
        scope, path = place.scope.alias(node.function.path)
        if len(path) == 1 and path[0] in scope.macros:
            return self._macro(node, scope.macros[path[0]], place)
        if name in functions.LATER:
            raise self.problems.unavailable(f"the function `{name}`", node.span)
        if name in functions.FORMATTERS:
            return self._formatter(node, name, place)
        if name not in functions.KERNEL:
            known = [*functions.KERNEL, *functions.FORMATTERS, *scope.macros]
            raise self.problems.unknown("LT203", f"there is no function `{name}`", node.function.span, path[-1], known)
        self._arguments(node, functions.KERNEL[name])
        if name == "syscall":
            return self._syscall(node)
        if name == "if":
            return self._if(node, place)
        operand = self.integer(node.arguments[0], _within(place, f"`{name}`"))
        bits = model.Constant(INT, functions.BLOCKED_BITS)
        zero = model.Constant(INT, 0)
        match name:
            case "blocked":
                return self._fold("!=", BOOL, self._fold("&", INT, operand, bits), zero)
            case "runnable":
                return self._fold("==", BOOL, self._fold("&", INT, operand, bits), zero)
            case "major":
                return self._fold(">>", INT, operand, model.Constant(INT, functions.MINOR_BITS))
            case _:
                return self._fold("&", INT, operand, model.Constant(INT, (1 << functions.MINOR_BITS) - 1))

    def _arguments(self, node: syntax.Call, wanted: int) -> None:
        given = len(node.arguments)
        if given != wanted:
            plural = "s" if wanted != 1 else ""
            raise self.problems.note(
                "LT211", f"`{node.function}` takes {wanted} argument{plural}, not {given}", node.span
            )

    def _if(self, node: syntax.Call, place: Place) -> model.Expr:
        condition = self.condition(node.arguments[0], _within(place, "`if`"))
        yes, no = (self.expr(a, place) for a in node.arguments[1:])
        if yes.type.kind is not no.type.kind or yes.type.kind is Kind.STRING:
            raise self.problems.note(
                "LT211", "both values of `if` must be numbers of one type", node.arguments[2].span, _is(no)
            )
        if isinstance(condition, model.Constant):
            return yes if condition.value else no
        return model.Operation(_joint(yes, no), "if", (condition, yes, no))

    def _syscall(self, node: syntax.Call) -> model.Expr:
        (argument,) = node.arguments
        if not isinstance(argument, syntax.Text):
            raise self.problems.note("LT211", '`syscall` takes a name in quotes, as `syscall("read")`', argument.span)
        numbers = functions.syscall_numbers(self.machine)
        if argument.value in numbers:
            return model.Constant(INT, numbers[argument.value])
        if argument.value in functions.syscall_numbers("x86_64"):
            # A list of calls is written for all architectures; this one never makes the call.
            return model.Constant(INT, -1)
        inside = Span(argument.span.source, argument.span.start + 1, argument.span.end - 1)
        raise self.problems.unknown(
            "LT203",
            f"{self.machine} has no system call `{argument.value}`",
            inside,
            argument.value,
            numbers,
        )

    def _formatter(self, node: syntax.Call, name: str, place: Place) -> model.Expr:
        self._arguments(node, 1)
        if not place.user:
            raise self.problems.note(
                "LT213",
                f"`{name}()` is computed in user space",
                node.span,
                f"so {place.what} cannot use it",
                helps=["use it in `message`, and in `by` of `hist` and `stat`"],
            )
        operand = self.integer(node.arguments[0], _within(place, f"`{name}`"))
        symbols = symbols_of(operand) if name == "symbol" else functions.names(name, self.machine)
        if name == "symbol" and not symbols:
            raise self.problems.note(
                "LT211",
                "the format of this field names no values",
                node.arguments[0].span,
                "so `symbol` has none to show",
            )
        return model.Formatted(INT, name, operand, symbols)

    def _macro(self, node: syntax.Call, macro: syntax.Macro, place: Place) -> model.Expr:
        if place.depth > 30:
            raise self.problems.note("LT209", f"the macro `{macro.name}` uses itself", node.span)
        self._arguments(node, len(macro.parameters))
        values = [self.expr(a, place) for a in node.arguments]
        scope, _ = place.scope.alias(node.function.path)
        bound = dict(zip(macro.parameters, values, strict=True))
        return self.expr(macro.body, place.inside_macro(scope, bound))

    # ------------------------------------------------------------------------------- folding
    def _fold(self, operator: str, result: Type, *operands: model.Expr) -> model.Expr:
        """Return the operation, or its value if all operands are constants."""
        if all(isinstance(o, model.Constant) for o in operands):
            values = [o.value for o in operands if isinstance(o, model.Constant)]
            if operator in ("and", "or"):
                folded = all(values) if operator == "and" else any(values)
                return model.Constant(result, int(folded))
            return model.Constant(result, apply(operator, values, [o.type for o in operands]))
        return model.Operation(result, operator, operands)


def symbols_of(expr: model.Expr) -> Mapping[int, str]:
    """Return the symbolic names of an expression's values, if it is a field or was captured from one."""
    match expr:
        case model.EventField(field=field):
            return field.symbols
        case model.Formatted(symbols=symbols):
            return symbols
        case model.Captured(type=_, symbols=symbols):
            return symbols
        case model.Operation(operator="&", operands=(left, _)):
            return symbols_of(left)
    return no_symbols


def may_be_symbol(node: syntax.Expr) -> bool:
    """Tell whether a node may name a value of a field: one word, in capitals."""
    return isinstance(node, syntax.Name) and len(node.path) == 1 and node.path[0].isupper()


def _within(place: Place, what: str) -> Place:
    return dataclasses.replace(place, what=what)


def _widened(operand: Type) -> Type:
    """Return the type of a result: 64 bits wide, unsigned only if the operand had 64 unsigned bits."""
    if operand.kind is not Kind.INT:
        return operand
    return UNSIGNED if is_unsigned([operand]) else INT


def _joint(left: model.Expr, right: model.Expr) -> Type:
    if left.type.kind is not Kind.INT:
        return left.type
    return UNSIGNED if is_unsigned([left.type, right.type]) else INT


def _is(expr: model.Expr) -> str:
    return f"this is of type {expr.type}"
