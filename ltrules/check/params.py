"""Give parameters their values: defaults, those of a derived rule, and settings from the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ltrules import model, syntax
from ltrules.check.expressions import Typer
from ltrules.check.problems import Mistake, Problems
from ltrules.check.scope import Place, Scope
from ltrules.settings import OutOfRangeError, parse_setting
from ltrules.source import Span
from ltrules.types import BOOL, DURATION, INT, SIZE, STRING_BYTES, Type, string

#: Limits are compared as signed 64-bit numbers; tenfold ones too.
MOST_LIMIT_NS = (1 << 63) // 20
TYPES = {"duration": DURATION, "int": INT, "size": SIZE, "bool": BOOL, "string": string(STRING_BYTES)}


#: Values that overrule those of parameters, by short name, each with the scope from which it is read.
Given = Mapping[str, tuple[syntax.Expr, Scope]]


class ParamReader:
    """Reads parameters. `settings` are `-p` values by "RULE.PARAM" or "PARAM"; `used` collects those that met one."""

    def __init__(self, problems: Problems, typer: Typer, settings: Mapping[str, str]) -> None:
        self.problems = problems
        self.typer = typer
        self.settings = settings
        self.used: set[str] = set()

    def read(self, nodes: list[syntax.Param], rule: str, scope: Scope, given: Given) -> dict[str, model.Param]:
        """Return a rule's parameters by short name; mistakes are noted. `given` are the arguments of a derived rule."""
        params: dict[str, model.Param] = {}
        for node in nodes:
            if node.name in params:
                self.problems.note("LT210", f"the param `{node.name}` is defined twice", node.name_span)
                continue
            try:
                params[node.name] = self._param(node, rule, scope, given.get(node.name))
            except Mistake:
                # Keep the name known, so that its uses are not reported too.
                params[node.name] = model.Param(
                    f"{rule}.{node.name}", node.name, TYPES.get(node.type, INT), 0, None, None, node.doc
                )
        return params

    def _param(
        self, node: syntax.Param, rule: str, scope: Scope, given: tuple[syntax.Expr, Scope] | None
    ) -> model.Param:
        if node.type not in TYPES:
            raise self.problems.unavailable(f"a param of type `{node.type}`", node.span)
        sort = TYPES[node.type]
        low, high = (self._bound(bound, sort, scope) for bound in (node.low, node.high))
        value = self._constant(node.default, sort, scope)
        self._check_range(value, low, high, node.default.span)
        if given is not None:
            value = self._constant(given[0], sort, given[1])
            self._check_range(value, low, high, given[0].span)
        param = model.Param(f"{rule}.{node.name}", node.name, sort, value, low, high, node.doc)
        return self._set(param, node.span)

    def limit(
        self, word: str, rule: str, expr: model.Constant, span: Span, given: tuple[syntax.Expr, Scope] | None
    ) -> model.Param:
        """Return the parameter that a constant limit stands for: `-p thresh=2ms` needs no `param` in the rule.

        Raises Mistake for a value that is no duration.
        """
        value = expr.value
        if given is not None:
            value = self._constant(given[0], DURATION, given[1])
            self._check_range(value, 0, MOST_LIMIT_NS, given[0].span)
        return self._set(
            model.Param(f"{rule}.{word}", word, DURATION, value, 0, MOST_LIMIT_NS, f"the rule's `{word}`"), span
        )

    def _set(self, param: model.Param, span: Span) -> model.Param:
        """Return a parameter with the value that the command line gives it, if it does."""
        for name in (param.short, param.name):
            if name in self.settings:
                self.used.add(name)
                try:
                    value = parse_setting(self.settings[name], param)
                except ValueError as error:
                    code = "LT244" if isinstance(error, OutOfRangeError) else "LT218"
                    raise self.problems.note(
                        code, f"-p {name}={self.settings[name]}: {error}", span, "the param is defined here"
                    ) from None
                param = dataclasses.replace(param, value=value)
        return param

    def _bound(self, node: syntax.Expr | None, sort: Type, scope: Scope) -> int | None:
        if node is None:
            return None
        if not sort.numeric:
            raise self.problems.note("LT244", f"a {sort.kind.value} has no range", node.span)
        return int(self._constant(node, sort, scope))

    def _constant(self, node: syntax.Expr, sort: Type, scope: Scope) -> int | str:
        place = Place(scope, "a param")
        expr = self.typer.duration(node, place) if sort is DURATION else self.typer.expr(node, place)
        if expr.type.kind is not sort.kind:
            raise self.problems.note(
                "LT211", f"a param of type {sort.kind.value} needs one", node.span, f"this is {expr.type}"
            )
        if not isinstance(expr, model.Constant):
            raise self.problems.note("LT211", "the value of a param must be a constant", node.span)
        if isinstance(expr.value, str) and len(expr.value.encode()) >= STRING_BYTES:
            raise self.problems.note("LT211", f"a string param holds at most {STRING_BYTES - 1} bytes", node.span)
        return expr.value

    def _check_range(self, value: int | str, low: int | None, high: int | None, span: Span) -> None:
        if low is not None and high is not None and not low <= int(value) <= high:
            raise self.problems.note("LT244", f"`{span.text}` is outside the range of the param", span)
