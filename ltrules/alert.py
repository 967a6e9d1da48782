"""What a session hands out: alerts, and the numbers of each rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

#: A captured or key value: a number or a text.
Scalar = int | str


@dataclass(frozen=True, slots=True)
class Column:
    """A value that alerts carry: a part of the key, or what was captured at "in", "out" or "at" (its `scope`).

    `symbols` are names for its numbers; where `text` is set it is a text.
    """

    scope: str
    name: str
    text: bool
    symbols: Mapping[int, str] = field(default_factory=dict)

    def show(self, value: Scalar) -> Scalar:
        """Return the name of a number that has one, else the value as it is."""
        return self.symbols.get(value, value) if isinstance(value, int) else value


@dataclass(frozen=True, slots=True)
class Heading:
    """What all alerts of one rule and kind have in common; its columns start with those of the key."""

    rule: str
    kind: str
    severity: str
    columns: tuple[Column, ...]

    def __hash__(self) -> int:
        return hash((self.rule, self.kind))  # looked up for every alert: not by all the columns

    @property
    def key_size(self) -> int:
        """Return how many of the columns are the key."""
        return sum(c.scope == "key" for c in self.columns)


class Alert(NamedTuple):
    """One thing to report. Times are in ns of CLOCK_MONOTONIC, `wall_ns` in ns since the epoch.

    `kind` is "alert" (it took longer than `limit_ns`) or "timeout" (it was, or is, open for longer than `limit_ns`).
    `late` tells, for an alert, that its measurement also outlived the timeout; for a timeout, that it was noticed when
    the measurement ended, before the sweep came by. `suppressed` counts what `rate` held back since the last report of
    the rule. `values` are those of the heading's columns.

    Not a dataclass: hundreds of thousands are made in a second, and a tuple is made in a quarter of the time.
    """

    heading: Heading
    opened_ns: int
    closed_ns: int
    wall_ns: int
    latency_ns: int
    limit_ns: int
    outcome: str
    late: bool
    cpu: int
    suppressed: int
    message: str
    values: tuple[Scalar, ...]

    @property
    def rule(self) -> str:
        return self.heading.rule

    @property
    def kind(self) -> str:
        return self.heading.kind

    @property
    def severity(self) -> str:
        return self.heading.severity

    @property
    def id(self) -> str:
        """Return what joins all reports of one measurement."""
        return "-".join([self.rule, f"{self.opened_ns:x}", *map(str, self.key.values())])

    @property
    def key(self) -> dict[str, Scalar]:
        """Return the parts of the key by name."""
        return self._scope("key")

    @property
    def captured(self) -> dict[str, dict[str, Scalar]]:
        """Return what was captured, by scope and name."""
        scopes = dict.fromkeys(c.scope for c in self.heading.columns if c.scope != "key")
        return {scope: self._scope(scope) for scope in scopes}

    @property
    def overdue_ns(self) -> int:
        """Return how long after its deadline a timeout was noticed."""
        return max(self.latency_ns - self.limit_ns, 0)

    def _scope(self, scope: str) -> dict[str, Scalar]:
        return {c.name: v for c, v in zip(self.heading.columns, self.values, strict=True) if c.scope == scope}


@dataclass(frozen=True, slots=True)
class Distribution:
    """One group of a histogram: `counts` of values in [low, high) by bucket, and exact sum and greatest value."""

    group: tuple[str, ...]
    buckets: tuple[tuple[int, int, int], ...]  # (low, high, count), ascending, none empty
    count: int
    total: int
    greatest: int

    def percentile(self, percent: float) -> int:
        """Return the value that `percent` of all values do not exceed, within half a bucket."""
        if not self.count:
            return 0
        rank = max(1, -(-self.count * percent // 100))
        seen = 0
        for low, high, count in self.buckets:
            seen += count
            if seen >= rank:
                return min((low + high - 1) // 2, self.greatest)
        return self.greatest


@dataclass(frozen=True, slots=True)
class HistogramStats:
    """A histogram as read: its unit is "duration", "size" or "int"; `linear` tells how it was asked for."""

    name: str
    unit: str
    linear: bool
    by: tuple[str, ...]
    groups: tuple[Distribution, ...]


@dataclass(frozen=True, slots=True)
class StatisticStats:
    """A statistic as read: (group, value) pairs, largest first."""

    name: str
    function: str
    unit: str
    by: tuple[str, ...]
    groups: tuple[tuple[tuple[str, ...], int], ...]


@dataclass(frozen=True, slots=True)
class RuleStats:
    """The numbers of one rule. `counters` holds those of the plan, and pending and delivered."""

    rule: str
    counters: Mapping[str, int]
    latency: Distribution
    histograms: tuple[HistogramStats, ...]
    statistics: tuple[StatisticStats, ...]

    @property
    def balanced(self) -> bool:
        """Tell whether every opened measurement is accounted for (design: meaning, 3)."""
        c = self.counters
        ends = ("closed", "cancelled", "replaced", "expired", "refused", "pending")
        return c["opened"] == sum(c[name] for name in ends)

    @property
    def losses(self) -> dict[str, int]:
        """Return what this rule lost, by counter; empty when nothing was."""
        return {name: self.counters[name] for name in ("refused", "lost") if self.counters[name]}


@dataclass(frozen=True, slots=True)
class Stats:
    """The numbers of a session: of each rule, and of each program that did not always run.

    `troubles` says in sentences what was wrong with the events that it was given: those of a trace.
    """

    engine: str
    rules: tuple[RuleStats, ...]
    #: Runs that the kernel skipped because another program ran on the same CPU, by probe.
    missed: Mapping[str, int]
    troubles: tuple[str, ...] = ()
