"""Bytes from the kernel to alerts and numbers, by the layouts of the plan."""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from bpf_codegen import layout, plan
from ltrules import model
from ltrules.alert import Alert, Distribution, Scalar
from ltrules.evaluate import wrap
from ltrules.showing import AlertMaker, show_expr
from ltrules.types import Kind, Type


@lru_cache(4096)  # the same names come again and again
def text_of(data: bytes) -> str:
    """Return a string of the kernel: it ends at the first NUL, and need not be UTF-8."""
    return data.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def wall_offset() -> int:
    """Return what to add to CLOCK_MONOTONIC to get ns since the epoch, now."""
    return time.time_ns() - time.monotonic_ns()


class RecordDecoder:
    """Decodes the records of one rule: an unpack by a format made once, and little more."""

    def __init__(self, rule: model.Rule, planned: plan.Rule, params: Mapping[str, Scalar]) -> None:
        types = [v.type for v in (*rule.key, *rule.opened, *rule.closed)]
        members = (*planned.key, *planned.saved, *planned.closing)
        values = (_value_format(m, t) for m, t in zip(members, types, strict=True))
        self._struct = struct.Struct(f"={layout.HEAD}{''.join(values)}")
        self._texts = [i for i, t in enumerate(types) if t.kind is Kind.STRING]
        self._outcomes = dict(enumerate(rule.outcomes))
        self._maker = AlertMaker(rule, params)

    @property
    def size(self) -> int:
        return self._struct.size

    def decode(self, data: bytes, offset_ns: int) -> Alert:
        """Return the alert of a record; `offset_ns` leads from CLOCK_MONOTONIC to the epoch."""
        _, kind, opened, closed, latency, limit, suppressed, cpu, flags, *values = self._struct.unpack_from(data)
        for i in self._texts:
            values[i] = text_of(values[i])
        return self._maker.make(
            timeout=kind == layout.KIND_TIMEOUT,
            opened=opened,
            closed=closed,
            latency=latency,
            limit=limit,
            outcome=self._outcomes.get(flags >> layout.OUTCOME_SHIFT, ""),
            late=flags & layout.FLAG_LATE != 0,
            suppressed=suppressed,
            cpu=cpu,
            values=values,
            offset_ns=offset_ns,
        )


def _value_format(member: plan.Member, sort: Type) -> str:
    """Return the `struct` format of a value in a record.

    Keys are zero-extended in the kernel: of a narrow signed one only its own bytes are read, so that it finds its sign.
    """
    narrow = {1: "b", 2: "h", 4: "i"}.get(sort.size) if sort.kind is Kind.INT and sort.signed else None
    if narrow is None:
        return layout.member_format([member])
    padding = f"{8 - sort.size}x"
    return narrow + padding if sys.byteorder == "little" else padding + narrow


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
    total = rank = 0
    for row in per_cpu(fmt, data):
        for i, n in enumerate(row[: histogram.buckets]):
            if n:
                totals[i] += n
        total += row[-2]
        rank = max(rank, row[-1])
    buckets = tuple((*bucket_bounds(histogram, i), n) for i, n in enumerate(totals) if n)
    unsigned = histogram.unsigned
    greatest = layout.ranked(rank, unsigned) if buckets else 0
    return Distribution(group, buckets, sum(totals), wrap(total, not unsigned), greatest)


def statistic_value(function: str, data: bytes, unsigned: bool = False) -> int | None:
    """Return the value of a statistic over all CPUs, None for a group without a measurement."""
    rows = [row for row in per_cpu(struct.Struct(layout.STATISTIC), data) if row[0]]
    if not rows:
        return None
    count, total = sum(r[0] for r in rows), wrap(sum(r[1] for r in rows), not unsigned)
    match function:
        case "count":
            return count
        case "sum":
            return total
        case "avg":
            return total // count
        case "min":
            return layout.ranked(min(r[2] for r in rows), unsigned)
        case _:
            return layout.ranked(max(r[3] for r in rows), unsigned)


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
