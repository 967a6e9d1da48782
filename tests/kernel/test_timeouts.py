"""Timeouts: the exact set of them, each once, and what becomes of the measurement."""

from __future__ import annotations

import time

import pytest

from helpers import MS, Child, assert_accounted, nanosleep, only_rule, run_rules

pytestmark = pytest.mark.kernel

ROUNDS = 7
SLEEPS = """
rule s {{
  param only: int = 0
  in sys_enter key task.tid where id == syscall("clock_nanosleep") and task.tgid == only
  out sys_exit key task.tid
  {clauses}
}}
"""


def sleeps(rounds: int, ns: int) -> None:
    for _ in range(rounds):
        nanosleep(ns)
        time.monotonic_ns()


def test_a_pending_measurement_is_reported_once_and_its_end_is_late() -> None:
    rule = SLEEPS.format(clauses="thresh 100ms timeout 50ms slack 10ms")
    with Child(sleeps, ROUNDS, 200 * MS) as child:
        alerts, stats = run_rules(rule, child.work, {"only": child.tid})
    assert [a.kind for a in alerts] == ["timeout", "alert"] * ROUNDS
    for timeout, end in zip(alerts[::2], alerts[1::2], strict=True):
        assert timeout.id == end.id
        assert timeout.opened_ns == end.opened_ns
        assert (timeout.late, end.late) == (False, True)
        assert timeout.limit_ns == 50 * MS
        assert 0 < timeout.overdue_ns < 110 * MS  # 10 ms of slack; the sweeper may have to wait for a CPU
        assert end.latency_ns >= 200 * MS
    assert_accounted(only_rule(stats))


def test_a_dropped_measurement_has_no_end() -> None:
    rule = SLEEPS.format(clauses="thresh 100ms timeout 50ms drop")
    with Child(sleeps, ROUNDS, 200 * MS) as child:
        alerts, stats = run_rules(rule, child.work, {"only": child.tid})
    assert [a.kind for a in alerts] == ["timeout"] * ROUNDS
    counters = only_rule(stats).counters
    assert (counters["opened"], counters["expired"], counters["closed"]) == (ROUNDS, ROUNDS, 0)
    assert counters["unmatched"] >= ROUNDS
    assert_accounted(only_rule(stats))


def test_what_expires_is_counted_and_not_reported() -> None:
    rule = SLEEPS.format(clauses="thresh 1ms expire 100ms")
    with Child(sleeps, ROUNDS, 200 * MS) as child:
        alerts, stats = run_rules(rule, child.work, {"only": child.tid})
    assert alerts == []
    counters = only_rule(stats).counters
    assert (counters["opened"], counters["expired"], counters["closed"]) == (ROUNDS, ROUNDS, 0)
    assert_accounted(only_rule(stats))


@pytest.mark.parametrize("limit", ["6us", "60us", "300us"])
def test_each_measurement_over_the_timeout_gives_one_whoever_notices(limit: str) -> None:
    rule = f"""
in sched_wakeup key pid where pid != 0, out sched_switch key next_pid, thresh {limit}, timeout {limit},
inflight 1000, rate 1000000 per 1s
"""
    with Child(sleeps, 997, 200_000) as child:
        alerts, stats = run_rules(rule, child.work, ring_bytes=1 << 23)
    numbers = only_rule(stats)
    assert_accounted(numbers)
    c = numbers.counters
    assert c["lost"] == c["suppressed"] == c["refused"] == 0
    timeouts = [a.id for a in alerts if a.kind == "timeout"]
    ends = {a.id for a in alerts if a.kind == "alert"}
    assert len(set(timeouts)) == len(timeouts) == c["timeouts"]
    # Of those that closed, the ones over the limit; of the others, those that were overdue when they ended.
    assert ends <= set(timeouts)
    assert len(timeouts) - len(ends) <= c["replaced"] + c["pending"] + c["expired"]
    assert all(a.late for a in alerts if a.kind == "alert")
    assert c["closed"] > 500
    if limit == "6us":
        assert any(a.late for a in alerts if a.kind == "timeout")
