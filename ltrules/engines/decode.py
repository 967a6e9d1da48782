"""Bytes from the kernel to alerts and numbers, by the layouts of the plan."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping, Sequence

from bpf_codegen import layout, plan
from ltrules import model, units
from ltrules.alert import Alert, Distribution, Scalar
from ltrules.evaluate import evaluate
from ltrules.types import Kind, Type


def text_of(data: bytes) -> str:
    """Return a string of the kernel: it ends at the first NUL, and need not be UTF-8."""
    return data.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


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


def wall_offset() -> int:
    """Return what to add to CLOCK_MONOTONIC to get ns since the epoch, now."""
    return time.time_ns() - time.monotonic_ns()


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


class RecordDecoder:
    """Decodes the records of one rule. Making one compiles its formats; decoding is one unpack and little more."""

    def __init__(self, rule: model.Rule, planned: plan.Rule, params: Mapping[str, Scalar]) -> None:
        self.rule = rule
        self._struct = struct.Struct(layout.record_format(planned))
        self._parts: list[tuple[str, str, Sequence[model.Value]]] = [
            ("key", "key", rule.key),
            ("in", "in", rule.opened),
            ("out", "out" if rule.pairs else "at", rule.closed),
        ]
        self._sizes = [v.type for _, _, values in self._parts for v in values]
        self._values = _Values(params)

    @property
    def size(self) -> int:
        return self._struct.size

    def decode(self, data: bytes, offset_ns: int) -> Alert:
        """Return the alert of a record; `offset_ns` leads from CLOCK_MONOTONIC to the epoch."""
        fields = self._struct.unpack_from(data)
        _, kind, opened, closed, latency, limit, suppressed, cpu, flags = fields[:9]
        values = [self._scalar(v, t) for v, t in zip(fields[9:], self._sizes, strict=True)]
        captured: dict[str, dict[str, Scalar]] = {}
        row: dict[str, Sequence[Scalar]] = {}
        key: dict[str, Scalar] = {}
        shown: dict[str, str] = {}
        start = 0
        timeout = kind == layout.KIND_TIMEOUT
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
        late = bool(flags & layout.FLAG_LATE)
        outcome = "" if timeout else self.rule.outcomes[flags >> layout.OUTCOME_SHIFT]
        self._values.row = row
        self._values.measured = {
            "latency": latency,
            "outcome": outcome or "timeout",
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
            outcome=outcome,
            late=late,
            cpu=cpu,
            key=key,
            captured=captured,
            suppressed=suppressed,
            message=self._message(),
            shown=shown,
        )

    def _scalar(self, value: int | bytes, sort: Type) -> Scalar:
        if isinstance(value, bytes):
            return text_of(value)
        if sort.kind is Kind.INT and sort.signed and sort.size < 8 and value >> (8 * sort.size - 1) == 1:
            # Keys are zero-extended in the kernel: a narrow signed one finds its sign again.
            return value - (1 << (8 * sort.size))
        return value

    def _message(self) -> str:
        if self.rule.message is None:
            return ""
        pieces = (p if isinstance(p, str) else show_expr(evaluate(p, self._values), p) for p in self.rule.message)
        return "".join(pieces)


# ------------------------------------------------------------------------------------ numbers
def per_cpu(fmt: struct.Struct, data: bytes) -> Iterator[tuple[int, ...]]:
    """Iterate over the values of a per-CPU map, one CPU after the other."""
    step = -(-fmt.size // 8) * 8
    for start in range(0, len(data), step):
        yield fmt.unpack_from(data, start)


def bucket_bounds(histogram: plan.Histogram, index: int) -> tuple[int, int]:
    """Return the range [low, high) of a bucket; open ends are as wide as a neighbour."""
    if histogram.step:
        low = histogram.low + (index - 1) * histogram.step
        return low, low + histogram.step
    if index < plan.SUB_BUCKETS:
        return index, index + 1
    exponent, sub = index // plan.SUB_BUCKETS + 3, index % plan.SUB_BUCKETS
    width = 1 << (exponent - 4)
    low = (plan.SUB_BUCKETS + sub) * width
    return low, low + width


def distribution(histogram: plan.Histogram, group: tuple[str, ...], data: bytes) -> Distribution:
    """Return one group of a histogram, added up over the CPUs."""
    fmt = struct.Struct(layout.histogram_format(histogram))
    totals = [0] * histogram.buckets
    total = greatest = 0
    for row in per_cpu(fmt, data):
        for i, n in enumerate(row[: histogram.buckets]):
            if n:
                totals[i] += n
        total += row[-2]
        greatest = max(greatest, row[-1])
    buckets = tuple((*bucket_bounds(histogram, i), n) for i, n in enumerate(totals) if n)
    return Distribution(group, buckets, sum(totals), total, greatest)


def statistic_value(function: str, data: bytes) -> int | None:
    """Return the value of a statistic over all CPUs, None for a group without a measurement."""
    rows = [row for row in per_cpu(struct.Struct(layout.STATISTIC), data) if row[0]]
    if not rows:
        return None
    count, total = sum(r[0] for r in rows), sum(r[1] for r in rows)
    match function:
        case "count":
            return count
        case "sum":
            return total
        case "avg":
            return total // count
        case "min":
            return min(r[2] for r in rows)
        case _:
            return max(r[3] for r in rows)


def group_names(
    group: plan.Group, exprs: Sequence[model.Expr], outcomes: Sequence[str], entries: Iterator[tuple[bytes, bytes]]
) -> dict[int, tuple[str, ...]]:
    """Return the names of a histogram's groups by number; 0 is the group of all others."""
    fmt = struct.Struct("=" + layout.member_format(group.members))
    names = {0: ("(other)",) * len(exprs)}
    for key, number in entries:
        values = fmt.unpack(key)
        names[int.from_bytes(number, "little" if struct.pack("=H", 1)[0] else "big")] = tuple(
            _group_value(v, e, outcomes) for v, e in zip(values, exprs, strict=True)
        )
    return names


def _group_value(value: int | bytes, expr: model.Expr, outcomes: Sequence[str]) -> str:
    if isinstance(value, bytes):
        return text_of(value)
    if isinstance(expr, model.Measured) and expr.name == "outcome":
        return outcomes[value] if value < len(outcomes) else str(value)
    return show_expr(value, expr)


def unit_of(expr: model.Expr) -> str:
    """Return the unit of a counted expression: "duration", "size" or "int"."""
    return expr.type.kind.value
