"""Make expressions of the syntax tree from Lark's tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lark import Token, Tree

from ltrules import syntax, units
from ltrules.diagnostics import Diagnostic
from ltrules.source import Source, Span
from ltrules.template import ESCAPES, unescape

Branch = Tree[Token]
Child = Branch | Token

#: How deep expressions may nest, and how long a chain of operators may be: those who walk a tree may recurse.
DEEPEST = 100

_CHAINS = frozenset({"or_x", "and_x", "bit_x", "shift_x", "sum", "product"})
_INT_BITS = 64


class Mistake(Exception):  # noqa: N818 - not an error of the program: it never leaves the parser
    """A mistake that the grammar cannot see, with its diagnostic."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a parsed text stands in its source: `base` is the offset of its first character."""

    source: Source
    base: int

    def span(self, node: Child) -> Span:
        """Return the place of a node or token."""
        if isinstance(node, Token):
            return Span(self.source, self.base + (node.start_pos or 0), self.base + (node.end_pos or 0))
        return Span(self.source, self.base + node.meta.start_pos, self.base + node.meta.end_pos)


def refuse_depth(at: Origin, tree: Branch) -> None:
    """Raise Mistake if a tree is so deep that recursing over it could fail."""
    waiting = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        depth += len(node.children) if node.data in _CHAINS else 1
        if depth > DEEPEST:
            raise Mistake(
                Diagnostic(
                    "LT101", "syntax", "this is nested too deeply to read", at.span(node), f"over {DEEPEST} levels"
                )
            )
        waiting.extend((child, depth) for child in node.children if isinstance(child, Tree))


def expression(at: Origin, tree: Branch) -> syntax.Expr:
    """Return the expression that a tree stands for. Raises Mistake for a number or string that has no value."""
    span = at.span(tree)
    children = tree.children
    match str(tree.data):
        case "duration" | "size" | "int_":
            return number(at, _token(tree))
        case "string":
            return text(at, _token(tree))
        case "bool_":
            return syntax.Bool(span, _token(tree) == "true")
        case "ref" | "qname":
            return name(at, tree)
        case "paren":
            return replace(expression(at, _branch(children[0])), span=span)
        case "call":
            function, *arguments = present(tree)
            return syntax.Call(span, name(at, _branch(function)), tuple(expression(at, _branch(a)) for a in arguments))
        case "index":
            base, index, *path = children
            return syntax.Index(
                span, expression(at, _branch(base)), expression(at, _branch(index)), tuple(str(p) for p in path)
            )
        case "neg":
            return syntax.Unary(span, str(children[0]), expression(at, _branch(children[1])))
        case "invert" | "not_":
            return syntax.Unary(span, "~" if tree.data == "invert" else "not", expression(at, _branch(children[0])))
        case "or_x" | "and_x":
            return _fold(at, children, tree.data.removesuffix("_x"))
        case "bit_x" | "shift_x" | "sum" | "product":
            return _fold(at, children, None)
        case "compare" | "glob":
            left, operator, right = children
            right_expr = text(at, right) if isinstance(right, Token) else expression(at, right)
            return syntax.Binary(span, str(operator), expression(at, _branch(left)), right_expr)
        case "has":
            left, right = children
            return syntax.Binary(span, "has", expression(at, _branch(left)), expression(at, _branch(right)))
        case "member":
            choices = expression(at, _branch(children[1]))
            assert isinstance(choices, syntax.ListExpr | syntax.Name)
            return syntax.Member(span, expression(at, _branch(children[0])), choices)
        case "list_expr":
            return syntax.ListExpr(span, tuple(expression(at, _branch(c)) for c in present(tree)))
        case unknown:
            raise AssertionError(unknown)


def _fold(at: Origin, children: Sequence[Child], operator: str | None) -> syntax.Expr:
    """Fold a chain to the left; with `operator` None, the operators stand between the operands."""
    first = _branch(children[0])
    result = expression(at, first)
    operands = children[1:] if operator else children[2::2]
    operators = [operator] * len(operands) if operator else [str(token) for token in children[1::2]]
    for sign, operand in zip(operators, operands, strict=True):
        span = at.span(first).to(at.span(operand))
        result = syntax.Binary(span, str(sign), result, expression(at, _branch(operand)))
    return result


def name(at: Origin, tree: Branch) -> syntax.Name:
    """Return a dotted path."""
    path = (child if isinstance(child, Token) else child.children[0] for child in tree.children)
    return syntax.Name(at.span(tree), tuple(str(part) for part in path))


def number(at: Origin, token: Token) -> syntax.Number:
    """Return a number, a duration or a size. Raises Mistake if it does not fit in 64 bits or is not whole."""
    span = at.span(token)
    try:
        match token.type:
            case "DURATION":
                return syntax.Number(span, units.parse_duration(token), "duration")
            case "SIZE":
                return syntax.Number(span, units.parse_size(token), "size")
            case _:
                return syntax.Number(span, integer(at, token))
    except ValueError as error:
        raise Mistake(Diagnostic("LT103", "duration-unit", str(error), span)) from None


def integer(at: Origin, token: Token) -> int:
    """Return the value of an INT. Raises Mistake if it does not fit in 64 bits."""
    hexadecimal = token[:2] in ("0x", "0X")
    digits = (token[2:] if hexadecimal else token).replace("_", "").lstrip("0")
    # The length first: Python refuses to convert thousands of digits.
    value = int(digits or "0", 16 if hexadecimal else 10) if len(digits) <= _INT_BITS else 1 << _INT_BITS
    if value >> _INT_BITS or not token.rstrip("_xX"):
        raise Mistake(Diagnostic("LT101", "syntax", "this number does not fit in 64 bits", at.span(token)))
    return value


def text(at: Origin, token: Token) -> syntax.Text:
    """Return a string. Raises Mistake at an escape that does not exist."""
    span = at.span(token)
    try:
        return syntax.Text(span, unescape(token[1:-1]))
    except KeyError as error:
        escape = f"\\{error.args[0]}"
        place = span.start + _find_escape(token, escape)
        raise Mistake(
            Diagnostic(
                "LT101",
                "syntax",
                f"`{escape}` has no meaning in a string",
                Span(span.source, place, place + 2),
                helps=(f"write {', '.join(chr(92) + known for known in ESCAPES)}; a backslash is written twice",),
            )
        ) from None


def _find_escape(literal: str, escape: str) -> int:
    i = 0
    while literal[i : i + 2] != escape:
        i += 2 if literal[i] == "\\" else 1
    return i


def parts(tree: Branch) -> list[Any]:
    """Return the children of a node, None for an absent part; the grammar says what each is, which types cannot."""
    return list(tree.children)


def present(tree: Branch) -> list[Any]:
    """Return the children of a node without the absent parts."""
    return [child for child in tree.children if child is not None]


def _token(tree: Branch) -> Token:
    child = tree.children[0]
    assert isinstance(child, Token)
    return child


def _branch(child: Child) -> Branch:
    assert isinstance(child, Tree)
    return child
