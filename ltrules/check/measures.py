"""Check what a rule counts and says: `hist`, `stat` and `message`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from ltrules import model, syntax, template
from ltrules.check.expressions import Typer
from ltrules.check.problems import Mistake, Problems
from ltrules.check.scope import Place
from ltrules.diagnostics import Diagnostic
from ltrules.evaluate import Constants, evaluate
from ltrules.parse import parse_expression
from ltrules.source import Span
from ltrules.types import INT, Kind

#: Most buckets of a linear histogram: what fits in one per-CPU value.
MOST_BUCKETS = 4000


class MeasureChecker:
    """Checks the clauses that count and the one that speaks."""

    def __init__(self, typer: Typer, problems: Problems, params: Mapping[str, model.Param]) -> None:
        self.typer = typer
        self.problems = problems
        self.values = Constants({p.name: p.value for p in params.values()})

    def histograms(self, clauses: Sequence[syntax.Hist], place: Place) -> Iterator[model.Histogram]:
        """Iterate over the checked histograms; mistakes are noted and left out."""
        names: dict[str, Span] = {}
        for clause in clauses:
            try:
                value = self._number(clause.value, dataclasses.replace(place, what="`hist`"))
                by, by_names = self._by(clause.by, place)
                low, high, step = self._scale(clause.scale, value, place)
            except Mistake:
                continue
            name = clause.name or _title(clause.value, by_names)
            if self._unique(names, name, clause):
                yield model.Histogram(name, value, by, by_names, low, high, step)

    def statistics(self, clauses: Sequence[syntax.Stat], place: Place) -> Iterator[model.Statistic]:
        """Iterate over the checked statistics; mistakes are noted and left out."""
        names: dict[str, Span] = {}
        for clause in clauses:
            try:
                value: model.Expr = model.Constant(INT, 1)
                if clause.value is not None:
                    value = self._number(clause.value, dataclasses.replace(place, what="`stat`"))
                by, by_names = self._by(clause.by, place)
            except Mistake:
                continue
            default = clause.function if clause.value is None else f"{clause.function} {clause.value.span.text}"
            name = clause.name or default + (f" by {', '.join(by_names)}" if by_names else "")
            if self._unique(names, name, clause):
                yield model.Statistic(name, clause.function, value, by, by_names)

    def message(self, clause: syntax.Message | None, place: Place) -> tuple[str | model.Expr, ...] | None:
        """Return the pieces of a message, None if the rule has none; mistakes are noted."""
        if clause is None:
            return None
        measured = frozenset({"latency", "outcome", "late", "overdue", "suppressed", "breakdown"})
        inside = dataclasses.replace(place, what="`message`", measured=measured, user=True)
        pieces: list[str | model.Expr] = []
        for piece in template.split_message(clause.text):
            if isinstance(piece, str):
                pieces.append(piece)
                continue
            node = parse_expression(piece.source, piece.start, piece.end)
            if isinstance(node, Diagnostic):
                self.problems.found.append(node)
                continue
            try:
                pieces.append(self.typer.expr(node, inside))
            except Mistake:
                continue
        return tuple(pieces)

    def _number(self, node: syntax.Expr, place: Place) -> model.Expr:
        expr = self.typer.expr(node, place)
        if not expr.type.numeric:
            raise self.problems.note("LT211", f"{place.what} counts numbers", node.span, f"this is of type {expr.type}")
        return expr

    def _by(self, items: Sequence[syntax.Item], place: Place) -> tuple[tuple[model.Expr, ...], tuple[str, ...]]:
        inside = dataclasses.replace(place, what="`by`", user=True)
        exprs = tuple(self.typer.expr(item.expr, inside) for item in items)
        for item, expr in zip(items, exprs, strict=True):
            for node in model.walk(expr):
                if isinstance(node, model.Formatted) and node is not expr:
                    raise self.problems.note(
                        "LT213",
                        f"`{node.function}()` must be the whole of a group",
                        item.span,
                        "it is computed in user space",
                    )
        return exprs, tuple(item.name or item.expr.span.text for item in items)

    def _scale(self, scale: syntax.Scale | None, value: model.Expr, place: Place) -> tuple[int, int, int]:
        if scale is None or scale.kind == "log2":
            return 0, 0, 0
        inside = dataclasses.replace(place, what="`linear`", key=None, opened=None, closed=None, measured=frozenset())
        bounds = []
        for node in scale.bounds:
            expr = self.typer.expr(node, inside)
            if expr.type.kind is not value.type.kind and {expr.type.kind, value.type.kind} != {Kind.INT, Kind.SIZE}:
                raise self.problems.note(
                    "LT211", f"`linear` of {value.type} needs bounds of that type", node.span, f"this is {expr.type}"
                )
            bounds.append(int(evaluate(expr, self.values)))
        low, high, step = bounds
        if step <= 0 or high <= low or -(-(high - low) // step) > MOST_BUCKETS:
            raise self.problems.note(
                "LT244", f"`linear(low, high, step)` needs low < high and 1 to {MOST_BUCKETS} steps", scale.span
            )
        return low, high, step

    def _unique(self, names: dict[str, Span], name: str, clause: syntax.Clause) -> bool:
        if name in names:
            self.problems.note("LT210", f"two are called `{name}`", clause.span, related=[(names[name], "the first")])
            return False
        names[name] = clause.span
        return True


def _title(value: syntax.Expr, by: Sequence[str]) -> str:
    return value.span.text + (f" by {', '.join(by)}" if by else "")
