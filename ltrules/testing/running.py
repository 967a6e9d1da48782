"""Run a test: let happen what it says, and keep what the rules make of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ltrules.alert import Alert, Stats
from ltrules.cases import Case
from ltrules.errors import InputError
from ltrules.semantics import Reference, Watch
from ltrules.traces import Trace, TraceEvent, needs_of, open_trace

#: Counters that grow with a report, which is kept itself, and the one that is what the others leave.
_TOLD = ("alerts", "timeouts", "delivered", "pending")


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened, or a time that passed, and what was made of it.

    `time_ns` is since the start. `counted` tells by how much counters grew, by rule and counter.
    """

    time_ns: int
    event: TraceEvent | None
    counted: Mapping[tuple[str, str], int]
    reports: tuple[Alert, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of a test. Of a trace, `moments` holds those with a report only, and `notes` says what it lacks."""

    start_ns: int
    moments: tuple[Moment, ...]
    stats: Stats
    notes: tuple[str, ...] = ()

    @property
    def reports(self) -> tuple[Alert, ...]:
        return tuple(report for moment in self.moments for report in moment.reports)


def run_case(case: Case, watch: Watch | None = None) -> Trial:
    """Run a test; `watch` is told what each clause does.

    Raises an error of `ltrules.errors` if the trace cannot be read, or is damaged.
    """
    if case.trace is None:
        return _run_events(case, watch)
    with open_trace(case.trace, case.catalog, needs_of(case.rules)) as trace:
        return _run_trace(case, trace, watch)


def _run_events(case: Case, watch: Watch | None) -> Trial:
    timeline = _Timeline(case, watch)
    for event in case.events:
        timeline.wait(event.time_ns)
        timeline.happen(event)
    if case.until_ns is not None:
        timeline.wait(case.until_ns)
    return Trial(0, tuple(timeline.moments), timeline.reference.stats())


class _Timeline:
    """Rules at work on the events of a test, with a look at their numbers after each."""

    def __init__(self, case: Case, watch: Watch | None) -> None:
        self.reference = Reference(case.rules, watch=watch)
        self.moments: list[Moment] = []
        self._before = self._counters()

    def wait(self, time_ns: int) -> None:
        """Let time pass; each report has its own moment."""
        for report in self.reference.advance(time_ns):
            self.moments.append(Moment(report.closed_ns, None, {}, (report,)))
        counted = self._growth()
        if counted:
            self.moments.append(Moment(time_ns, None, counted, ()))

    def happen(self, event: TraceEvent) -> None:
        """Let an event happen."""
        reports = tuple(self.reference.feed(event))
        self.moments.append(Moment(event.time_ns, event, self._growth(), reports))

    def _growth(self) -> dict[tuple[str, str], int]:
        before, self._before = self._before, self._counters()
        return {name: n - before[name] for name, n in self._before.items() if n != before[name]}

    def _counters(self) -> dict[tuple[str, str], int]:
        return {
            (rule.rule, name): n
            for rule in self.reference.stats().rules
            for name, n in rule.counters.items()
            if name not in _TOLD
        }


def _run_trace(case: Case, trace: Trace, watch: Watch | None) -> Trial:
    recorded_on = trace.header.get("arch", case.rules.machine)
    if recorded_on != case.rules.machine:
        raise InputError(
            f"the trace is of {recorded_on}, and the rules were checked for {case.rules.machine}:"
            f" name a catalog of {recorded_on} with `catalog`"
        )
    reference = Reference(case.rules, watch=watch)
    reports: list[Alert] = []
    start_ns = end_ns = None
    for event in trace:
        if start_ns is None:
            start_ns = event.time_ns
            end_ns = None if case.until_ns is None else start_ns + case.until_ns
        if end_ns is not None and event.time_ns > end_ns:
            break
        reports += reference.feed(event)
    start_ns = start_ns or 0
    reports += reference.advance(end_ns or trace.end_ns or 0)
    damage = "; ".join(_damage(trace))
    if damage:
        raise InputError(f"the trace is damaged: {damage}")
    moments = tuple(Moment(report.closed_ns - start_ns, None, {}, (report,)) for report in reports)
    return Trial(start_ns, moments, reference.stats(), tuple(trace.troubles.sentences()))


def _damage(trace: Trace) -> Iterator[str]:
    """Iterate over what makes a trace no ground for a test: events that the tracer lost are not among that."""
    troubles = trace.troubles
    if troubles.cut:
        yield troubles.cut
    if troubles.malformed:
        yield f"{troubles.malformed} line{'s' * (troubles.malformed != 1)} could not be read"
    for event, name in troubles.lacking:
        yield f"{event} came without {name}, which the rules read"
