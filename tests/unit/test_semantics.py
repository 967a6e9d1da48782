"""What rules mean: each construct on a few events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ltrules.alert import Alert, RuleStats, Scalar
from ltrules.semantics import Reference
from ltrules.traces import TraceEvent
from support import good_rules

SCHED = "in sched_wakeup key pid, out sched_switch key next_pid, thresh 5us, timeout 6us"


def ev(
    time_us: float, name: str, /, cpu: int = 0, context: Mapping[str, Scalar] | None = None, **fields: Scalar
) -> TraceEvent:
    """Return an event at a time in us; `name` needs no category for what the tests use."""
    category = {"sched_wakeup": "sched", "sched_switch": "sched"}[name]
    return TraceEvent(round(time_us * 1000), f"{category}:{name}", cpu, context or {}, fields)


def told(text: str, events: Iterable[TraceEvent]) -> tuple[list[Alert], RuleStats]:
    """Return what a rule reports on some events, and its numbers."""
    reference = Reference(good_rules(text))
    alerts = [alert for event in events for alert in reference.feed(event)] + reference.finish()
    (rule,) = reference.stats().rules
    assert rule.balanced, rule.counters
    return alerts, rule


def test_alert_when_it_takes_longer_than_the_threshold() -> None:
    events = [
        ev(1, "sched_wakeup", pid=1),
        ev(2, "sched_wakeup", pid=2),
        ev(6, "sched_switch", next_pid=1),
        ev(7.001, "sched_switch", next_pid=2, cpu=3),
        ev(8, "sched_switch", next_pid=7),
    ]
    alerts, rule = told(SCHED, events)
    assert [(a.kind, a.key, a.latency_ns, a.limit_ns, a.cpu, a.outcome) for a in alerts] == [
        ("alert", {"pid": 2}, 5001, 5000, 3, "out")
    ]
    assert {k: n for k, n in rule.counters.items() if n} == {
        "opened": 2, "closed": 2, "unmatched": 1, "alerts": 1, "delivered": 1
    }  # fmt: skip


def test_timeout_is_told_at_its_deadline() -> None:
    events = [ev(1, "sched_wakeup", pid=1, cpu=1), ev(7, "sched_wakeup", pid=2), ev(9, "sched_switch", next_pid=1)]
    alerts, _ = told(SCHED, events)
    assert [(a.kind, a.closed_ns, a.latency_ns, a.late, a.cpu) for a in alerts] == [
        ("timeout", 7000, 6000, False, 1),
        ("alert", 9000, 8000, True, 0),
    ]
    assert len({a.id for a in alerts}) == 1
