"""Check the values in braces of a test: those of an event, and those that a report must have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ltrules import cases, model, syntax
from ltrules.alert import Scalar
from ltrules.catalog.events import Event, Field, Shape
from ltrules.check.expressions import Typer
from ltrules.check.names import CONTEXT, no_symbols
from ltrules.check.problems import Mistake, Problems
from ltrules.check.rules import SEVERITIES
from ltrules.check.scope import Place, Scope
from ltrules.source import Span
from ltrules.traces.event import TraceEvent
from ltrules.types import BOOL, DURATION, INT, STRING_BYTES, Kind, Type, string

#: What a report knows of itself. Strings are compared whole: a message may have any length.
_TEXT = string(1 << 20)
_REPORT = {
    "at": DURATION,
    "opened": DURATION,
    "latency": DURATION,
    "overdue": DURATION,
    "late": BOOL,
    "suppressed": INT,
    "outcome": _TEXT,
    "cpu": INT,
    "severity": _TEXT,
    "message": _TEXT,
}
#: Of the running context, what is not given in braces: the time stands after `at`.
_CLOCKS = ("mono", "boot")
#: Those that only one kind of report has.
_ONLY = {"overdue": "timeout", "outcome": "alert"}


class ValueChecker:
    """Checks the values of one file's tests. Names in values are constants of `scope`."""

    def __init__(self, scope: Scope, typer: Typer, problems: Problems) -> None:
        self.typer = typer
        self.problems = problems
        self._scope = scope
        # What is before `=` is named as a rule names it, with nothing of the file in the way.
        self._bare = Scope(scope.file)

    # -------------------------------------------------------------------------------- events
    def event(self, step: syntax.TestEvent, event: Event) -> TraceEvent:
        """Return what happens at a step: the values given, and 0 or "" for all others. Raises Mistake."""
        fields = dict(_empty(event.fields.values()))
        context: dict[str, Scalar] = {
            name: "" if sort.kind is Kind.STRING else 0 for name, sort in CONTEXT.values() if name not in _CLOCKS
        }
        self._each_once(step.bindings)
        failed = False
        for binding in step.bindings:
            try:
                name, value = self._given(binding, event)
            except Mistake:
                failed = True
                continue
            (context if isinstance(name, model.Context) else fields)[_name(name)] = value
        if failed:
            raise Mistake
        return TraceEvent(step.time_ns, event.full_name, int(context["cpu"]), context, fields)

    def _given(self, binding: syntax.Binding, event: Event) -> tuple[model.Expr, Scalar]:
        name = binding.name
        place = Place(self._bare, "a test", event=event)
        if name.path[0] == "time" and len(name.path) > 1:
            raise self.problems.note(
                "LT203", f"`{name}` is not given in braces", name.span, "the time of an event stands after `at`"
            )
        if binding.index is None:
            target = self.typer.names.resolve(name, place, no_symbols)
        else:
            target = self.typer.names.element(syntax.Index(name.span, name, binding.index), place)
        match target:
            case model.EventField(type=sort, field=field):
                size = min(field.size, STRING_BYTES) if field.shape is Shape.STRING else STRING_BYTES
                sort = string(size) if sort.kind is Kind.STRING else sort
                return target, self._value(binding, sort, field.symbols)
            case model.Context(type=sort):
                return target, self._value(binding, sort)
        raise self.problems.note("LT203", f"`{name}` is not a value of an event", name.span)

    # ------------------------------------------------------------------------------- reports
    def wanted(
        self, step: syntax.TestExpect, kind: str, rule: model.Rule, labels: Mapping[str, str]
    ) -> tuple[cases.Wanted, ...]:
        """Return the values that a report of a rule must have. Raises Mistake."""
        self._each_once(step.bindings)
        found = []
        for binding in step.bindings:
            where, name, sort, symbols = self._of_report(binding, kind, rule, labels)
            value = self._value(binding, sort, symbols)
            self._refuse_unknown(name if not where else "", value, rule, binding.value.span)
            found.append(cases.Wanted(where, name, sort, symbols, value, binding.value.span))
        return tuple(found)

    def _of_report(
        self, binding: syntax.Binding, kind: str, rule: model.Rule, labels: Mapping[str, str]
    ) -> tuple[str, str, Type, Mapping[int, str]]:
        """Return where a name of a report is to be found, and its type."""
        name = binding.name
        if binding.index is not None:
            raise self.problems.note("LT203", "a report holds no arrays", binding.span, "name what was captured")
        if name.path[0] in _REPORT and len(name.path) == 1:
            if _ONLY.get(name.path[0], kind) != kind:
                raise self.problems.note(
                    "LT203", f"`{name}` is known of {_ONLY[name.path[0]]}s only", name.span, f"this expects a {kind}"
                )
            return "", name.path[0], _REPORT[name.path[0]], no_symbols
        place = Place(
            self._bare,
            f"a{'n' * (kind == 'alert')} {kind} of `{rule.name}`",
            key=rule.key,
            opened=rule.opened,
            closed=rule.closed if kind == "alert" else None,
            labels=labels,
        )
        if name.path[0] not in ("key", "in", "out", "at", *labels) or (len(name.path) == 1 and name.path[0] != "key"):
            raise self._unknown(name, place)
        match self.typer.names.resolve(name, place, no_symbols):
            case model.Captured(type=sort, where=where, index=index, symbols=symbols):
                values = {"key": rule.key, "in": rule.opened, "out": rule.closed}[where]
                return "at" if where == "out" and not rule.pairs else where, values[index].name, sort, symbols
        raise self._unknown(name, place)

    def _unknown(self, name: syntax.Name, place: Place) -> Mistake:
        captured = {
            scope: [f"{scope}.{v.name}" for v in values or ()]
            for scope, values in (("in", place.opened), ("out", place.closed), ("key", place.key))
        }
        known = ["key", *(n for names in captured.values() for n in names), *_REPORT]
        meant = next((n for n in known if n.split(".")[-1] == str(name)), None)
        return self.problems.unknown(
            "LT203",
            f"`{name}` is not known of {place.what}",
            name.span,
            meant or str(name),
            known,
            notes=[f"known: {', '.join(known)}"],
        )

    def _refuse_unknown(self, name: str, value: Scalar, rule: model.Rule, span: Span) -> None:
        for of, choices in (("outcome", rule.outcomes), ("severity", SEVERITIES)):
            if name == of and value not in choices:
                inside = Span(span.source, span.start + 1, span.end - 1)
                raise self.problems.unknown(
                    "LT203",
                    f"`{rule.name}` has no {of} `{value}`",
                    inside,
                    str(value),
                    choices,
                    notes=[f"known: {', '.join(choices)}"],
                )

    # -------------------------------------------------------------------------------- values
    def _each_once(self, bindings: Iterable[syntax.Binding]) -> None:
        places: dict[tuple[str, int | None], Span] = {}
        for binding in bindings:
            name = str(binding.name).removeprefix("ev."), binding.index.value if binding.index else None
            if name in places:
                raise self.problems.note(
                    "LT210",
                    f"`{binding.name}` is given twice",
                    binding.span,
                    related=[(places[name], "the first time")],
                )
            places[name] = binding.span

    def _value(self, binding: syntax.Binding, sort: Type, symbols: Mapping[int, str] = no_symbols) -> Scalar:
        """Return the value of a binding, which must be a constant that its type can hold."""
        node, what = binding.value, f"`{binding.name}`"
        place = Place(self._scope, what)
        expr = self.typer.duration(node, place) if sort is DURATION else self.typer.expr(node, place, symbols)
        kinds = {expr.type.kind, sort.kind}
        if len(kinds) > 1 and kinds != {Kind.INT, Kind.SIZE}:
            raise self.problems.note(
                "LT211", f"{what} is of type {sort.kind.value}", node.span, f"this is of type {expr.type.kind.value}"
            )
        if not isinstance(expr, model.Constant):
            raise self.problems.note("LT211", f"the value of {what} must be a constant", node.span)
        if isinstance(expr.value, str):
            if len(expr.value.encode()) >= sort.size:
                raise self.problems.note("LT244", f"{what} holds at most {sort.size - 1} bytes", node.span)
            return expr.value
        low, high = _range(sort)
        if not low <= expr.value <= high:
            raise self.problems.note("LT244", f"{what} is between {low} and {high}", node.span)
        return expr.value


def _name(target: model.Expr) -> str:
    match target:
        case model.EventField(field=field):
            return field.name
        case model.Context(name=name):
            return name
    raise AssertionError(target)


def _range(sort: Type) -> tuple[int, int]:
    """Return the least and the greatest value that a number of a type has."""
    if sort.kind is Kind.BOOL:
        return 0, 1
    bits = 8 * sort.size
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if sort.signed else (0, (1 << bits) - 1)


def _empty(fields: Iterable[Field]) -> Iterator[tuple[str, Scalar]]:
    """Iterate over the fields that rules can read, each with 0 or ""."""
    for field in fields:
        match field.shape:
            case Shape.INT:
                yield field.name, 0
            case Shape.STRING | Shape.DYNAMIC_STRING:
                yield field.name, ""
            case Shape.OTHER if field.element_size:
                yield from ((f"{field.name}[{i}]", 0) for i in range(field.size // field.element_size))
