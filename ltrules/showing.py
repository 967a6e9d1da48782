"""Values as people read them, and the alerts of a rule from what one measurement carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ltrules import model, units
from ltrules.alert import Alert, Scalar
from ltrules.evaluate import evaluate
from ltrules.types import Kind, Type


def show(value: Scalar, expr_type: Type, symbols: Mapping[int, str] | None = None) -> str:
    """Return a value as people read it."""
    if isinstance(value, str):
        return value
    if symbols and value in symbols:
        return symbols[value]
    match expr_type.kind:
        case Kind.DURATION:
            return units.format_duration(value)
        case Kind.SIZE:
            return units.format_size(value)
        case Kind.BOOL:
            return "true" if value else "false"
    return str(value)


def show_expr(value: Scalar, expr: model.Expr) -> str:
    """Return the value of an expression as people read it, through its formatter if it has one."""
    match expr:
        case model.Formatted(function="disk"):
            return disk(int(value))
        case model.Formatted(symbols=symbols):
            return show(value, expr.type, symbols)
        case model.Captured(symbols=symbols):
            return show(value, expr.type, symbols)
    return show(value, expr.type)


_DISKS: dict[int, str] = {}


def disk(dev: int) -> str:
    """Return the name of a block device from its kernel-internal dev_t, or "major:minor" if it is gone."""
    if dev not in _DISKS:
        name = f"{dev >> 20}:{dev & 0xFFFFF}"
        try:
            with open(f"/sys/dev/block/{name}/uevent", encoding="ascii", errors="replace") as file:  # noqa: PTH123
                names = [line[8:].strip() for line in file if line.startswith("DEVNAME=")]
        except OSError:
            names = []
        _DISKS[dev] = names[0] if names else name
    return _DISKS[dev]


class _Values:
    """The environment of a message: the values of one alert, and the parameters."""

    def __init__(self, params: Mapping[str, Scalar]) -> None:
        self.params = params
        self.row: dict[str, Sequence[Scalar]] = {}
        self.measured: dict[str, Scalar] = {}

    def value(self, expr: model.Expr) -> Scalar:
        match expr:
            case model.Captured(where=where, index=index):
                return self.row[where][index]
            case model.Measured(name=name):
                return self.measured[name]
            case model.Parameter(name=name):
                return self.params[name]
        raise AssertionError(expr)


class AlertMaker:
    """Makes the alerts of one rule."""

    def __init__(self, rule: model.Rule, params: Mapping[str, Scalar]) -> None:
        self.rule = rule
        self._parts: list[tuple[str, str, Sequence[model.Value]]] = [
            ("key", "key", rule.key),
            ("in", "in", rule.opened),
            ("out", "out" if rule.pairs else "at", rule.closed),
        ]
        self._values = _Values(params)

    def make(
        self, *, timeout: bool, opened: int, closed: int, latency: int, limit: int, outcome: str, late: bool,
        suppressed: int, cpu: int, values: Sequence[Scalar], offset_ns: int,
    ) -> Alert:  # fmt: skip
        """Return an alert. `values` are of key, `in` and `out`; `offset_ns` leads from monotonic to wall time.

        Of a timeout, which has no closing event, neither `outcome` nor the values of `out` mean anything.
        """
        captured: dict[str, dict[str, Scalar]] = {}
        row: dict[str, Sequence[Scalar]] = {}
        key: dict[str, Scalar] = {}
        shown: dict[str, str] = {}
        start = 0
        for where, label, parts in self._parts:
            part = values[start : start + len(parts)]
            start += len(parts)
            row[where] = part
            named = {v.name: x for v, x in zip(parts, part, strict=True)}
            if where == "key":
                key = named
            elif parts and not (where == "out" and timeout):
                captured[label] = named
            for v, x in zip(parts, part, strict=True):
                if v.symbols and x in v.symbols:
                    shown[f"{label}.{v.name}"] = v.symbols[int(x)]
        self._values.row = row
        self._values.measured = {
            "latency": latency,
            "outcome": "timeout" if timeout else outcome,
            "late": int(late),
            "overdue": max(latency - limit, 0) if timeout else 0,
            "suppressed": suppressed,
        }
        return Alert(
            rule=self.rule.name,
            kind="timeout" if timeout else "alert",
            severity=self.rule.severity,
            id="-".join([self.rule.name, f"{opened:x}", *(str(k) for k in key.values())]),
            opened_ns=opened,
            closed_ns=closed,
            wall_ns=closed + offset_ns,
            latency_ns=latency,
            limit_ns=limit,
            outcome="" if timeout else outcome,
            late=late,
            cpu=cpu,
            key=key,
            captured=captured,
            suppressed=suppressed,
            message=self._message(),
            shown=shown,
        )

    def _message(self) -> str:
        if self.rule.message is None:
            return ""
        pieces = (p if isinstance(p, str) else show_expr(evaluate(p, self._values), p) for p in self.rule.message)
        return "".join(pieces)
