"""Give parameters their values: defaults, those of a derived rule, and settings from the command line."""

from __future__ import annotations

from collections.abc import Mapping

from ltrules import model, syntax, units
from ltrules.check.expressions import Typer
from ltrules.check.problems import Mistake, Problems
from ltrules.check.scope import Place, Scope
from ltrules.source import Span
from ltrules.types import BOOL, DURATION, INT, SIZE, STRING_BYTES, Kind, Type, string

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
        for name in (node.name, f"{rule}.{node.name}"):
            if name in self.settings:
                self.used.add(name)
                value = self._setting(name, self.settings[name], sort, node.span)
                if low is not None and high is not None and not low <= int(value) <= high:
                    text = f"{_show(low, sort)} to {_show(high, sort)}"
                    raise self.problems.note("LT244", f"-p {name}: {_show(value, sort)} is outside {text}", node.span)
        return model.Param(f"{rule}.{node.name}", node.name, sort, value, low, high, node.doc)

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

    def _setting(self, name: str, text: str, sort: Type, span: Span) -> int | str:
        try:
            return parse_setting(text, sort)
        except ValueError as error:
            raise self.problems.note("LT218", f"-p {name}={text}: {error}", span, "the param is defined here") from None


def parse_setting(text: str, sort: Type) -> int | str:
    """Return the value of a parameter as given on the command line. Raises ValueError with the reason."""
    match sort.kind:
        case Kind.DURATION:
            return units.parse_duration(text)
        case Kind.SIZE:
            return units.parse_size(text)
        case Kind.BOOL:
            if text not in ("true", "false"):
                raise ValueError("write true or false")
            return int(text == "true")
        case Kind.STRING:
            if len(text.encode()) >= STRING_BYTES or "\0" in text:
                raise ValueError(f"at most {STRING_BYTES - 1} bytes")
            return text
        case _:
            try:
                value = int(text, 0)
            except ValueError:
                raise ValueError("not a whole number") from None
            if not -(1 << 63) <= value < 1 << 63:
                raise ValueError("does not fit in 64 bits")
            return value


def _show(value: int | str, sort: Type) -> str:
    return units.format_duration(int(value)) if sort.kind is Kind.DURATION else str(value)
