"""Make clauses, modifiers and actions of the syntax tree from Lark's tree."""

from __future__ import annotations

import inspect

from lark import Token, Tree

from ltrules import syntax
from ltrules.parse.expressions import Branch, Child, Origin, expression, integer, parts, present, text


def clause(at: Origin, tree: Branch) -> syntax.Clause:
    """Return the clause that a tree stands for."""
    span = at.span(tree)
    match str(tree.data), parts(tree):
        case "in_clause" | "out_clause" | "step_clause" | "cancel_clause" | "during_clause", [happening, *modifiers]:
            role = tree.data.removesuffix("_clause")
            return syntax.EventClause(span, role, events(at, happening), tuple(modifier(at, m) for m in modifiers))
        case "at_clause", [happening, took, *modifiers]:
            found = tuple(modifier(at, m) for m in modifiers)
            return syntax.EventClause(span, "at", events(at, happening), found, expression(at, took))
        case "when_clause", [condition]:
            return syntax.When(span, expression(at, condition))
        case "thresh_clause", [limit, ratchet]:
            return syntax.Thresh(span, expression(at, limit), ratchet is not None)
        case "timeout_clause", [limit, mode, slack]:
            return syntax.Timeout(
                span, expression(at, limit), _optional(mode), expression(at, slack) if slack else None
            )
        case "expire_clause", [limit]:
            return syntax.Expire(span, expression(at, limit))
        case "inflight_clause", [room, mode]:
            return syntax.Inflight(span, expression(at, room), _optional(mode))
        case "duplicate_clause", [mode, depth]:
            return syntax.Duplicate(span, str(mode), integer(at, depth) if depth else None)
        case "rate_clause" | "after_clause", [count, period, by]:
            word = tree.data.removesuffix("_clause")
            return syntax.Rate(span, word, expression(at, count), expression(at, period), items(at, by))
        case "sample_clause", [take, of]:
            return syntax.Sample(span, integer(at, take), integer(at, of))
        case "hist_clause", [value, scale, by, label]:
            found_scale = _scale(at, scale) if scale else None
            return syntax.Hist(span, expression(at, value), found_scale, items(at, by), _optional(label))
        case "stat_clause", [function, *value, by, label]:
            operand = expression(at, value[0]) if value else None
            return syntax.Stat(span, str(function), operand, items(at, by), _optional(label))
        case "message_clause", [literal]:
            return syntax.Message(span, text(at, literal))
        case "on_clause", [trigger, *actions]:
            return syntax.On(span, str(trigger), tuple(_action(at, a) for a in actions))
        case "meta_block", pairs:
            return syntax.Meta(span, tuple(_meta_item(at, pair) for pair in pairs))
        case "requires_stmt", [requirement]:
            return requires(at, tree, requirement)
        case "param_def", _:
            return param(at, tree)
        case unknown:
            raise AssertionError(unknown)


def modifier(at: Origin, tree: Branch) -> syntax.Modifier:
    """Return the modifier that a tree stands for."""
    span = at.span(tree)
    match str(tree.data), parts(tree):
        case "key_mod", [keys, then]:
            return syntax.Key(span, items(at, keys), items(at, then))
        case "where_mod", [condition]:
            return syntax.Where(span, expression(at, condition))
        case "capture_mod", _:
            return syntax.Capture(span, tuple(_item(at, item) for item in present(tree)))
        case "label_mod", [label]:
            return syntax.Label(span, str(label))
        case "from_mod", stages:
            return syntax.From(span, tuple("in" if s.data == "stage_in" else str(s.children[0]) for s in stages))
        case "within_mod", [limit]:
            return syntax.Within(span, expression(at, limit))
        case "fork_mod" | "optional_mod" | "once_mod", _:
            return syntax.Flag(span, tree.data.removesuffix("_mod"))
        case unknown:
            raise AssertionError(unknown)


def events(at: Origin, tree: Branch) -> syntax.Events:
    """Return the columns of events."""
    return syntax.Events(at.span(tree), tuple(tuple(probe(at, p) for p in parts(column)) for column in parts(tree)))


def probe(at: Origin, tree: Branch) -> syntax.Probe:
    """Return one event."""
    written, maybe = parts(tree)
    return syntax.Probe(at.span(tree), str(written), maybe is not None)


def items(at: Origin, keys: Branch | None) -> tuple[syntax.Item, ...]:
    """Return the parts of a key or a group, none if there is none."""
    if keys is None:
        return ()
    (inner,) = parts(keys)
    if inner.data == "key_list":
        return tuple(_item(at, item) for item in present(inner))
    return (syntax.Item(at.span(inner), None, expression(at, inner)),)


def param(at: Origin, tree: Branch) -> syntax.Param:
    """Return a parameter."""
    label, sort, default, low, high, doc = parts(tree)
    return syntax.Param(
        at.span(tree),
        str(label),
        at.span(label),
        str(sort),
        expression(at, default),
        expression(at, low) if low else None,
        expression(at, high) if high else None,
        text(at, doc).value if doc else "",
    )


def requires(at: Origin, tree: Branch, requirement: Branch) -> syntax.Requires:
    """Return a requirement."""
    kind = requirement.data.removeprefix("req_")
    words = tuple(str(w) if isinstance(w, Token) else probe(at, w).text for w in parts(requirement))
    return syntax.Requires(at.span(tree), {"tool": "ltrules"}.get(kind, kind), words)


def _item(at: Origin, tree: Branch) -> syntax.Item:
    span = at.span(tree)
    match parts(tree):
        case [Token() as label, Tree() as value]:
            return syntax.Item(span, str(label), expression(at, value), at.span(label))
        case [Tree() as value]:
            return syntax.Item(span, None, expression(at, value))
        case unknown:
            raise AssertionError(unknown)


def _scale(at: Origin, tree: Branch) -> syntax.Scale:
    kind = tree.data.removesuffix("_scale")
    return syntax.Scale(at.span(tree), kind, tuple(expression(at, bound) for bound in parts(tree)))


def _action(at: Origin, tree: Branch) -> syntax.Action:
    word = tree.data.removeprefix("act_").replace("_", " ")
    return syntax.Action(at.span(tree), word, tuple(_operand(at, child) for child in present(tree)))


def _operand(at: Origin, child: Child) -> syntax.Expr | syntax.Item:
    if isinstance(child, Token):
        return text(at, child) if child.type == "STRING" else syntax.Name(at.span(child), (str(child),))
    return _item(at, child) if child.data.startswith("cap_") else expression(at, child)


def _meta_item(at: Origin, tree: Branch) -> syntax.MetaItem:
    label, value = parts(tree)
    return syntax.MetaItem(at.span(tree), str(label), _meta_value(at, value))


def _meta_value(at: Origin, value: Child) -> str | int | bool | tuple[str, ...]:
    if isinstance(value, Tree):
        return tuple(
            text(at, v).value if v.type == "STRING" else str(v) for v in present(value) if isinstance(v, Token)
        )
    match value.type:
        case "STRING":
            return text(at, value).value
        case "DOC":
            return doc(value)
        case "INT":
            return integer(at, value)
        case "BOOL":
            return bool(value == "true")
        case _:
            return str(value)


def doc(token: Token | None) -> str:
    """Return a doc string without its quotes and its indentation."""
    return inspect.cleandoc(token[3:-3]) if token else ""


def _optional(token: Token | None) -> str | None:
    return None if token is None else str(token)
