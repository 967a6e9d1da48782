"""What rules mean: each construct on a few events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from bpf_codegen.plan import COUNTERS as PLANNED
from ltrules.alert import Alert, RuleStats, Scalar
from ltrules.semantics import Reference
from ltrules.semantics.rule import COUNTERS
from ltrules.traces import TraceEvent
from support import good_rules

SCHED = "in sched_wakeup key pid, out sched_switch key next_pid"
CATEGORIES = {
    "wakeup": "sched:sched_wakeup",
    "switch": "sched:sched_switch",
    "exit": "sched:sched_process_exit",
    "irq": "irq:irq_handler_entry",
    "irq_end": "irq:irq_handler_exit",
    "nmi": "nmi:nmi_handler",
    "issue": "block:block_rq_issue",
    "complete": "block:block_rq_complete",
    "enter": "raw_syscalls:sys_enter",
    "leave": "raw_syscalls:sys_exit",
}


def ev(
    time_us: float, name: str, /, *, cpu: int = 0, task: Mapping[str, Scalar] | None = None, **fields: Scalar
) -> TraceEvent:
    """Return an event at a time in us."""
    return TraceEvent(round(time_us * 1000), CATEGORIES[name], cpu, task or {}, fields)


def told(text: str, events: Iterable[TraceEvent], end_us: float = 0) -> tuple[list[Alert], RuleStats]:
    """Return what a rule reports on some events, until a time in us, and its numbers."""
    reference = Reference(good_rules(text))
    alerts = [alert for event in events for alert in reference.feed(event)]
    alerts += reference.advance(round(end_us * 1000)) + reference.finish()
    (rule,) = reference.stats().rules
    assert rule.balanced, rule.counters
    assert rule.counters["delivered"] == rule.counters["alerts"] + rule.counters["timeouts"] == len(alerts)
    return alerts, rule


def counted(rule: RuleStats) -> dict[str, int]:
    """Return the counters that are not zero, but for those of reports."""
    return {k: n for k, n in rule.counters.items() if n and k not in ("alerts", "timeouts", "delivered")}


def kinds(alerts: Iterable[Alert]) -> list[tuple[str, int]]:
    """Return kind and time in us of each alert."""
    return [(a.kind, a.closed_ns // 1000) for a in alerts]


# ------------------------------------------------------------------------------------- pairing
def test_alert_when_it_takes_longer_than_the_threshold() -> None:
    events = [
        ev(1, "wakeup", pid=1),
        ev(2, "wakeup", pid=2),
        ev(6, "switch", next_pid=1),
        ev(7.001, "switch", next_pid=2, cpu=3),
        ev(8, "switch", next_pid=7),
    ]
    (alert,), rule = told(f"{SCHED}, thresh 5us", events)
    assert (alert.kind, alert.key, alert.latency_ns, alert.limit_ns) == ("alert", {"pid": 2}, 5001, 5000)
    assert (alert.opened_ns, alert.closed_ns, alert.cpu, alert.outcome, alert.late) == (2000, 7001, 3, "out", False)
    assert alert.id == "line:1-7d0-2" or alert.id.endswith("-7d0-2")
    assert counted(rule) == {"opened": 2, "closed": 2, "unmatched": 1}
    assert (rule.latency.count, rule.latency.total, rule.latency.greatest) == (2, 10001, 5001)


def test_roles_at_one_event_run_in_a_fixed_order() -> None:
    """One switch ends the wait of one task and begins that of another; and a task may follow itself."""
    text = (
        "r: in sched_switch key prev_pid, out sched_switch key next_pid, cancel sched_switch key prev_prio, thresh 0us"
    )
    events = [
        ev(1, "switch", prev_pid=5, next_pid=6, prev_prio=5),
        ev(3, "switch", prev_pid=7, next_pid=5, prev_prio=5),
        ev(4, "switch", prev_pid=7, next_pid=7, prev_prio=8),
        ev(6, "switch", prev_pid=9, next_pid=7, prev_prio=7),
    ]
    alerts, rule = told(text, events)
    assert [(a.key["prev_pid"], a.latency_ns) for a in alerts] == [(5, 2000), (7, 1000), (7, 2000)]
    assert counted(rule) == {"opened": 4, "closed": 3, "pending": 1, "unmatched": 1}


def test_cancel_forgets_without_a_word() -> None:
    text = f"{SCHED}, cancel sched_process_exit key pid where latency > 2us, thresh 0us"
    events = [
        ev(1, "wakeup", pid=1),
        ev(2, "exit", pid=1),
        ev(3, "wakeup", pid=2),
        ev(6, "exit", pid=2),
        ev(7, "exit", pid=3),
        ev(8, "switch", next_pid=2),
        ev(9, "switch", next_pid=1),
    ]
    alerts, rule = told(text, events)
    assert [a.key["pid"] for a in alerts] == [1]
    assert counted(rule) == {"opened": 2, "closed": 1, "cancelled": 1, "unmatched": 1}


def test_a_second_in_starts_again_or_is_passed_over() -> None:
    events = [ev(1, "wakeup", pid=1), ev(3, "wakeup", pid=1), ev(6, "switch", next_pid=1)]
    (alert,), rule = told(f"{SCHED}, thresh 0us", events)
    assert (alert.latency_ns, counted(rule)) == (3000, {"opened": 2, "closed": 1, "replaced": 1})
    (alert,), rule = told(f"{SCHED}, thresh 0us, duplicate keep", events)
    assert (alert.latency_ns, counted(rule)) == (5000, {"opened": 1, "closed": 1, "kept": 1})


def test_one_that_finds_no_room_is_refused() -> None:
    events = [ev(i, "wakeup", pid=i) for i in range(1, 5)] + [ev(5, "wakeup", pid=1), ev(6, "switch", next_pid=4)]
    _, rule = told(f"{SCHED}, thresh 0us, inflight 2", events)
    assert counted(rule) == {"opened": 5, "replaced": 1, "refused": 2, "pending": 2, "unmatched": 1}
    (alert,), rule = told(f"{SCHED}, thresh 0us, inflight 2 evict", events)
    assert alert.key == {"pid": 4}
    assert counted(rule) == {"opened": 5, "closed": 1, "refused": 3, "pending": 1}


def test_time_that_runs_backwards_counts_as_nothing() -> None:
    events = [ev(5, "wakeup", pid=1), ev(3, "switch", next_pid=1), ev(9, "wakeup", pid=1), ev(9, "switch", next_pid=1)]
    alerts, rule = told(f"{SCHED}, thresh 0us", events)
    assert not alerts
    assert counted(rule) == {"opened": 2, "closed": 2, "clock_skew": 1}


def test_narrow_keys_are_compared_by_their_own_bits() -> None:
    """Of 32 bits both, one signed and the other not, after C's widening to 64 they would differ."""
    text = "in block_rq_issue key dev, out block_rq_complete key error, thresh 0us, message '{key} {in.neg}'"
    text = text.replace("'", '"').replace("key dev,", "key dev capture (neg = -dev),")
    (alert,), _ = told(text, [ev(1, "issue", dev=0xFFFFFFFE), ev(2, "complete", error=-2)])
    assert alert.key == {"dev": 0xFFFFFFFE}
    assert alert.message == f"{0xFFFFFFFE} {-0xFFFFFFFE}"
    text = "in block_rq_complete key error, out block_rq_issue key dev where key == -2, thresh 0us"
    (alert,), _ = told(text, [ev(1, "complete", error=-2), ev(2, "issue", dev=0xFFFFFFFE)])
    assert alert.key == {"error": -2}


def test_keys_of_strings_and_several_parts() -> None:
    text = "in irq_handler_entry key (irq, who = name), out irq_handler_exit key (irq, task.comm), thresh 0us"
    events = [
        ev(1, "irq", irq=7, name="eth0"),
        ev(2, "irq", irq=7, name="a name longer than sixteen bytes"),
        ev(3, "irq_end", irq=7, task={"comm": "eth1"}),
        ev(4, "irq_end", irq=7, task={"comm": "eth0"}),
    ]
    (alert,), rule = told(text, events)
    assert alert.key == {"irq": 7, "who": "eth0"}
    assert counted(rule) == {"opened": 2, "closed": 1, "unmatched": 1, "pending": 1}


def test_where_is_asked_before_and_after_the_measurement_is_found() -> None:
    text = f"""r: {SCHED.replace("key pid", "key pid where prio < 100 capture prio")}
      where next_prio != 7 and in.prio > next_prio and latency > 1us, thresh 0us"""
    events = [
        ev(1, "wakeup", pid=1, prio=100),
        ev(2, "wakeup", pid=2, prio=99),
        ev(3, "switch", next_pid=1, next_prio=1),
        ev(4, "switch", next_pid=2, next_prio=7),
        ev(5, "switch", next_pid=2, next_prio=99),
        ev(6, "switch", next_pid=2, next_prio=98),
    ]
    (alert,), rule = told(text, events)
    assert alert.captured == {"in": {"prio": 99}}
    assert counted(rule) == {"opened": 1, "closed": 1, "unmatched": 1}


def test_captures_outcomes_and_when() -> None:
    text = """
    rule r {
      in  sched_wakeup key pid capture (prio, fast = prio < 100)
      out sched_switch key next_pid where next_prio == 1 as first capture (next_comm, before = in.prio + 1)
      out sched_switch key next_pid where next_prio != 1 as other capture time.mono
      when outcome != "other" or latency > 3us
      thresh if(outcome == "first", 0us, 1us)
      message "{outcome} {in.fast} {out.next_comm} {out.before} {latency} {late} {overdue} {{}}"
    }"""
    events = [
        ev(1, "wakeup", pid=1, prio=5),
        ev(2, "switch", next_pid=1, next_prio=1, next_comm="x"),
        ev(3, "wakeup", pid=1, prio=100),
        ev(4, "switch", next_pid=1, next_prio=2, next_comm="y"),
        ev(5, "wakeup", pid=1, prio=100),
        ev(9, "switch", next_pid=1, next_prio=2, next_comm="z"),
    ]
    alerts, rule = told(text, events)
    assert [(a.outcome, a.captured) for a in alerts] == [
        ("first", {"in": {"prio": 5, "fast": 1}, "out": {"next_comm": "x", "before": 6, "mono": 0}}),
        ("other", {"in": {"prio": 100, "fast": 0}, "out": {"next_comm": "", "before": 0, "mono": 9000}}),
    ]
    assert [a.message for a in alerts] == ["first true x 6 1us false 0ns {}", "other false  0 4us false 0ns {}"]
    assert rule.latency.count == 2
    # The second `out` clause is a handler of its own, and finds nothing after the first one has closed.
    assert counted(rule) == {"opened": 3, "closed": 3}


def test_event_that_carries_its_latency() -> None:
    text = "at nmi_handler took delta_ns * 1ns key cpu.id where handled > 0 capture handler, thresh 10us"
    events = [
        ev(100, "nmi", delta_ns=11_000, handled=1, handler=5, cpu=3),
        ev(101, "nmi", delta_ns=11_000, handled=0, handler=5),
        ev(102, "nmi", delta_ns=10_000, handled=1, handler=5),
        ev(103, "nmi", delta_ns=-1, handled=1, handler=5),
        ev(104, "nmi", delta_ns=1_000_000, handled=1, handler=5),
    ]
    alerts, rule = told(text, events)
    assert [(a.key, a.latency_ns, a.opened_ns, a.captured) for a in alerts] == [
        ({"id": 3}, 11_000, 89_000, {"at": {"handler": 5}}),
        ({"id": 0}, 1_000_000, 0, {"at": {"handler": 5}}),
    ]
    assert alerts[0].outcome == "at"
    assert counted(rule) == {"opened": 4, "closed": 4, "clock_skew": 1}


# ------------------------------------------------------------------------------------ deadlines
def test_timeout_is_told_at_its_deadline() -> None:
    events = [ev(1, "wakeup", pid=1, cpu=1), ev(7, "wakeup", pid=2), ev(9, "switch", next_pid=1)]
    alerts, _ = told(f"{SCHED}, thresh 5us, timeout 6us", events)
    assert [(a.kind, a.closed_ns, a.latency_ns, a.limit_ns, a.late, a.cpu, a.outcome) for a in alerts] == [
        ("timeout", 7000, 6000, 6000, False, 1, ""),
        ("alert", 9000, 8000, 5000, True, 0, "out"),
    ]
    assert len({a.id for a in alerts}) == 1


@pytest.mark.parametrize("end", ["switch", "exit", "wakeup", ""])
def test_a_deadline_that_is_reached_is_not_passed(end: str) -> None:
    text = f"{SCHED}, cancel sched_process_exit key pid, timeout 6us"
    for end_us, reports in ((7, 0), (7.001, 1)):
        last = [] if not end else [ev(end_us, end, pid=1, next_pid=1)]
        alerts, _ = told(text, [ev(1, "wakeup", pid=1), *last], end_us)
        assert kinds(alerts) == [("timeout", 7)] * reports


def test_timeout_with_drop_ends_the_measurement() -> None:
    events = [ev(1, "wakeup", pid=1), ev(8, "switch", next_pid=1), ev(9, "wakeup", pid=1), ev(15, "switch", next_pid=1)]
    alerts, rule = told(f"{SCHED}, thresh 1us, timeout 6us drop", events)
    assert kinds(alerts) == [("timeout", 7), ("alert", 15)]
    assert counted(rule) == {"opened": 2, "closed": 1, "expired": 1, "unmatched": 1}


def test_what_is_too_old_is_dropped_without_a_word() -> None:
    events = [ev(1, "wakeup", pid=1), ev(21.001, "wakeup", pid=1), ev(41.001, "switch", next_pid=1)]
    alerts, rule = told(f"{SCHED}, thresh 1us, timeout 10us, expire 20us", events)
    assert kinds(alerts) == [("timeout", 11), ("timeout", 31), ("alert", 41)]
    assert alerts[-1].late
    assert counted(rule) == {"opened": 2, "closed": 1, "expired": 1}
    _, rule = told(f"{SCHED}, thresh 1us, duplicate keep, expire 20us", events)
    assert counted(rule) == {"opened": 2, "closed": 1, "expired": 1}


def test_expire_is_a_minute_or_ten_times_the_timeout() -> None:
    """A second later is too late."""
    for clause, seconds in (("thresh 1us", 60), ("timeout 7s", 70), ("timeout 2s", 60)):
        for after, closed in ((0, 1), (1, 0)):
            end = ev((seconds + after) * 1_000_000 + 1, "switch", next_pid=1)
            _, rule = told(f"{SCHED}, {clause}", [ev(1, "wakeup", pid=1), end])
            assert rule.counters["closed"] == closed
            assert rule.counters["expired"] == 1 - closed


def test_reports_of_several_rules_come_in_the_order_of_deadlines() -> None:
    text = f"a: {SCHED}, timeout 9us\nb: {SCHED}, timeout 4us"
    reference = Reference(good_rules(text))
    reference.feed(ev(1, "wakeup", pid=1))
    reference.feed(ev(3, "wakeup", pid=2))
    assert [(a.rule, a.closed_ns) for a in reference.advance(20_000)] == [
        ("b", 5000), ("b", 7000), ("a", 10_000), ("a", 12_000)
    ]  # fmt: skip


def test_events_in_the_wrong_order_lose_no_timeout() -> None:
    """What an event of the past opens is looked at when it ends, or when the clock moves on."""
    text = f"{SCHED}, timeout 6us"
    events = [ev(100, "wakeup", pid=9), ev(5, "wakeup", pid=1), ev(12, "switch", next_pid=1)]
    alerts, rule = told(text, events)
    assert [(a.kind, a.closed_ns, a.latency_ns, a.late) for a in alerts] == [("timeout", 12_000, 7000, True)]
    assert counted(rule) == {"opened": 2, "closed": 1, "pending": 1}
    alerts, _ = told(text, events[:2])
    assert [(a.kind, a.closed_ns, a.late) for a in alerts] == [("timeout", 11_000, False)]


def test_an_alert_list_is_handed_out_once() -> None:
    reference = Reference(good_rules(f"{SCHED}, thresh 1us"))
    first = reference.feed(ev(1, "wakeup", pid=1))
    reference.feed(ev(9, "switch", next_pid=1))
    assert not first
    assert not reference.advance(50_000)


# ------------------------------------------------------------------------------------- counting
def test_rate_lets_so_many_through_in_each_period() -> None:
    """Periods begin at multiples of their length; the next report says how many were held back."""
    events = [ev(990 + 5 * i, name, pid=1, next_pid=1) for i in range(8) for name in ("wakeup", "switch")]
    events = [e._replace(time_ns=e.time_ns + 2000 * (i % 2)) for i, e in enumerate(events)]
    alerts, rule = told(f"{SCHED}, thresh 1us, rate 2 per 1ms", events)
    assert [a.closed_ns // 1000 for a in alerts] == [992, 997, 1002, 1007]
    assert rule.counters["suppressed"] == 4
    events += [ev(2500, "wakeup", pid=1), ev(2502, "switch", next_pid=1)]
    alerts, _ = told(f"{SCHED}, thresh 1us, rate 2 per 1ms", events)
    assert [a.suppressed for a in alerts] == [0, 0, 0, 0, 4]


def test_rate_by_groups() -> None:
    text = "in sched_wakeup key pid capture prio, out sched_switch key next_pid, thresh 0us, rate 1 per 1s by in.prio"
    events = []
    for i in range(400):
        events += [ev(2 * i, "wakeup", pid=1, prio=i % 200), ev(2 * i + 1, "switch", next_pid=1)]
    alerts, rule = told(text, events)
    assert [a.captured["in"]["prio"] for a in alerts] == list(range(129)), "the first of all others has number 128"
    assert rule.counters["suppressed"] == 400 - 129


def test_timeouts_count_for_rate_at_their_deadline() -> None:
    text = f"{SCHED}, timeout 6us, rate 1 per 10us"
    events = [ev(1, "wakeup", pid=1), ev(2, "wakeup", pid=2), ev(5, "wakeup", pid=3), ev(500, "wakeup", pid=4)]
    alerts, rule = told(text, events)
    assert [(a.key["pid"], a.suppressed) for a in alerts] == [(1, 0), (3, 1)]
    assert rule.counters["suppressed"] == 1


def test_histograms_and_statistics() -> None:
    text = """
    rule r {
      in  sched_wakeup key pid capture prio
      out sched_switch key next_pid as ran
      when in.prio != 3
      hist latency
      hist in.prio linear(-2, 4, 3) as prio
      hist in.prio - 10 by outcome as below
      stat count by in.prio
      stat sum latency
      stat avg in.prio as mean
      stat min in.prio - 5 as least
      stat max latency by (outcome, in.prio) as most
    }"""
    events = []
    for i, prio in enumerate((-7, -2, 1, 2, 3, 4, 9)):
        events += [ev(100 * i, "wakeup", pid=1, prio=prio), ev(100 * i + i, "switch", next_pid=1)]
    _, rule = told(text, events)
    latency, prio, below = rule.histograms
    assert latency.groups[0].count == 6
    assert latency.groups[0].total == sum((0, 1, 2, 3, 5, 6)) * 1000
    assert prio.linear
    assert prio.groups[0].buckets == ((-5, -2, 1), (-2, 1, 1), (1, 4, 2), (4, 7, 2))
    assert (below.groups[0].group, below.groups[0].total, below.groups[0].greatest) == (("ran",), 7 - 60, -1)
    assert below.groups[0].buckets == ((0, 1, 6),)
    count, total, mean, least, most = rule.statistics
    assert dict(count.groups) == {(str(p),): 1 for p in (-7, -2, 1, 2, 4, 9)}
    assert (total.groups, total.unit) == ((((), 17_000),), "duration")
    assert (mean.groups, least.groups) == ((((), 1),), (((), -12),))
    assert most.groups[0] == (("ran", "9"), 6000)
    assert (most.by, most.function, most.unit) == (("outcome", "in.prio"), "max", "duration")


def test_groups_beyond_the_first_128_are_one() -> None:
    text = "in sched_wakeup key pid capture prio, out sched_switch key next_pid, stat count by in.prio"
    text += ", hist latency by in.prio"
    events = []
    for i in range(200):
        events += [ev(2 * i, "wakeup", pid=1, prio=i), ev(2 * i + 1, "switch", next_pid=1)]
    _, rule = told(text, events)
    groups = dict(rule.statistics[0].groups)
    assert len(groups) == 129
    assert groups["(other)",] == 72
    assert rule.histograms[0].groups[0].group == ("(other)",)


def test_counters_are_those_of_the_engines() -> None:
    assert set(COUNTERS) <= set(PLANNED)


# ---------------------------------------------------------------------------------------- events
def test_what_an_event_lacks_is_counted_and_read_as_nothing() -> None:
    text = (
        'in sched_wakeup key pid where comm != "x" capture (task.uid, prio), out sched_switch key next_pid, thresh 0us'
    )
    reference = Reference(good_rules(text))
    reference.feed(ev(1, "wakeup", prio="high"))
    (alert,) = reference.feed(ev(2, "switch"))
    assert (alert.key, alert.captured) == ({"pid": 0}, {"in": {"uid": 0, "prio": 0}})
    assert dict(reference.gaps) == {
        "sched:sched_wakeup without field `pid`": 1,
        "sched:sched_wakeup without field `comm`": 1,
        "sched:sched_wakeup without field `prio`": 1,
        "sched:sched_wakeup without `uid` of the running task": 1,
        "sched:sched_switch without field `next_pid`": 1,
    }


def test_numbers_that_no_field_can_hold_are_cut_to_its_bits() -> None:
    text = "in sched_wakeup key pid capture prio, out sched_switch key next_pid, thresh 0us"
    events = [ev(1, "wakeup", pid=(1 << 70) + 5, prio=1 << 31), ev(2, "switch", next_pid=5 - (1 << 32))]
    (alert,), _ = told(text, events)
    assert (alert.key, alert.captured) == ({"pid": 5}, {"in": {"prio": -(1 << 31)}})


def test_elements_of_arrays_and_the_running_task() -> None:
    text = """in sys_enter key task.tid where id == syscall("read") capture (fd = args[0], task.comm),
              out sys_exit key task.tid where task.tgid != task.tid, thresh 0us"""
    task = {"tid": 3, "tgid": 2, "comm": "cat"}
    events = [ev(1, "enter", task=task, id=0, **{"args[0]": 7}), ev(2, "leave", task=task, id=0, ret=1)]
    (alert,), _ = told(text, events)
    assert (alert.key, alert.captured) == ({"tid": 3}, {"in": {"fd": 7, "comm": "cat"}})


def test_long_strings_are_seen_as_far_as_the_kernel_copies_them() -> None:
    text = "in irq_handler_entry key irq capture name, out irq_handler_exit key irq, thresh 0us"
    events = [ev(1, "irq", irq=1, name="é" * 40), ev(2, "irq_end", irq=1)]
    (alert,), _ = told(text, events)
    name = str(alert.captured["in"]["name"])
    assert name.startswith("é" * 31)
    assert len(name) < 36
    assert alert.key == {"irq": 1}


def test_wall_time() -> None:
    reference = Reference(good_rules(f"{SCHED}, thresh 0us"), wall_offset_ns=10**18)
    reference.feed(ev(1, "wakeup", pid=1))
    (alert,) = reference.feed(ev(2, "switch", next_pid=1))
    assert alert.wall_ns == 10**18 + 2000


def test_parameters() -> None:
    text = f'param limit: duration = 5us\nparam who: string = "x"\nr: {SCHED} where next_comm == who, thresh limit * 2'
    reference = Reference(good_rules(text, {"limit": "1us", "who": "y"}))
    for comm in ("x", "y"):
        reference.feed(ev(1, "wakeup", pid=1))
        alerts = reference.feed(ev(4, "switch", next_pid=1, next_comm=comm))
        assert len(alerts) == (comm == "y")


def test_long_lists_are_no_trouble() -> None:
    many = ", ".join(map(str, range(1000)))
    text = f"in sched_wakeup key pid where prio one of [{many}], out sched_switch key next_pid, thresh 0us"
    _, rule = told(text, [ev(1, "wakeup", pid=1, prio=999), ev(2, "wakeup", pid=2, prio=1000)])
    assert counted(rule) == {"opened": 1, "pending": 1}
