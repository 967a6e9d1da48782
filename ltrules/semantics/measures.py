"""What a rule counts beside its measurements: histograms, statistics, their groups, and how often it may report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from ltrules import model
from ltrules.alert import Distribution, HistogramStats, Scalar, StatisticStats
from ltrules.evaluate import is_unsigned, wrap
from ltrules.semantics.expressions import MEASUREMENT, Writer, function, row
from ltrules.showing import show_expr

#: Most groups of one `by`; what belongs to a further one belongs to the group of all others.
MOST_GROUPS = 128
#: The values of a `by`; None stands for all others.
Group = tuple[Scalar, ...] | None

#: A log-linear histogram has so many buckets for each power of two, up to 2**44; all further values are in the last.
_SUB_BUCKETS = 16
_LAST = 655
#: Less than any number of 64 bits.
_LEAST = -(1 << 64)


def bucket_of(value: int) -> int:
    """Return the number of a value's log-linear bucket: how often it is halved to be below 32, and what remains."""
    if value < 0:
        return 0
    halved = value.bit_length() - 5
    if halved <= 0:
        return value
    return halved * _SUB_BUCKETS + (value >> halved) if halved < 40 else _LAST


def bucket_bounds(number: int) -> tuple[int, int]:
    """Return the range [low, high) of a log-linear bucket."""
    if number < _SUB_BUCKETS:
        return number, number + 1
    width = 1 << number // _SUB_BUCKETS - 1
    low = (_SUB_BUCKETS + number % _SUB_BUCKETS) * width
    return low, low + width


class Spread:
    """How the values of one group are spread: counts by bucket, the greatest, and the sum, 64 bits wide."""

    def __init__(self, bucket: Callable[[int], int] = bucket_of, *, signed: bool = False) -> None:
        self._bucket = bucket
        self._signed = signed
        self._counts: defaultdict[int, int] = defaultdict(int)
        self._total = 0
        self._greatest = _LEAST

    def add(self, value: int) -> None:
        """Count one value."""
        self._counts[self._bucket(value)] += 1
        self._total += value
        if value > self._greatest:
            self._greatest = value

    def distribution(
        self, group: tuple[str, ...] = (), bounds: Callable[[int], tuple[int, int]] = bucket_bounds
    ) -> Distribution:
        """Return what was counted."""
        buckets = tuple((*bounds(number), count) for number, count in sorted(self._counts.items()))
        greatest = self._greatest if buckets else 0
        return Distribution(group, buckets, sum(self._counts.values()), wrap(self._total, self._signed), greatest)


class Groups:
    """The groups of one `by`: the first MOST_GROUPS that come."""

    def __init__(self, text: str) -> None:
        self._of = function(MEASUREMENT, text)
        self._known: set[Group] = set()

    def find(self, *measurement: Any) -> Group:
        """Return the group of a measurement."""
        group: Group = self._of(*measurement)
        if group not in self._known:
            if len(self._known) >= MOST_GROUPS:
                return None
            self._known.add(group)
        return group


class GroupFinder:
    """The groups of a rule: who groups by the same values shares them."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._made: dict[str, Groups] = {}

    def find(self, by: Sequence[model.Expr]) -> Groups:
        """Return the groups of a `by`."""
        text = row(map(self._writer.value, by))
        return self._made.setdefault(text, Groups(text))


def group_name(group: Group, by: Sequence[model.Expr]) -> tuple[str, ...]:
    """Return a group as people read it."""
    if group is None:
        return ("(other)",) * len(by)
    return tuple(show_expr(value, expr) for value, expr in zip(group, by, strict=True))


class Histogram:
    """One `hist` clause."""

    def __init__(self, clause: model.Histogram, writer: Writer, groups: Groups) -> None:
        self._clause = clause
        self._value = function(MEASUREMENT, writer.value(clause.value))
        self._groups = groups
        self._signed = not is_unsigned([clause.value.type])
        self._spreads: dict[Group, Spread] = {}

    def add(self, *measurement: Any) -> None:
        """Count a finished measurement."""
        group = self._groups.find(*measurement)
        if group not in self._spreads:
            self._spreads[group] = Spread(self._step if self._clause.step else bucket_of, signed=self._signed)
        self._spreads[group].add(self._value(*measurement))

    def _step(self, value: int) -> int:
        """Return the number of a value's linear bucket; there is one more at either end."""
        low, high, step = self._clause.low, self._clause.high, self._clause.step
        return 0 if value < low else 1 + min((value - low) // step, -(-(high - low) // step))

    def _step_bounds(self, number: int) -> tuple[int, int]:
        low = self._clause.low + (number - 1) * self._clause.step
        return low, low + self._clause.step

    def stats(self) -> HistogramStats:
        """Return what was counted."""
        clause = self._clause
        bounds = self._step_bounds if clause.step else bucket_bounds
        groups = [spread.distribution(group_name(g, clause.by), bounds) for g, spread in self._spreads.items()]
        ordered = tuple(sorted(groups, key=lambda d: (-d.count, d.group)))
        return HistogramStats(clause.name, clause.unit, bool(clause.step), clause.by_names, ordered)


class Statistic:
    """One `stat` clause."""

    def __init__(self, clause: model.Statistic, writer: Writer, groups: Groups) -> None:
        self._clause = clause
        self._value = function(MEASUREMENT, writer.value(clause.value))
        self._groups = groups
        self._rows: dict[Group, tuple[int, int, int, int]] = {}

    def add(self, *measurement: Any) -> None:
        """Count a finished measurement."""
        group, value = self._groups.find(*measurement), self._value(*measurement)
        count, total, least, greatest = self._rows.get(group, (0, 0, value, value))
        self._rows[group] = count + 1, total + value, min(least, value), max(greatest, value)

    def stats(self) -> StatisticStats:
        """Return what was counted."""
        clause = self._clause
        groups = [(group_name(g, clause.by), self._result(*numbers)) for g, numbers in self._rows.items()]
        ordered = tuple(sorted(groups, key=lambda pair: (-pair[1], pair[0])))
        return StatisticStats(clause.name, clause.function, clause.unit, clause.by_names, ordered)

    def _result(self, count: int, total: int, least: int, greatest: int) -> int:
        total = wrap(total, not is_unsigned([self._clause.value.type]))
        results = {"count": count, "sum": total, "avg": total // count, "min": least, "max": greatest}
        return results[self._clause.function]


class Window:
    """Reports of one group: how many `rate` let through in the present period, and held back since the last of them."""

    __slots__ = ("held", "period", "through")

    def __init__(self) -> None:
        self.period = self.through = self.held = 0


class Rate:
    """How often a rule may report: so many times in each period, which begins at a multiple of its length."""

    def __init__(self, count: int, period_ns: int, groups: Groups | None) -> None:
        self._count = count
        self._period = period_ns
        self._groups = groups
        self._windows: defaultdict[Group, Window] = defaultdict(Window)
        self.suppressed = 0

    def admit(self, at: int, key: Any, ins: Any) -> int | None:
        """Return how many reports were held back since the last one, None if this one is held back too."""
        window = self._windows[self._groups.find(key, ins, (), 0, "") if self._groups else None]
        period = at // self._period
        if period > window.period:
            window.period, window.through = period, 0
        if window.through < self._count:
            window.through += 1
            held, window.held = window.held, 0
            return held
        window.held += 1
        self.suppressed += 1
        return None
