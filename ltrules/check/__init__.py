"""Syntax to model: names are resolved, expressions typed, and every mistake is reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ltrules import model, syntax
from ltrules.catalog.events import Catalog
from ltrules.check.events import EventFinder
from ltrules.check.expressions import Typer, may_be_symbol
from ltrules.check.files import Reader, ScopeBuilder
from ltrules.check.params import ParamReader
from ltrules.check.problems import Mistake, Problems
from ltrules.check.rules import RuleChecker
from ltrules.check.scope import Place, Scope
from ltrules.diagnostics import Diagnostic, closest
from ltrules.errors import InputError
from ltrules.source import COMMAND_LINE

__all__ = ["check"]

#: Most rules derived from one another.
_DEPTH = 30


def check(
    files: Sequence[syntax.File],
    catalog: Catalog,
    read: Reader,
    settings: Mapping[str, str] | None = None,
    standard: Path | None = None,
) -> tuple[model.RuleSet, tuple[Diagnostic, ...]]:
    """Return the rules of some files that check, and all diagnostics.

    `read` parses an imported file; `settings` are values of parameters by "RULE.PARAM" or "PARAM"; `standard` is where
    `std:` imports lie. Raises InputError for a setting that no parameter has.
    """
    problems = Problems()
    checker = _SetChecker(catalog, problems, settings or {}, ScopeBuilder(problems, read, standard))
    scopes = [checker.builder.build(file) for file in files]
    for scope in scopes:
        checker.check_file(scope, qualified=checker.clashes(scope, scopes))
    checker.refuse_unused_settings(has_errors=any(d.severity.fatal for d in problems.found))
    rule_set = model.RuleSet(tuple(checker.rules), tuple(checker.params.values()), catalog.description, catalog.machine)
    return rule_set, tuple(sorted(set(problems.found), key=lambda d: d.order))


class _SetChecker:
    """Checks the rules of several files into one set."""

    def __init__(
        self, catalog: Catalog, problems: Problems, settings: Mapping[str, str], builder: ScopeBuilder
    ) -> None:
        self.problems = problems
        self.builder = builder
        typer = Typer(problems, catalog.machine)
        self.typer = typer
        self.param_reader = ParamReader(problems, typer, settings)
        self.rule_checker = RuleChecker(EventFinder(catalog, problems), typer, problems, self.param_reader)
        self.rules: list[model.Rule] = []
        self.params: dict[str, model.Param] = {}
        self._known: set[str] = set()

    def clashes(self, scope: Scope, scopes: Sequence[Scope]) -> bool:
        """Tell whether another file of the run has a rule of a name that this one has."""
        return any(other is not scope and other.rules.keys() & scope.rules.keys() for other in scopes)

    def check_file(self, scope: Scope, qualified: bool) -> None:
        """Check all rules of a file, and its constants, used or not."""
        source = scope.file.source
        stem = "line" if source.name == COMMAND_LINE else Path(source.name).stem
        for const in scope.consts.values():
            self._try_const(const, scope)
        for item in scope.file.items:
            if not isinstance(item, syntax.Rule | syntax.DerivedRule):
                continue
            if item.name is not None and scope.rules.get(item.name) is not item:
                continue  # a second definition, already reported
            name = item.name or f"{stem}:{item.span.line}"
            if item.name is not None and qualified:
                name = f"{stem}.{name}"
            while name in self._known:
                name += "'"
            self._known.add(name)
            try:
                self._rule(item, name, scope)
            except Mistake:
                continue

    def _try_const(self, const: syntax.Const, scope: Scope) -> None:
        values = const.value.items if isinstance(const.value, syntax.ListExpr) else (const.value,)
        for value in values:
            if isinstance(const.value, syntax.ListExpr) and may_be_symbol(value):
                continue  # the field that the list is compared with will tell
            try:
                self.typer.expr(value, Place(scope, "a const"))
            except Mistake:
                continue

    def _rule(self, item: syntax.Rule | syntax.DerivedRule, name: str, scope: Scope) -> None:
        before = self._errors()
        rule, home, given = self._base(item, scope, 0)
        nodes = [*home.params.values(), *(c for c in rule.clauses if isinstance(c, syntax.Param))]
        params = self.param_reader.read(nodes, name, home, given)
        if isinstance(item, syntax.DerivedRule):
            self._refuse_unknown_arguments(item, params)
        checked = self.rule_checker.check(rule, name, home, params)
        if self._errors() > before:
            raise Mistake  # in a param
        self.rules.append(checked)
        self.params.update((p.name, p) for p in (*params.values(), *self.rule_checker.implied.values()))

    def _errors(self) -> int:
        return sum(d.severity.fatal for d in self.problems.found)

    def _base(
        self, item: syntax.Rule | syntax.DerivedRule, scope: Scope, depth: int
    ) -> tuple[syntax.Rule, Scope, dict[str, tuple[syntax.Expr, Scope]]]:
        """Return the rule that a derived one is made of, the scope it lives in, and its arguments."""
        if isinstance(item, syntax.Rule):
            return item, scope, {}
        home, path = scope.alias(item.base.path)
        if len(path) != 1 or path[0] not in home.rules:
            raise self.problems.unknown(
                "LT203", f"there is no rule `{item.base}`", item.base.span, path[-1], home.rules
            )
        if depth > _DEPTH:
            raise self.problems.note("LT209", f"the rule `{item.name}` is derived from itself", item.base.span)
        rule, found, given = self._base(home.rules[path[0]], home, depth + 1)
        given = {**given, **{a.name: (a.value, scope) for a in item.arguments}}
        title = item.title or rule.title
        renamed = syntax.Rule(rule.span, item.name, item.name_span, title, rule.doc, rule.clauses)
        return renamed, found, given

    def _refuse_unknown_arguments(self, item: syntax.DerivedRule, params: Mapping[str, model.Param]) -> None:
        for argument in item.arguments:
            if argument.name not in params:
                raise self.problems.unknown(
                    "LT203", f"`{item.base}` has no param `{argument.name}`", argument.span, argument.name, params
                )

    def refuse_unused_settings(self, has_errors: bool) -> None:
        """Raise InputError for a setting that met no parameter, unless a rule with mistakes may have had it."""
        for name in self.param_reader.settings:
            if name in self.param_reader.used or has_errors:
                continue
            known = sorted({p.name for p in self.params.values()} | {p.short for p in self.params.values()})
            meant = closest(name, known)
            hint = f"; did you mean `{meant}`?" if meant else ""
            if not meant:
                hint = f" (they have: {', '.join(known)})" if known else " (they have none)"
            raise InputError(f"-p {name}: no rule has this param{hint}")
