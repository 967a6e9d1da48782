"""Syntax to model: names are resolved, expressions typed, and every mistake is reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ltrules import model, syntax
from ltrules.catalog.events import Catalog
from ltrules.check.expressions import may_be_symbol
from ltrules.check.files import Reader, ScopeBuilder
from ltrules.check.making import RuleMaker
from ltrules.check.problems import Mistake, Problems
from ltrules.check.scope import Place, Scope
from ltrules.diagnostics import Diagnostic, closest
from ltrules.errors import InputError

__all__ = ["check"]


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
    checker.refuse_unused_settings(has_errors=problems.errors > 0)
    rule_set = model.RuleSet(tuple(checker.rules), tuple(checker.params.values()), catalog.description, catalog.machine)
    return rule_set, tuple(sorted(set(problems.found), key=lambda d: d.order))


class _SetChecker:
    """Checks the rules of several files into one set."""

    def __init__(
        self, catalog: Catalog, problems: Problems, settings: Mapping[str, str], builder: ScopeBuilder
    ) -> None:
        self.builder = builder
        self.maker = RuleMaker(catalog, problems, settings)
        self.rules: list[model.Rule] = []
        self.params: dict[str, model.Param] = {}
        self._known: set[str] = set()

    def clashes(self, scope: Scope, scopes: Sequence[Scope]) -> bool:
        """Tell whether another file of the run has a rule of a name that this one has."""
        return any(other is not scope and other.rules.keys() & scope.rules.keys() for other in scopes)

    def check_file(self, scope: Scope, qualified: bool) -> None:
        """Check all rules of a file, and its constants, used or not."""
        for const in scope.consts.values():
            self._try_const(const, scope)
        for item in scope.file.items:
            if not isinstance(item, syntax.Rule | syntax.DerivedRule):
                continue
            if item.name is not None and scope.rules.get(item.name) is not item:
                continue  # a second definition, already reported
            name = scope.name_of(item)
            if item.name is not None and qualified:
                name = f"{scope.stem}.{name}"
            while name in self._known:
                name += "'"
            self._known.add(name)
            try:
                rule, params = self.maker.make(item, name, scope)
            except Mistake:
                continue
            self.rules.append(rule)
            self.params.update((p.name, p) for p in params.values())

    def _try_const(self, const: syntax.Const, scope: Scope) -> None:
        values = const.value.items if isinstance(const.value, syntax.ListExpr) else (const.value,)
        for value in values:
            if isinstance(const.value, syntax.ListExpr) and may_be_symbol(value):
                continue  # the field that the list is compared with will tell
            try:
                self.maker.typer.expr(value, Place(scope, "a const"))
            except Mistake:
                continue

    def refuse_unused_settings(self, has_errors: bool) -> None:
        """Raise InputError for a setting that met no parameter, unless a rule with mistakes may have had it."""
        for name in self.maker.param_reader.settings:
            if name in self.maker.param_reader.used or has_errors:
                continue
            known = sorted({p.name for p in self.params.values()} | {p.short for p in self.params.values()})
            meant = closest(name, known)
            hint = f"; did you mean `{meant}`?" if meant else ""
            if not meant:
                hint = f" (they have: {', '.join(known)})" if known else " (they have none)"
            raise InputError(f"-p {name}: no rule has this param{hint}")
