"""What each clause does to measurements of this kernel."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

import pytest

from bpf_codegen import plan
from helpers import MS, Child, assert_accounted, nanosleep, only_rule, open_many, open_rules, run_rules
from ltrules.alert import Alert, RuleStats

pytestmark = pytest.mark.kernel

ROUNDS = 23
SLEEP = 'id == syscall("clock_nanosleep") and task.tgid == only'


def sleeps(*lengths_ms: int, rounds: int = ROUNDS) -> None:
    for _ in range(rounds):
        for length in lengths_ms:
            nanosleep(length * MS)


def rename_and_sleep(name: str, rounds: int) -> None:
    Path("/proc/self/comm").write_text(name)
    sleeps(3, rounds=rounds)


def measured(clauses: str, *lengths_ms: int, rounds: int = ROUNDS) -> tuple[list[Alert], RuleStats]:
    """Run a rule on the sleeps of a child."""
    text = f"rule s {{ param only: int = 0 {clauses} }}"
    with Child(_sleeps, rounds, *lengths_ms) as child:
        alerts, stats = run_rules(text, child.work, {"only": child.tid})
    assert_accounted(only_rule(stats))
    return alerts, only_rule(stats)


def _sleeps(rounds: int, *lengths_ms: int) -> None:
    sleeps(*lengths_ms, rounds=rounds)


PAIR = f"in sys_enter key task.tid where {SLEEP} out sys_exit key task.tid"


def test_when_decides_what_counts() -> None:
    alerts, rule = measured(f"{PAIR} when latency > 15ms thresh 1ms", 2, 20, rounds=11)
    assert len(alerts) == rule.latency.count == 11
    assert rule.counters["closed"] == 22


def test_where_of_an_out_may_ask_for_captures() -> None:
    clauses = f"in sys_enter key task.tid where {SLEEP} capture opener = task.comm"
    clauses += ' out sys_exit key task.tid where in.opener == "someone-else" as never'
    clauses += " out sys_exit key task.tid where latency > 1ms as done thresh 1ms"
    alerts, rule = measured(clauses, 5, rounds=13)
    assert [a.outcome for a in alerts] == ["done"] * 13
    assert rule.counters["closed"] == 13


def test_a_cancelled_measurement_gives_nothing() -> None:
    alerts, rule = measured(f"{PAIR} cancel sched_switch key prev_pid thresh 1ns", 2)
    assert alerts == []
    assert (rule.counters["cancelled"], rule.counters["closed"]) == (ROUNDS, 0)


@pytest.mark.parametrize("duplicate", ["replace", "keep"])
def test_which_of_two_openings_counts(duplicate: str) -> None:
    # The process is the key: each sleep opens, and only the last system call, `getpgid`, closes.
    clauses = f"in sys_enter key task.tgid where {SLEEP}"
    clauses += ' out sys_enter key task.tgid where id == syscall("getpgid") and task.tgid == only'
    with Child(_sleep_then_call, 5, 10 * MS) as child:
        alerts, stats = run_rules(
            f"rule s {{ param only: int = 0 {clauses} duplicate {duplicate} thresh 1ms }}",
            child.work,
            {"only": child.tid},
        )
    (alert,) = alerts
    c = only_rule(stats).counters
    assert_accounted(only_rule(stats))
    if duplicate == "keep":
        assert alert.latency_ns >= 50 * MS
        assert (c["opened"], c["kept"], c["replaced"]) == (1, 4, 0)
    else:
        assert alert.latency_ns >= 10 * MS
        assert (c["opened"], c["kept"], c["replaced"]) == (5, 0, 4)


def _sleep_then_call(count: int, ns: int) -> None:
    sleeps(ns // MS, rounds=count)
    ctypes.CDLL(None).getpgid(0)


def test_strings_are_keys_and_parameters() -> None:
    rule = """
rule s {
  param name: string = "none"
  in sys_enter key (task.comm, task.tid) where id == syscall("clock_nanosleep") and task.comm == name
  out sys_exit key (task.comm, task.tid)
  thresh 1ms
}
"""
    with Child(rename_and_sleep, "ltr-victim", ROUNDS) as child, Child(rename_and_sleep, "ltr-other", ROUNDS) as other:

        def work() -> None:
            other.start()
            child.work()
            other.result()

        alerts, stats = run_rules(rule, work, {"name": "ltr-victim"})
    assert [a.key for a in alerts] == [{"comm": "ltr-victim", "tid": child.tid}] * ROUNDS
    assert_accounted(only_rule(stats))


def test_groups_hold_what_was_done() -> None:
    clauses = f"in sys_enter key task.tid where {SLEEP} capture (id, who = task.comm) out sys_exit key task.tid"
    clauses += " hist latency by in.who as waits hist latency linear(0ns, 40ms, 10ms) as steps"
    clauses += " stat count by (in.who, in.id) as calls stat min latency as least stat max latency as most"
    clauses += " stat avg latency as mean stat sum latency as whole"
    alerts, rule = measured(clauses, 12, 33, rounds=11)
    assert alerts == []
    waits, steps = rule.histograms
    (group,) = waits.groups
    assert (group.count, group.total) == (22, rule.latency.total)
    assert steps.linear
    (linear,) = steps.groups
    counts = {low // MS: count for low, _, count in linear.buckets}
    assert sum(counts.values()) == 22
    assert 0 not in counts
    assert counts.get(10, 0) >= 6
    values = {s.name: s.groups for s in rule.statistics}
    ((_, calls),) = values["calls"]
    assert calls == 22
    least, most, mean, whole = (values[name][0][1] for name in ("least", "most", "mean", "whole"))
    assert 12 * MS <= least <= mean <= most == rule.latency.greatest
    assert (whole, mean) == (rule.latency.total, rule.latency.total // 22)
    assert whole >= 11 * 45 * MS


def test_an_event_that_carries_its_own_latency() -> None:
    alerts, rule = measured(f"at sys_enter took 7us key task.tid where {SLEEP} thresh 6us", 1)
    assert [a.latency_ns for a in alerts] == [7000] * ROUNDS
    assert {a.closed_ns - a.opened_ns for a in alerts} == {7000}
    assert rule.latency.greatest == 7000


def test_at_one_event_the_old_measurement_closes_before_the_next_opens() -> None:
    alerts, rule = measured(f"in sys_enter key task.tid where {SLEEP} out sys_enter key task.tid where {SLEEP} "
                            "thresh 1ms", 5)  # fmt: skip
    assert len(alerts) == rule.counters["closed"] == ROUNDS - 1
    assert (rule.counters["opened"], rule.counters["pending"], rule.counters["unmatched"]) == (ROUNDS, 1, 1)
    assert all(a.latency_ns >= 5 * MS for a in alerts)
    assert [a.closed_ns for a in alerts[:-1]] == [a.opened_ns for a in alerts[1:]]


def test_rules_at_the_same_probes_do_not_meet() -> None:
    rule = f"param only: int = 0 thresh 1ms {PAIR}"
    text = f"rule a {{ {rule} }} rule b {{ {rule} }} rule c {{ {rule} where latency > 1s duplicate keep }}"
    with Child(_sleeps, ROUNDS, 5) as child:
        alerts, stats = run_rules(text, child.work, {f"{name}.only": child.tid for name in "abc"})
    first, second, third = stats.rules
    assert first.counters == second.counters
    assert first.latency == second.latency
    assert (third.counters["closed"], third.counters["opened"]) == (0, 1)
    times = [[(x.opened_ns, x.closed_ns) for x in alerts if x.rule == name] for name in "ab"]
    assert times[0] == times[1]
    assert len(times[0]) == ROUNDS


def test_nothing_is_measured_before_all_is_attached() -> None:
    rule = f"rule s {{ param only: int = 0 {PAIR} where task.tgid == only thresh 1ms }}"
    with open_rules(rule):
        pass  # compiled, which may take as long as the child sleeps
    with Child(_sleeps, 400, 5) as child:
        child.start()
        time.sleep(0.02)
        with open_rules(rule, {"only": child.tid}) as session:
            child.result()
            session.stop()
            rule = only_rule(session.stats())
    assert 0 < rule.counters["opened"] == rule.counters["closed"] <= 400
    assert rule.counters["replaced"] == 0
    assert_accounted(rule)


def ours() -> set[int]:
    """Return the ids of the BPF programs that this process holds."""
    ids = set()
    for fd in Path("/proc/self/fdinfo").iterdir():
        try:
            text = fd.read_text()
        except FileNotFoundError:
            continue
        ids |= {int(line.split()[1]) for line in text.splitlines() if line.startswith("prog_id:")}
    return ids


def exists(program: int) -> bool:
    """Tell whether the kernel still has a program."""
    bpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
    fd = bpf.bpf_prog_get_fd_by_id(program)
    if fd >= 0:
        os.close(fd)
    return fd >= 0


class _PlannedError(Exception):
    pass


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_stays_behind(fails: bool) -> None:
    assert ours() == set()
    text = "in sched_wakeup key pid where pid != 0, out sched_switch key next_pid, thresh 1ms, timeout 1s"
    try:
        with open_rules(text) as session:
            programs = ours()
            assert len(programs) == 4  # two that are attached, and two to sweep
            assert all(map(exists, programs))
            if fails:
                raise _PlannedError
            session.stop()
    except _PlannedError:
        pass
    assert ours() == set()
    deadline = time.monotonic() + 5  # the kernel frees programs in the background
    while any(map(exists, programs)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(exists, programs))


def test_groups_are_bounded_and_what_is_beyond_is_counted_together() -> None:
    rule = """
rule g {
  param only: int = 0
  at sys_enter took 5us key args[3] where id == syscall("ioctl") and task.tgid == only
  hist latency by key as times
  stat count by key as calls
}
"""
    calls = plan.GROUPS + 171
    with Child(open_many, calls) as child:
        _, stats = run_rules(rule, child.work, {"only": child.tid})
    (times,), (counts,) = only_rule(stats).histograms, only_rule(stats).statistics
    assert len(times.groups) == len(counts.groups) == plan.GROUPS + 1
    assert {g.group: g.count for g in times.groups} == dict(counts.groups)
    assert dict(counts.groups)["(other)",] == 171
    assert all(n == 1 for group, n in counts.groups if group != ("(other)",))
