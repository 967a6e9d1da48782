"""One rule at work: what becomes of its measurements, and what it reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ltrules import model
from ltrules.alert import Alert, RuleStats, Scalar
from ltrules.evaluate import Constants, evaluate
from ltrules.semantics.expressions import MEASUREMENT, Writer, function, row
from ltrules.semantics.measures import GroupFinder, Histogram, Rate, Spread, Statistic
from ltrules.semantics.reading import Key, Reading, read
from ltrules.showing import AlertMaker
from ltrules.traces import TraceEvent
from ltrules.types import DURATION, INT, Kind

#: What is counted of every rule, in the order in which it is shown.
COUNTERS = (
    "opened", "closed", "cancelled", "replaced", "expired", "refused", "kept", "unmatched", "clock_skew",
    "alerts", "timeouts", "suppressed", "lost",
)  # fmt: skip
#: A limit that is never reached.
_NEVER = 1 << 64

Judge = Callable[..., Any]


class Step(NamedTuple):
    """What a rule does at an event: `run(key, reading, event)`, with the key that `reading` found."""

    run: Callable[[Key, Reading, TraceEvent], None]
    reading: Reading


class Measurement:
    """A pending measurement; `told` once its timeout was reported, or held back by `rate`."""

    __slots__ = ("cpu", "ins", "key", "opened", "told")

    def __init__(self, key: Key, opened: int, cpu: int, ins: tuple[Scalar, ...]) -> None:
        self.key = key
        self.opened = opened
        self.cpu = cpu
        self.ins = ins
        self.told = False


class RuleState:
    """A rule, its pending measurements, and its numbers.

    `wake(time_ns, state, measurement)` asks for a call of `overdue` when the clock has passed a time, unless the
    measurement has ended before; `tell` takes what is reported.
    """

    def __init__(
        self,
        rule: model.Rule,
        params: Mapping[str, Scalar],
        wake: Callable[[int, RuleState, Measurement], None],
        tell: Callable[[Alert], None],
        offset_ns: int,
    ) -> None:
        self.rule = rule
        self.pending: dict[Key, Measurement] = {}
        self.counters = dict.fromkeys(COUNTERS, 0)
        self._wake = wake
        self._tell = tell
        self._offset_ns = offset_ns
        self._maker = AlertMaker(rule, params)
        constants, writer = Constants(params), Writer(params)

        def limit(expr: model.Expr | None) -> int:
            return _NEVER if expr is None else int(evaluate(expr, constants))

        def judge(expr: model.Expr | None) -> Judge | None:
            return None if expr is None else function(MEASUREMENT, writer.value(expr))

        self._inflight, self._keep_first = rule.inflight, rule.keep_first
        # Parameters do not change while a trace is read, so that these are numbers.
        self._timeout = limit(rule.timeout.limit if rule.timeout else None)
        self._expire = limit(rule.expire)
        self._lifetime = min(self._expire, self._timeout) if rule.timeout and rule.timeout.drop else self._expire
        self._first = min(self._timeout, self._expire)
        fixed = not any(isinstance(e, model.Captured | model.Measured) for e in model.walk(rule.thresh))
        self._limit = limit(rule.thresh) if fixed else _NEVER
        self._thresh = None if fixed else judge(rule.thresh)
        self._when = judge(rule.when)
        self._parts = function("key", row(writer.part(value, i) for i, value in enumerate(rule.key)))
        self._no_outs = tuple("" if v.type.kind is Kind.STRING else 0 for v in rule.closed)
        groups = GroupFinder(writer)
        self._latency = Spread()
        self._histograms = [Histogram(h, writer, groups.find(h.by)) for h in rule.histograms]
        self._statistics = [Statistic(s, writer, groups.find(s.by)) for s in rule.statistics]
        self._counted = [h.add for h in self._histograms] + [s.add for s in self._statistics]
        rate = rule.rate or model.Rate(model.Constant(INT, _NEVER), model.Constant(DURATION, 1), ())
        by = groups.find(rate.by) if rate.by else None
        self._rate = Rate(limit(rate.count), limit(rate.period), by)

    # ---------------------------------------------------------------------------------- roles
    def open(self, key: Key, reading: Reading, event: TraceEvent) -> None:
        """`in`: begin a measurement."""
        counters, pending, at = self.counters, self.pending, event.time_ns
        old = pending.get(key)
        if old is not None and self._keep_first and at - old.opened <= self._lifetime:
            counters["kept"] += 1
            return
        counters["opened"] += 1
        if old is not None:
            if not self._end(old, at):
                counters["replaced"] += 1
        elif len(pending) >= self._inflight and not self._make_room(at):
            return
        ins = reading.saves(event, event.fields, event.context, key, (), 0) if reading.saves else ()
        pending[key] = new = Measurement(key, at, event.cpu, ins)
        self._wake(at + self._first, self, new)

    def _make_room(self, at: int) -> bool:
        """Refuse a new measurement, or with `evict` the one that was opened first; return whether there is room."""
        if not self.rule.evict or not self._end(next(iter(self.pending.values())), at):
            self.counters["refused"] += 1
        return self.rule.evict

    def close(self, key: Key, reading: Reading, event: TraceEvent) -> None:
        """`out`: end the measurement of the key, and judge it."""
        counters, at = self.counters, event.time_ns
        found = self.pending.get(key)
        if found is None:
            counters["unmatched"] += 1
            return
        opened, ins = found.opened, found.ins
        latency = at - opened if at > opened else 0
        if reading.late and not reading.late(event, event.fields, event.context, key, ins, latency):
            return
        if self._end(found, at):
            counters["unmatched"] += 1
            return
        counters["closed"] += 1
        if at < opened:
            counters["clock_skew"] += 1
        self._judge(found, latency, reading, event)

    def cancel(self, key: Key, reading: Reading, event: TraceEvent) -> None:
        """`cancel`: end the measurement of the key, and forget it."""
        found = self.pending.get(key)
        if found is None:
            return
        latency = max(event.time_ns - found.opened, 0)
        if reading.late and not reading.late(event, event.fields, event.context, key, found.ins, latency):
            return
        if not self._end(found, event.time_ns):
            self.counters["cancelled"] += 1

    def complete(self, key: Key, reading: Reading, event: TraceEvent) -> None:
        """`at`: the event is a whole measurement."""
        assert reading.took is not None
        took = reading.took(event, event.fields, event.context, key, (), 0)
        latency = max(took, 0)
        self.counters["opened"] += 1
        self.counters["closed"] += 1
        if took < 0:
            self.counters["clock_skew"] += 1
        self._judge(Measurement(key, max(event.time_ns - latency, 0), event.cpu, ()), latency, reading, event)

    # ------------------------------------------------------------------------------ deadlines
    def overdue(self, found: Measurement) -> None:
        """Tell the timeout of a pending measurement, or drop one that is too old."""
        if self._timeout <= self._expire and not found.told:
            self._time_out(found, found.opened + self._timeout, late=False)
            self._wake(found.opened + self._lifetime, self, found)
            return
        del self.pending[found.key]
        self.counters["expired"] += 1

    def _end(self, found: Measurement, at: int) -> bool:
        """Take a measurement that an event ends. Return whether it was too old for that: then it has expired.

        What is overdue was told before, as the clock passed. Only if events come in the wrong order it is noticed here.
        """
        del self.pending[found.key]
        age = at - found.opened
        if age <= self._first:
            return False
        if age > self._timeout and not found.told:
            self._time_out(found, at, late=True)
        if age <= self._lifetime:
            return False
        self.counters["expired"] += 1
        return True

    # ------------------------------------------------------------------------------- reports
    def _judge(self, found: Measurement, latency: int, reading: Reading, event: TraceEvent) -> None:
        """Count a finished measurement, and report it if it took too long."""
        key, ins = found.key, found.ins
        outs = reading.saves(event, event.fields, event.context, key, ins, latency) if reading.saves else ()
        outcome = reading.outcome
        if self._when and not self._when(key, ins, outs, latency, outcome):
            return
        self._latency.add(latency)
        for count in self._counted:
            count(key, ins, outs, latency, outcome)
        limit = self._thresh(key, ins, outs, latency, outcome) if self._thresh else self._limit
        if latency > limit and (held := self._rate.admit(event.time_ns, key, ins)) is not None:
            self.counters["alerts"] += 1
            self._tell(
                self._maker.make(
                    timeout=False,
                    opened=found.opened,
                    closed=event.time_ns,
                    latency=latency,
                    limit=limit,
                    outcome=outcome,
                    late=found.told or latency > self._timeout,
                    suppressed=held,
                    cpu=event.cpu,
                    values=(*self._parts(key), *ins, *outs),
                    offset_ns=self._offset_ns,
                )
            )

    def _time_out(self, found: Measurement, at: int, late: bool) -> None:
        """Report that a measurement lives longer than its timeout."""
        found.told = True
        held = self._rate.admit(at, found.key, found.ins)
        if held is not None:
            self.counters["timeouts"] += 1
            self._tell(
                self._maker.make(
                    timeout=True,
                    opened=found.opened,
                    closed=at,
                    latency=at - found.opened,
                    limit=self._timeout,
                    outcome="",
                    late=late,
                    suppressed=held,
                    cpu=found.cpu,
                    values=(*self._parts(found.key), *found.ins, *self._no_outs),
                    offset_ns=self._offset_ns,
                )
            )

    def stats(self) -> RuleStats:
        """Return the numbers up to now. Every report is delivered: nothing stands between it and who asked for it."""
        counters = self.counters | {"suppressed": self._rate.suppressed, "pending": len(self.pending)}
        counters["delivered"] = counters["alerts"] + counters["timeouts"]
        histograms = tuple(h.stats() for h in self._histograms)
        statistics = tuple(s.stats() for s in self._statistics)
        return RuleStats(self.rule.name, counters, self._latency.distribution(), histograms, statistics)


def steps(state: RuleState, params: Mapping[str, Scalar]) -> Iterator[tuple[model.Handler, Step]]:
    """Iterate over what a rule does at events, in the order of the roles."""
    roles = {
        model.Role.IN: state.open,
        model.Role.OUT: state.close,
        model.Role.CANCEL: state.cancel,
        model.Role.AT: state.complete,
    }
    order = list(model.Role)
    for handler in sorted(state.rule.handlers, key=lambda h: order.index(h.role)):
        yield handler, Step(roles[handler.role], read(state.rule, handler, params))
