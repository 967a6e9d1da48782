"""Values as people read them, and the alerts of a rule from what one measurement carries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple

from ltrules import model, units
from ltrules.alert import Alert, Column, Heading, Scalar
from ltrules.evaluate import evaluate
from ltrules.types import Kind

Show = Callable[[Any], str]


class _Measurement(NamedTuple):
    """What a message may speak of; `values` are those of key, `in` and `out`."""

    values: Sequence[Scalar]
    latency: int
    outcome: str
    late: int
    overdue: int
    suppressed: int


_Get = Callable[[_Measurement], Any]

_BY_KIND: Mapping[Kind, Show] = {
    Kind.DURATION: units.format_duration,
    Kind.SIZE: units.format_size,
    Kind.BOOL: lambda value: "true" if value else "false",
}


def show_expr(value: Scalar, expr: model.Expr) -> str:
    """Return the value of an expression as people read it, through its formatter if it has one."""
    return _shower(expr)(value)


def _shower(expr: model.Expr) -> Show:
    """Return the function that shows the values of an expression."""
    plain = _BY_KIND.get(expr.type.kind, str)
    match expr:
        case model.Formatted(function="disk"):
            return disk
        case model.Formatted(symbols=symbols) | model.Captured(symbols=symbols) if symbols:
            return lambda value: symbols[value] if value in symbols else plain(value)
    return plain


@cache
def disk(dev: int) -> str:
    """Return the name of a block device from its kernel-internal dev_t, or "major:minor" if it is gone."""
    name = f"{dev >> 20}:{dev & 0xFFFFF}"
    try:
        with open(f"/sys/dev/block/{name}/uevent", encoding="ascii", errors="replace") as file:  # noqa: PTH123
            names = [line[8:].strip() for line in file if line.startswith("DEVNAME=")]
    except OSError:
        names = []
    return names[0] if names else name


class AlertMaker:
    """Makes the alerts of one rule. Making one settles all that is the same for every alert."""

    def __init__(self, rule: model.Rule, params: Mapping[str, Scalar]) -> None:
        """Take a rule; `params` are looked up for each message, so that they may change."""
        key, opened = _columns("key", rule.key), _columns("in", rule.opened)
        closed = _columns("out" if rule.pairs else "at", rule.closed)
        self._alert = Heading(rule.name, "alert", rule.severity, (*key, *opened, *closed))
        self._timeout = Heading(rule.name, "timeout", rule.severity, (*key, *opened))
        self._message = _Message(rule, params) if rule.message else None

    def make(
        self, *, timeout: bool, opened: int, closed: int, latency: int, limit: int, outcome: str, late: bool,
        suppressed: int, cpu: int, values: Sequence[Scalar], offset_ns: int,
    ) -> Alert:  # fmt: skip
        """Return an alert. `values` are of key, `in` and `out`; `offset_ns` leads from monotonic to wall time.

        Of a timeout, which has no closing event, neither `outcome` nor the values of `out` mean anything.
        """
        heading, said, overdue, message = self._alert, outcome, 0, ""
        if timeout:
            heading, outcome, said, overdue = self._timeout, "", "timeout", max(latency - limit, 0)
        if self._message:
            message = self._message.text(_Measurement(values, latency, said, late, overdue, suppressed))
        row = tuple(values[: len(heading.columns)])
        wall = closed + offset_ns
        return Alert(heading, opened, closed, wall, latency, limit, outcome, late, cpu, suppressed, message, row)


def _columns(scope: str, values: Sequence[model.Value]) -> list[Column]:
    return [Column(scope, v.name, v.type.kind is Kind.STRING, v.symbols) for v in values]


class _Message:
    """The message of one rule: literal text with places, and for each place a function that gives its text."""

    def __init__(self, rule: model.Rule, params: Mapping[str, Scalar]) -> None:
        self._params = params
        self._starts = {"key": 0, "in": len(rule.key), "out": len(rule.key) + len(rule.opened)}
        pieces = rule.message or ()
        self._template = "".join(p.replace("%", "%%") if isinstance(p, str) else "%s" for p in pieces)
        self._places = [self._place(p) for p in pieces if not isinstance(p, str)]

    def text(self, measurement: _Measurement) -> str:
        """Return the message, filled in."""
        return self._template % tuple([place(measurement) for place in self._places])

    def _place(self, expr: model.Expr) -> _Get:
        get, show = self._getter(expr), _shower(expr)
        return get if show is str else lambda measurement: show(get(measurement))

    def _getter(self, expr: model.Expr) -> _Get:
        """Return the function that gives the value of an expression."""
        match expr:
            case model.Captured(where=where, index=index):
                position = self._starts[where] + index
                return lambda measurement: measurement.values[position]
            case model.Measured(name=name):
                return attrgetter(name)
            case model.Parameter(name=name):
                return lambda measurement: self._params[name]
            case model.Formatted(operand=operand):
                return self._getter(operand)
            case model.Constant() | model.Operation():
                return lambda measurement: evaluate(expr, _Leaves(self._getter, measurement))
        raise AssertionError(f"{expr} has no meaning in a message")


class _Leaves:
    """The environment of an expression in a message."""

    def __init__(self, getter: Callable[[model.Expr], _Get], measurement: _Measurement) -> None:
        self._getter = getter
        self._measurement = measurement

    def value(self, expr: model.Expr) -> Scalar:
        value: Scalar = self._getter(expr)(self._measurement)
        return value
