"""Lark's trees of expressions to syntax nodes."""

from __future__ import annotations

from dataclasses import replace
from textwrap import dedent
from typing import Any

from lark import Token, Transformer, v_args
from lark.tree import Meta as Place

from ltrules import syntax, units
from ltrules.source import Source, Span
from ltrules.template import unescape


@v_args(meta=True)
class ExpressionBuilder(Transformer[Token, Any]):
    """Makes the expressions of one source; `offset` is added to every position."""

    def __init__(self, source: Source, offset: int = 0) -> None:
        super().__init__()
        self.source = source
        self.offset = offset

    # ------------------------------------------------------------------------ small helpers
    def _span(self, meta: Place) -> Span:
        if meta.empty:
            return Span(self.source, self.offset, self.offset)
        return Span(self.source, meta.start_pos + self.offset, meta.end_pos + self.offset)

    def _of(self, token: Token) -> Span:
        assert token.start_pos is not None and token.end_pos is not None
        return Span(self.source, token.start_pos + self.offset, token.end_pos + self.offset)

    def _text(self, token: Token) -> syntax.Text:
        return syntax.Text(self._of(token), unescape(token[1:-1]))

    @staticmethod
    def _doc(token: Token | None) -> str:
        if token is None:
            return ""
        return dedent(token[3:-3]).strip() if token.type == "DOC" else unescape(token[1:-1])

    # -------------------------------------------------------------------------- expressions
    def duration(self, meta: Place, c: list[Token]) -> syntax.Expr:
        try:
            return syntax.Number(self._span(meta), units.parse_duration(c[0]), "duration")
        except ValueError:
            # Too long for 64 bits, or a fraction of a ns: the checker says so at this place.
            return syntax.Number(self._span(meta), 1 << 70, "duration")

    def size(self, meta: Place, c: list[Token]) -> syntax.Expr:
        try:
            return syntax.Number(self._span(meta), units.parse_size(c[0]), "size")
        except ValueError:
            return syntax.Number(self._span(meta), 1 << 70, "size")

    def int_(self, meta: Place, c: list[Token]) -> syntax.Expr:
        text = c[0].replace("_", "")
        # Python refuses to read numbers of thousands of digits; none of more than 30 can fit.
        value = 1 << 70 if len(text) > 30 else int(text, 16 if text[:2] in ("0x", "0X") and len(text) > 2 else 10)
        return syntax.Number(self._span(meta), value)

    def string(self, meta: Place, c: list[Token]) -> syntax.Text:
        return self._text(c[0])

    def bool_(self, meta: Place, c: list[Token]) -> syntax.Bool:
        return syntax.Bool(self._span(meta), c[0] == "true")

    def role(self, meta: Place, c: list[Token]) -> Token:
        return c[0]

    def ref(self, meta: Place, c: list[Token]) -> syntax.Name:
        return syntax.Name(self._span(meta), tuple(str(t) for t in c))

    qname = ref

    def call(self, meta: Place, c: list[Any]) -> syntax.Call:
        return syntax.Call(self._span(meta), c[0], tuple(x for x in c[1:] if x is not None))

    def index(self, meta: Place, c: list[Any]) -> syntax.Index:
        return syntax.Index(self._span(meta), c[0], c[1], tuple(str(t) for t in c[2:]))

    def list_expr(self, meta: Place, c: list[Any]) -> syntax.ListExpr:
        return syntax.ListExpr(self._span(meta), tuple(x for x in c if x is not None))

    def _chain(self, operator: str, c: list[syntax.Expr]) -> syntax.Expr:
        result = c[0]
        for right in c[1:]:
            result = syntax.Binary(result.span.to(right.span), operator, result, right)
        return result

    def or_x(self, meta: Place, c: list[syntax.Expr]) -> syntax.Expr:
        return self._chain("or", c)

    def and_x(self, meta: Place, c: list[syntax.Expr]) -> syntax.Expr:
        return self._chain("and", c)

    def not_(self, meta: Place, c: list[syntax.Expr]) -> syntax.Expr:
        return syntax.Unary(self._span(meta), "not", c[0])

    def neg(self, meta: Place, c: list[Any]) -> syntax.Expr:
        return syntax.Unary(self._span(meta), str(c[0]), c[1])

    def paren(self, meta: Place, c: list[syntax.Expr]) -> syntax.Expr:
        inner: syntax.Expr = replace(c[0], span=self._span(meta))
        return inner

    def invert(self, meta: Place, c: list[syntax.Expr]) -> syntax.Expr:
        return syntax.Unary(self._span(meta), "~", c[0])

    def _infix(self, meta: Place, c: list[Any]) -> syntax.Expr:
        result: syntax.Expr = c[0]
        for operator, right in zip(c[1::2], c[2::2], strict=True):
            result = syntax.Binary(result.span.to(right.span), str(operator), result, right)
        return result

    compare = bit_x = shift_x = sum = product = _infix

    def glob(self, meta: Place, c: list[Any]) -> syntax.Expr:
        right = self._text(c[2]) if isinstance(c[2], Token) else c[2]
        return syntax.Binary(self._span(meta), str(c[1]), c[0], right)

    def has(self, meta: Place, c: list[syntax.Expr]) -> syntax.Expr:
        return syntax.Binary(self._span(meta), "has", c[0], c[1])

    def member(self, meta: Place, c: list[Any]) -> syntax.Expr:
        return syntax.Member(self._span(meta), c[0], c[1])
