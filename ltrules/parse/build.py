"""Make the items of a file from Lark's tree."""

from __future__ import annotations

from lark import Token

from ltrules import syntax
from ltrules.parse.clauses import clause, doc, param, probe, requires
from ltrules.parse.expressions import Branch, Origin, expression, name, number, parts, present, text


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
            return syntax.TestBlock(
                span, _text(at, title), name(at, rule) if rule else None, tuple(_step(at, s) for s in steps)
            )
        case unknown:
            raise AssertionError(unknown)


def _step(at: Origin, tree: Branch) -> syntax.TestStep:
    span = at.span(tree)
    word = tree.data.removeprefix("test_")
    match word, parts(tree):
        case "param", [label, value]:
            bound = syntax.Binding(span, syntax.Name(at.span(label), (str(label),)), expression(at, value))
            return syntax.TestStep(span, word, (bound,))
        case "event", [time, happening, *bindings]:
            found = tuple(_binding(at, b) for b in bindings if b)
            return syntax.TestStep(span, "at", found, probe(at, happening), number(at, time).value)
        case "expect", [count, kind, rule, *bindings]:
            return syntax.TestStep(
                span,
                word,
                tuple(_binding(at, b) for b in bindings if b),
                count=str(count) if count else None,
                kind=kind.removesuffix("s"),
                rule=name(at, rule) if rule else None,
            )
        case "replay" | "catalog", [path]:
            return syntax.TestStep(span, word, text=text(at, path).value)
        case unknown:
            raise AssertionError(unknown)


def _binding(at: Origin, tree: Branch) -> syntax.Binding:
    label, value = present(tree)
    return syntax.Binding(at.span(tree), name(at, label), expression(at, value))


def _text(at: Origin, token: Token | None) -> str:
    return text(at, token).value if token else ""
