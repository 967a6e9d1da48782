"""Workloads of known length and number, measured by rules on this kernel: the alerts say what is true."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from helpers import MS, Child, answer, assert_accounted, hold_back, nanosleep, only_rule, run_rules

pytestmark = pytest.mark.kernel

ROUNDS = 23


@pytest.fixture
def pipes() -> Iterator[tuple[int, int, int, int]]:
    ends = (*os.pipe(), *os.pipe())
    yield ends
    for end in ends:
        os.close(end)


def test_a_task_held_back_by_a_real_time_task_waits_as_long(pipes: tuple[int, int, int, int]) -> None:
    requests, wake, answers, reply = pipes
    rule = """
rule w {
  param victim: int = 0
  in sched_wakeup key pid where pid == victim
  out sched_switch key next_pid
  thresh 15ms
}
"""
    with (
        Child(answer, requests, reply, ROUNDS) as victim,
        Child(hold_back, victim.tid, wake, answers, ROUNDS, 20 * MS) as hog,
    ):
        victim.start()
        held: list[int] = []
        alerts, stats = run_rules(rule, lambda: held.extend(hog.work()), {"victim": victim.tid})
    assert [a.key for a in alerts] == [{"pid": victim.tid}] * ROUNDS
    for alert, ns in zip(alerts, held, strict=True):
        # It was woken just before the hog looked at the clock, and could run only when the hog slept.
        assert ns <= alert.latency_ns
        assert alert.latency_ns == alert.closed_ns - alert.opened_ns
        assert alert.limit_ns == 15 * MS
    # Other real-time tasks may have kept it waiting further, now and then.
    assert sorted(a.latency_ns for a in alerts)[ROUNDS // 2] < 60 * MS
    assert_accounted(only_rule(stats))
    assert only_rule(stats).latency.greatest == max(a.latency_ns for a in alerts)


def sleeper(rounds: int, ns: int) -> None:
    for _ in range(rounds):
        nanosleep(ns)


def selector(rounds: int, ns: int) -> None:
    for _ in range(rounds):
        select.select([], [], [], ns / 1e9)


SYSCALLS = """
rule slow {{
  param process: int = 0
  in sys_enter key task.tid where ({which}) and task.tgid == process capture id
  out sys_exit key task.tid
  thresh {limit}
}}
"""


@pytest.mark.parametrize(
    ("work", "which"),
    [
        (sleeper, 'id == syscall("clock_nanosleep")'),
        (selector, 'id == syscall("pselect6") or id == syscall("select")'),
    ],
)
def test_system_calls_take_as_long_as_they_slept(work: object, which: str) -> None:
    with Child(work, ROUNDS, 30 * MS) as child:  # type: ignore[arg-type]
        alerts, stats = run_rules(SYSCALLS.format(which=which, limit="29ms"), child.work, {"slow.process": child.tid})
    assert [a.key for a in alerts] == [{"tid": child.tid}] * ROUNDS
    assert len({a.captured["in"]["id"] for a in alerts}) == 1
    assert all(30 * MS <= a.latency_ns < 130 * MS for a in alerts), [a.latency_ns for a in alerts]
    counters = only_rule(stats).counters
    assert (counters["opened"], counters["closed"], counters["alerts"]) == (ROUNDS, ROUNDS, ROUNDS)
    assert_accounted(only_rule(stats))


def test_what_is_below_the_threshold_is_counted_and_not_reported() -> None:
    with Child(sleeper, ROUNDS, 30 * MS) as child:
        alerts, stats = run_rules(
            SYSCALLS.format(which='id == syscall("clock_nanosleep")', limit="2s"), child.work, {"process": child.tid}
        )
    assert alerts == []
    latency = only_rule(stats).latency
    assert latency.count == only_rule(stats).counters["closed"] == ROUNDS
    assert latency.percentile(50) * 17 / 16 >= 30 * MS
    assert latency.total >= ROUNDS * 30 * MS


def test_two_processes_that_sleep_at_once_are_kept_apart() -> None:
    lengths = {}
    with ExitStack() as stack:
        children = [stack.enter_context(Child(sleeper, 7, n * 10 * MS)) for n in (2, 5, 11)]
        pids = ", ".join(str(c.tid) for c in children)
        rule = (
            f'in sys_enter key task.tid where id == syscall("clock_nanosleep") and task.tgid one of [{pids}],'
            " out sys_exit key task.tid, thresh 1ms"
        )

        def work() -> None:
            for child in children:
                child.start()
            for child in children:
                child.result()

        alerts, stats = run_rules(rule, work)
    for child, n in zip(children, (2, 5, 11), strict=True):
        lengths[n] = [a.latency_ns for a in alerts if a.key["tid"] == child.tid]
        assert len(lengths[n]) == 7
        assert all(n * 10 * MS <= ns < n * 10 * MS + 100 * MS for ns in lengths[n]), lengths
    assert len(alerts) == 21
    assert_accounted(only_rule(stats))
