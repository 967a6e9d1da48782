"""One run of rules, judged twice: by the kernel, and by replay of what was recorded in the very same programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers import catalog
from ltrules.alert import Alert, Distribution, RuleStats, Stats
from ltrules.cli.recording import Recorder
from ltrules.engines.libbpf import LibbpfSession
from ltrules.lower import lower
from ltrules.model import RuleSet
from ltrules.recording import recorded_plan
from ltrules.semantics import Reference
from ltrules.traces import needs_of, open_trace

#: Counters of the way from the kernel to us: replay has no such way.
_DELIVERY = ("lost", "delivered", "unqueued")
#: An `in` is one of the first, an `out` whose condition holds one of the second, whatever it found.
_OPENINGS, _CLOSINGS = ("opened", "kept"), ("closed", "unmatched")
#: Differences shown of a kind.
_SHOWN = 3

OpenSession = Callable[[RuleSet, int], LibbpfSession]


@dataclass(frozen=True)
class Run:
    """What rules reported and counted."""

    alerts: list[Alert]
    stats: Stats

    def of(self, rule: str) -> list[Alert]:
        return [alert for alert in self.alerts if alert.rule == rule]


class Lost(Exception):  # noqa: N818 - no fault of anyone
    """The buffers were too small for the load: there is nothing to compare."""


def open_libbpf(rules: RuleSet, buffer: int) -> LibbpfSession:
    """Return a session of the libbpf engine, with buffers of so many bytes."""
    return LibbpfSession(rules, recorded_plan(lower(rules, catalog(), buffer), buffer, rules=True))


#: The kernel engines, by name. A session records as it runs: see `Recorder`.
ENGINES: dict[str, OpenSession] = {"libbpf": open_libbpf}


def judge_twice(
    open_session: OpenSession, rules: RuleSet, workload: Callable[[], object], file: Path, buffer: int
) -> tuple[Run, Run]:
    """Return a run in the kernel while a workload runs, and its replay. Raises Lost."""
    with open_session(rules, buffer) as session, file.open("wb") as out, ThreadPoolExecutor(1) as pool:
        recorder = Recorder(session, rules, out, str(file))
        alerts: list[Alert] = []
        work = pool.submit(workload)
        while not work.done():
            alerts += session.poll(recorder.period)
            recorder.take()
        work.result()
        alerts += session.stop()
        recorder.finish()
        live = Run(alerts, session.stats())
        unrecorded = session.recorded.unrecorded() if session.recorded else {}
    lost = [*unrecorded.values(), *(r.counters[name] for r in live.stats.rules for name in ("lost", "refused"))]
    if any(lost):
        raise Lost(unrecorded, [dict(r.counters) for r in live.stats.rules])
    return live, replay(rules, file)


def replay(rules: RuleSet, file: Path) -> Run:
    """Return what the reference makes of a recording."""
    reference = Reference(rules)
    alerts: list[Alert] = []
    with open_trace(file, catalog(), needs_of(rules)) as trace:
        for event in trace:
            alerts += reference.feed(event)
        assert trace.end_ns is not None
        alerts += reference.advance(trace.end_ns)
        # What the kernel kept from the programs is neither in the recording nor in the run.
        troubles = (trace.troubles.malformed, trace.troubles.late, trace.troubles.lacking, trace.troubles.cut)
    alerts += reference.finish()
    assert not any(troubles) and not reference.gaps, (troubles, reference.gaps)
    return Run(alerts, reference.stats())


def identity(alert: Alert) -> Hashable:
    """Return all that must be the same; only when and where a timeout was noticed is the engine's own affair."""
    report = (alert.rule, alert.kind, alert.severity, alert.id, alert.opened_ns, alert.limit_ns, alert.suppressed)
    values = (tuple(alert.key.items()), tuple((scope, tuple(v.items())) for scope, v in alert.captured.items()))
    if alert.kind == "timeout":
        return report, values
    judged = (alert.closed_ns, alert.latency_ns, alert.outcome, alert.late, alert.cpu, alert.message)
    return report, values, judged


def differences(live: Run, replayed: Run, ordered: Sequence[bool]) -> list[str]:
    """Return what differs between a run and its replay, in words.

    `ordered` tells of each rule whether the kernel orders all events of one key. If it does not, two CPUs, or an
    interrupt within an event, may act on a key at once; then the one that read the clock first need not be the first
    at the table, and there is no order for replay to find. Such a rule must agree on how many events it saw, and on
    nearly all measurements.
    """
    found = []
    for kernel, reference, strict in zip(live.stats.rules, replayed.stats.rules, ordered, strict=True):
        differ = _exactly if strict else _nearly
        found += [f"{kernel.rule}: {text}" for text in differ(kernel, reference, live, replayed)]
    return found


def _exactly(kernel: RuleStats, reference: RuleStats, live: Run, replayed: Run) -> Iterator[str]:
    ours, theirs = (Counter(map(identity, run.of(kernel.rule))) for run in (live, replayed))
    for name, more in (("kernel", ours - theirs), ("replay", theirs - ours)):
        if more:
            yield f"{more.total()} of {ours.total()} alerts only by {name}: {list(more)[:_SHOWN]}"
    yield from _pairs("counters", _counters(kernel), _counters(reference))
    yield from _pairs("latency", _shape(kernel.latency), _shape(reference.latency))
    for a, b in zip(kernel.histograms, reference.histograms, strict=True):
        yield from _pairs(a.name, {g.group: _shape(g) for g in a.groups}, {g.group: _shape(g) for g in b.groups})
    for c, d in zip(kernel.statistics, reference.statistics, strict=True):
        yield from _pairs(c.name, dict(c.groups), dict(d.groups))


def _nearly(kernel: RuleStats, reference: RuleStats, live: Run, replayed: Run) -> Iterator[str]:
    a, b = kernel.counters, reference.counters
    some = 10 + (a["opened"] + a["kept"]) // 50
    if sum(a[n] for n in _OPENINGS) != sum(b[n] for n in _OPENINGS):
        yield f"openings: kernel {[a[n] for n in _OPENINGS]}, replay {[b[n] for n in _OPENINGS]}"
    for name in b.keys() - _DELIVERY:
        if abs(a[name] - b[name]) > some:
            yield f"{name}: kernel {a[name]}, replay {b[name]}"
    ours, theirs = (Counter(map(identity, run.of(kernel.rule))) for run in (live, replayed))
    if ((ours - theirs) + (theirs - ours)).total() > 4 * some:
        yield f"{(ours - theirs).total()} of {ours.total()} alerts only by kernel, {(theirs - ours).total()} by replay"


def _counters(stats: RuleStats) -> dict[str, int]:
    return {name: count for name, count in stats.counters.items() if name not in _DELIVERY}


def _shape(d: Distribution) -> tuple[Any, ...]:
    return d.count, d.total, d.greatest, d.buckets


def _pairs(what: str, kernel: Any, replayed: Any) -> Iterator[str]:
    if kernel == replayed:
        return
    if isinstance(kernel, dict):
        for name in sorted(kernel.keys() | replayed.keys(), key=str):
            yield from _pairs(f"{what} {name}", kernel.get(name), replayed.get(name))
    else:
        yield f"{what}: kernel {kernel}, replay {replayed}"
