"""Lark's trees to syntax nodes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lark import Token, Tree, v_args
from lark.tree import Meta as Place

from ltrules import syntax
from ltrules.parse.expressions import ExpressionBuilder
from ltrules.source import Source


@v_args(meta=True)
class Builder(ExpressionBuilder):
    """Makes the nodes of one source."""

    # ------------------------------------------------------------------- events, modifiers
    def probe(self, meta: Place, c: list[Token | None]) -> syntax.Probe:
        assert c[0] is not None
        return syntax.Probe(self._span(meta), str(c[0]), c[1] is not None)

    def alternative(self, meta: Place, c: list[syntax.Probe]) -> tuple[syntax.Probe, ...]:
        return tuple(c)

    def events(self, meta: Place, c: list[tuple[syntax.Probe, ...]]) -> syntax.Events:
        return syntax.Events(self._span(meta), tuple(c))

    def cap_named(self, meta: Place, c: list[Any]) -> syntax.Item:
        return syntax.Item(self._span(meta), str(c[0]), c[1], self._of(c[0]))

    def cap_bare(self, meta: Place, c: list[Any]) -> syntax.Item:
        return syntax.Item(self._span(meta), None, c[0])

    cap_expr = cap_bare

    def key_list(self, meta: Place, c: list[syntax.Item]) -> tuple[syntax.Item, ...]:
        return tuple(c)

    def keys(self, meta: Place, c: list[Any]) -> tuple[syntax.Item, ...]:
        return c[0] if isinstance(c[0], tuple) else (syntax.Item(c[0].span, None, c[0]),)

    def key_mod(self, meta: Place, c: list[Any]) -> syntax.Key:
        return syntax.Key(self._span(meta), c[0], c[1] or ())

    def where_mod(self, meta: Place, c: list[syntax.Expr]) -> syntax.Where:
        return syntax.Where(self._span(meta), c[0])

    def capture_mod(self, meta: Place, c: list[syntax.Item]) -> syntax.Capture:
        return syntax.Capture(self._span(meta), tuple(c))

    def label_mod(self, meta: Place, c: list[Token]) -> syntax.Label:
        return syntax.Label(self._span(meta), str(c[0]))

    def stage(self, meta: Place, c: list[Token]) -> str:
        return str(c[0])

    def stage_in(self, meta: Place, c: list[Token]) -> str:
        return "in"

    def from_mod(self, meta: Place, c: list[str]) -> syntax.From:
        return syntax.From(self._span(meta), tuple(c))

    def within_mod(self, meta: Place, c: list[syntax.Expr]) -> syntax.Within:
        return syntax.Within(self._span(meta), c[0])

    def _flag(word: str) -> Any:  # type: ignore[misc]  # noqa: N805 - makes three methods that differ in a word
        return lambda self, meta, c: syntax.Flag(self._span(meta), word)

    fork_mod, optional_mod, once_mod = _flag("fork"), _flag("optional"), _flag("once")

    # ------------------------------------------------------------------------------ clauses
    def _event(role: str) -> Any:  # type: ignore[misc]  # noqa: N805 - makes the methods of five roles
        return lambda self, meta, c: syntax.EventClause(self._span(meta), role, c[0], tuple(c[1:]))

    in_clause, out_clause, step_clause = _event("in"), _event("out"), _event("step")
    cancel_clause, during_clause = _event("cancel"), _event("during")

    def at_clause(self, meta: Place, c: list[Any]) -> syntax.EventClause:
        return syntax.EventClause(self._span(meta), "at", c[0], tuple(c[2:]), c[1])

    def when_clause(self, meta: Place, c: list[Any]) -> syntax.When:
        return syntax.When(self._span(meta), c[0])

    def thresh_clause(self, meta: Place, c: list[Any]) -> syntax.Thresh:
        return syntax.Thresh(self._span(meta), c[0], c[1] is not None)

    def timeout_clause(self, meta: Place, c: list[Any]) -> syntax.Timeout:
        return syntax.Timeout(self._span(meta), c[0], c[1] and str(c[1]), c[2])

    def expire_clause(self, meta: Place, c: list[Any]) -> syntax.Expire:
        return syntax.Expire(self._span(meta), c[0])

    def inflight_clause(self, meta: Place, c: list[Any]) -> syntax.Inflight:
        return syntax.Inflight(self._span(meta), c[0], c[1] and str(c[1]))

    def duplicate_clause(self, meta: Place, c: list[Any]) -> syntax.Duplicate:
        return syntax.Duplicate(self._span(meta), str(c[0]), None if c[1] is None else int(c[1][:9], 0))

    def rate_clause(self, meta: Place, c: list[Any]) -> syntax.Rate:
        return syntax.Rate(self._span(meta), "rate", c[0], c[1], c[2] or ())

    def after_clause(self, meta: Place, c: list[Any]) -> syntax.Rate:
        return syntax.Rate(self._span(meta), "after", c[0], c[1], c[2] or ())

    def sample_clause(self, meta: Place, c: list[Token]) -> syntax.Sample:
        return syntax.Sample(self._span(meta), int(c[0][:9], 0), int(c[1][:9], 0))

    def log2_scale(self, meta: Place, c: list[Any]) -> syntax.Scale:
        return syntax.Scale(self._span(meta), "log2")

    def linear_scale(self, meta: Place, c: list[Any]) -> syntax.Scale:
        return syntax.Scale(self._span(meta), "linear", tuple(c))

    def hist_clause(self, meta: Place, c: list[Any]) -> syntax.Hist:
        return syntax.Hist(self._span(meta), c[0], c[1], c[2] or (), c[3] and str(c[3]))

    def stat_clause(self, meta: Place, c: list[Any]) -> syntax.Stat:
        value = c[1] if isinstance(c[1], syntax.Expr) else None
        by, name = c[-2:]
        return syntax.Stat(self._span(meta), str(c[0]), value, by or (), name and str(name))

    def message_clause(self, meta: Place, c: list[Token]) -> syntax.Message:
        return syntax.Message(self._span(meta), self._text(c[0]))

    def _action(word: str) -> Any:  # type: ignore[misc]  # noqa: N805 - makes the methods of eight actions
        def make(self: Builder, meta: Place, c: list[Any]) -> syntax.Action:
            operands = (self._text(x) if isinstance(x, Token) and x.type == "STRING" else x for x in c if x is not None)
            return syntax.Action(
                self._span(meta),
                word,
                tuple(syntax.Name(self._of(x), (str(x),)) if isinstance(x, Token) else x for x in operands),
            )

        return make

    act_print, act_record, act_capture = _action("print"), _action("record"), _action("capture")
    act_snapshot, act_tracing_off, act_stop = _action("snapshot"), _action("tracing off"), _action("stop")
    act_signal, act_exec = _action("signal"), _action("exec")

    def on_clause(self, meta: Place, c: list[Any]) -> syntax.On:
        return syntax.On(self._span(meta), str(c[0]), tuple(c[1:]))

    def list_meta(self, meta: Place, c: list[Token | None]) -> tuple[str, ...]:
        return tuple(self._doc(t) if t.type == "STRING" else str(t) for t in c if t is not None)

    def meta_item(self, meta: Place, c: list[Any]) -> syntax.MetaItem:
        value = c[1]
        if isinstance(value, Token):
            match value.type:
                case "STRING" | "DOC":
                    value = self._doc(value)
                case "INT":
                    value = int(value[:18], 0)
                case "BOOL":
                    value = value == "true"
                case _:
                    value = str(value)
        return syntax.MetaItem(self._span(meta), str(c[0]), value)

    def meta_block(self, meta: Place, c: list[syntax.MetaItem]) -> syntax.Meta:
        return syntax.Meta(self._span(meta), tuple(c))

    def _requirement(kind: str) -> Any:  # type: ignore[misc]  # noqa: N805 - makes the methods of five kinds
        return lambda self, meta, c: (kind, tuple(x.text if isinstance(x, syntax.Probe) else str(x) for x in c))

    req_tool, req_kernel, req_feature = _requirement("ltrules"), _requirement("kernel"), _requirement("feature")
    req_config, req_event = _requirement("config"), _requirement("event")

    def requires_stmt(self, meta: Place, c: list[tuple[str, tuple[str, ...]]]) -> syntax.Requires:
        return syntax.Requires(self._span(meta), *c[0])

    # -------------------------------------------------------------------------------- items
    def param_def(self, meta: Place, c: list[Any]) -> syntax.Param:
        name, sort, default, low, high, doc = c
        return syntax.Param(self._span(meta), str(name), self._of(name), str(sort), default, low, high, self._doc(doc))

    def const_def(self, meta: Place, c: list[Any]) -> syntax.Const:
        return syntax.Const(self._span(meta), str(c[0]), self._of(c[0]), c[1])

    def macro_def(self, meta: Place, c: list[Any]) -> syntax.Macro:
        return syntax.Macro(
            self._span(meta), str(c[0]), self._of(c[0]), tuple(str(t) for t in c[1:-1] if t is not None), c[-1]
        )

    def import_stmt(self, meta: Place, c: list[Any]) -> syntax.Import:
        return syntax.Import(self._span(meta), self._text(c[0]), c[1] and str(c[1]))

    def line_rule(self, meta: Place, c: list[Any]) -> syntax.Rule:
        span = self._span(meta)
        name, clauses = c[0], c[1:]
        named = span if name is None else self._of(name)
        if name is None:
            named = clauses[0].span
        return syntax.Rule(span, name and str(name), named, "", "", tuple(clauses))

    def block_rule(self, meta: Place, c: list[Any]) -> syntax.Rule:
        name, title, doc = c[:3]
        return syntax.Rule(self._span(meta), str(name), self._of(name), self._doc(title), self._doc(doc), tuple(c[3:]))

    def named_arg(self, meta: Place, c: list[Any]) -> syntax.Argument:
        return syntax.Argument(self._span(meta), str(c[0]), c[1])

    def derived_rule(self, meta: Place, c: list[Any]) -> syntax.DerivedRule:
        name, title, base = c[:3]
        arguments = tuple(x for x in c[3:] if x is not None)
        return syntax.DerivedRule(self._span(meta), str(name), self._of(name), self._doc(title), base, arguments)

    def start(self, meta: Place, c: list[syntax.FileItem]) -> tuple[syntax.FileItem, ...]:
        return tuple(c)

    # -------------------------------------------------------------------------------- tests
    def binding(self, meta: Place, c: list[Any]) -> syntax.Binding:
        return syntax.Binding(self._span(meta), c[0], c[1])

    def test_param(self, meta: Place, c: list[Any]) -> syntax.TestStep:
        name = syntax.Name(self._of(c[0]), (str(c[0]),))
        return syntax.TestStep(self._span(meta), "param", (syntax.Binding(self._span(meta), name, c[1]),))

    def test_event(self, meta: Place, c: list[Any]) -> syntax.TestStep:
        return syntax.TestStep(
            self._span(meta),
            "at",
            _present(c[2:]),
            c[1],
            self.duration(meta, [c[0]]).value,  # type: ignore[attr-defined]
        )

    def test_replay(self, meta: Place, c: list[Token]) -> syntax.TestStep:
        return syntax.TestStep(self._span(meta), "replay", text=self._doc(c[0]))

    def test_catalog(self, meta: Place, c: list[Token]) -> syntax.TestStep:
        return syntax.TestStep(self._span(meta), "catalog", text=self._doc(c[0]))

    def test_expect(self, meta: Place, c: list[Any]) -> syntax.TestStep:
        count, kind, rule = c[:3]
        return syntax.TestStep(
            self._span(meta), "expect", _present(c[3:]), count=count and str(count), kind=str(kind), rule=rule
        )

    def test_block(self, meta: Place, c: list[Any]) -> syntax.TestBlock:
        return syntax.TestBlock(self._span(meta), self._doc(c[0]), c[1], tuple(c[2:]))


def _present(items: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(x for x in items if x is not None)


def build(tree: Tree[Token], source: Source, offset: int = 0) -> Any:
    """Return the syntax node of a tree; `offset` is where the parsed text begins in the source."""
    return Builder(source, offset).transform(tree)
