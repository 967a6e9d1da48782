"""Make a rule of the model from one as written: with its parameters, and derived from another if need be."""

from __future__ import annotations

from collections.abc import Mapping

from ltrules import model, syntax
from ltrules.catalog.events import Catalog
from ltrules.check.events import EventFinder
from ltrules.check.expressions import Typer
from ltrules.check.params import Given, ParamReader
from ltrules.check.problems import Mistake, Problems
from ltrules.check.rules import RuleChecker
from ltrules.check.scope import Scope

#: Most rules derived from one another.
_DEPTH = 30


class RuleMaker:
    """Makes rules against one catalog. `settings` are values of parameters by "RULE.PARAM" or "PARAM"."""

    def __init__(self, catalog: Catalog, problems: Problems, settings: Mapping[str, str]) -> None:
        self.problems = problems
        self.finder = EventFinder(catalog, problems)
        self.typer = Typer(problems, catalog.machine)
        self.param_reader = ParamReader(problems, self.typer, settings)
        self._checker = RuleChecker(self.finder, self.typer, problems, self.param_reader)

    def make(
        self, item: syntax.Rule | syntax.DerivedRule, name: str, scope: Scope, given: Given | None = None
    ) -> tuple[model.Rule, dict[str, model.Param]]:
        """Return a rule under a name, and its parameters by short name; `given` overrules their values.

        Raises Mistake when it has noted what keeps the rule from running.
        """
        before = self.problems.errors
        rule, home, arguments = self.base(item, scope)
        nodes = [*home.params.values(), *(c for c in rule.clauses if isinstance(c, syntax.Param))]
        values = {**arguments, **(given or {})}
        params = self.param_reader.read(nodes, name, home, values)
        if isinstance(item, syntax.DerivedRule):
            self._refuse_unknown_arguments(item, params)
        checked = self._checker.check(rule, name, home, params, values)
        if self.problems.errors > before:
            raise Mistake  # in a param
        return checked, {**params, **self._checker.implied}

    def base(
        self, item: syntax.Rule | syntax.DerivedRule, scope: Scope, depth: int = 0
    ) -> tuple[syntax.Rule, Scope, Given]:
        """Return the rule that a derived one is made of, the scope it lives in, and its arguments. Raises Mistake."""
        if isinstance(item, syntax.Rule):
            return item, scope, {}
        home, path = scope.alias(item.base.path)
        if len(path) != 1 or path[0] not in home.rules:
            raise self.problems.unknown(
                "LT203", f"there is no rule `{item.base}`", item.base.span, path[-1], home.rules
            )
        if depth > _DEPTH:
            raise self.problems.note("LT209", f"the rule `{item.name}` is derived from itself", item.base.span)
        rule, found, given = self.base(home.rules[path[0]], home, depth + 1)
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
