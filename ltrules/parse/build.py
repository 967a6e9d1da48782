"""Make the items of a file from Lark's tree."""

from __future__ import annotations

from lark import Token

from ltrules import syntax
from ltrules.parse.clauses import clause, doc, param, probe, requires
from ltrules.parse.expressions import Branch, Origin, expression, integer, name, number, parts, text


def item(at: Origin, tree: Branch) -> syntax.FileItem:
    """Return the top-level item that a tree stands for. Raises Mistake for a number or string that has no value."""
    span = at.span(tree)
    match str(tree.data), parts(tree):
        case "line_rule", [label, *clauses]:
            named = at.span(label) if label else span
            return syntax.Rule(
                span, str(label) if label else None, named, "", "", tuple(clause(at, c) for c in clauses)
            )
        case "block_rule", [label, title, about, *clauses]:
            found = tuple(clause(at, c) for c in clauses)
            return syntax.Rule(span, str(label), at.span(label), _text(at, title), doc(about), found)
        case "derived_rule", [label, title, base, *arguments]:
            given = tuple(
                syntax.Argument(at.span(a), str(a.children[0]), expression(at, parts(a)[1])) for a in arguments if a
            )
            return syntax.DerivedRule(span, str(label), at.span(label), _text(at, title), name(at, base), given)
        case "import_stmt", [path, alias]:
            return syntax.Import(span, text(at, path), str(alias) if alias else None)
        case "const_def", [label, value]:
            return syntax.Const(span, str(label), at.span(label), expression(at, value))
        case "macro_def", [label, *parameters, body]:
            names = tuple(str(p) for p in parameters if p)
            return syntax.Macro(span, str(label), at.span(label), names, expression(at, body))
        case "param_def", _:
            return param(at, tree)
        case "requires_stmt", [requirement]:
            return requires(at, tree, requirement)
        case "test_block", [title, rule, *steps]:
            tested = name(at, rule) if rule else None
            return syntax.TestBlock(span, text(at, title), tested, tuple(_step(at, s) for s in steps))
        case unknown:
            raise AssertionError(unknown)


def _step(at: Origin, tree: Branch) -> syntax.TestStep:
    span = at.span(tree)
    match str(tree.data), parts(tree):
        case "test_param", [label, value]:
            return syntax.TestParam(span, str(label), at.span(label), expression(at, value))
        case "test_event", [time, happening, *bindings]:
            return syntax.TestEvent(span, number(at, time).value, probe(at, happening), _bindings(at, bindings))
        case "test_until", [time]:
            return syntax.TestUntil(span, number(at, time).value)
        case "test_replay", [path]:
            return syntax.TestReplay(span, text(at, path))
        case "test_catalog", [path]:
            return syntax.TestCatalog(span, text(at, path))
        case "test_expect", [count, kind, rule, *bindings]:
            return syntax.TestExpect(
                span,
                _count(at, count),
                at.span(count) if count else None,
                str(kind),
                at.span(kind),
                name(at, rule) if rule else None,
                _bindings(at, bindings),
            )
        case unknown:
            raise AssertionError(unknown)


def _count(at: Origin, token: Token | None) -> int | None:
    if token is None:
        return None
    return 0 if token == "no" else integer(at, token)


def _bindings(at: Origin, trees: list[Branch | None]) -> tuple[syntax.Binding, ...]:
    found = []
    for tree in trees:
        if tree is not None:
            label, index, value = parts(tree)
            place = number(at, index) if index else None
            found.append(syntax.Binding(at.span(tree), name(at, label), place, expression(at, value)))
    return tuple(found)


def _text(at: Origin, token: Token | None) -> str:
    return text(at, token).value if token else ""
