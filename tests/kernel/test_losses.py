"""Under load, with full tables and a full buffer: every measurement and every alert is still accounted for."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import threading
import time
from contextlib import ExitStack

import pytest

from helpers import MS, PATIENCE, Child, assert_accounted, nanosleep, only_rule, open_rules, run_rules
from ltrules.engines import programs
from ltrules.sinks.summary import loss_sentences

pytestmark = pytest.mark.kernel

_SECONDS = 1.0
_STRESS = ["stress-ng", "--cpu", "2", "--pipe", "2", "--fork", "1", "--timeout", "3s", "--quiet"]


def call_much(seconds: float) -> int:
    """Make system calls that return at once, and return how many."""
    getppid = ctypes.PyDLL(None).getppid
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        for _ in range(100):
            getppid()
        count += 100
    return count


@pytest.mark.skipif(shutil.which("stress-ng") is None, reason="stress-ng is not installed")
def test_rules_are_balanced_under_load() -> None:
    rules = """
rule wakeups { in sched_wakeup key pid where pid != 0 out sched_switch key next_pid capture cpu.id
               cancel sched_process_exit key pid thresh 5us timeout 6us hist latency by out.id as waits }
rule calls { in sys_enter key task.tid capture id out sys_exit key task.tid thresh 100us
             stat count by in.id as calls }
rule both { in sys_enter key (task.tid, cpu.id) out sys_exit key (task.tid, cpu.id) thresh 1ms inflight 100 }
rule names { in sched_wakeup key comm where pid != 0 out sched_switch key next_comm thresh 1ms }
"""
    alerts, stats = run_rules(rules, lambda: subprocess.run(_STRESS, check=True), ring_bytes=1 << 22)
    for rule in stats.rules:
        assert_accounted(rule)
        assert rule.counters["closed"] > 1000, rule.rule
        # Rules share one reading of the clock, so an event may find what another CPU has opened just after it.
        assert rule.counters["clock_skew"] <= rule.counters["closed"] // 100
        assert rule.counters["delivered"] == sum(a.rule == rule.rule for a in alerts)
        assert rule.latency.count == rule.counters["closed"]
    waits = stats.rules[0].histograms[0]
    assert sum(group.count for group in waits.groups) == stats.rules[0].counters["closed"]


@pytest.mark.parametrize("duplicate", ["replace", "keep"])
@pytest.mark.parametrize("inflight", [1, 4])
def test_many_tasks_that_share_few_keys_are_balanced(duplicate: str, inflight: int) -> None:
    rule = f"""
rule shared {{
  in sys_enter key ev.id & 3
  out sys_exit key ev.id & 3
  duplicate {duplicate}
  inflight {inflight}
  thresh 1ms
}}
"""
    with ExitStack() as stack:
        children = [stack.enter_context(Child(call_much, _SECONDS)) for _ in range(8)]
        made: list[int] = []

        def work() -> None:
            for child in children:
                child.start()
            made.extend(child.result() for child in children)

        _, stats = run_rules(rule, work)
    numbers = only_rule(stats)
    assert_accounted(numbers)
    c = numbers.counters
    # With `keep` an opening for a key that is taken is no opening.
    assert c["opened"] + c["kept"] >= sum(made) - c["clock_skew"]
    assert c["replaced" if duplicate == "replace" else "kept"] > 0
    assert c["pending"] <= 4


def test_a_full_table_refuses_and_says_so() -> None:
    rule = """
rule few {
  param only: int = 0
  in sys_enter key task.tid where id == syscall("clock_nanosleep") and task.tgid == only
  out sys_exit key task.tid
  inflight 2
  thresh 1ms
}
"""
    threads = 97
    with Child(sleep_in_threads, threads, 300 * MS) as child:
        alerts, stats = run_rules(rule, child.work, {"only": child.tid})
    numbers = only_rule(stats)
    assert_accounted(numbers)
    c = numbers.counters
    assert c["opened"] == threads
    assert c["refused"] > 0
    assert c["refused"] + c["closed"] == threads
    assert c["unmatched"] >= c["refused"]
    assert numbers.losses == {"refused": c["refused"]}
    assert len({a.key["tid"] for a in alerts}) == c["closed"]


def sleep_in_threads(count: int, ns: int) -> None:
    threads = [threading.Thread(target=nanosleep, args=(ns,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_full_buffer_loses_alerts_and_counts_them() -> None:
    rule = """
rule many {
  param only: int = 0
  at sys_enter took 1us key task.tid where task.tgid == only
  thresh 1ns
  rate 10000000 per 1s
}
"""
    with Child(call_much, 0.3) as child:
        made: list[int] = []
        alerts, stats = run_rules(
            rule, lambda: made.append(child.work()), {"only": child.tid}, ring_bytes=4096, deaf=True
        )
    numbers = only_rule(stats)
    assert_accounted(numbers)
    c = numbers.counters
    assert 0 < len(alerts) < 4096 // 56
    assert c["alerts"] == c["opened"] == c["closed"] >= made[0] > 1000
    assert c["lost"] == c["alerts"] - len(alerts)
    assert numbers.losses == {"lost": c["lost"]}


def test_a_burst_of_two_rules_is_delivered_or_counted_as_lost() -> None:
    rules = """
param only: int = 0
rule calls { at sys_enter took 1us key task.tid where task.tgid == only and id == syscall("getppid")
             thresh 1ns rate 16777215 per 1s }
rule pairs { in sys_enter key task.tid where task.tgid == only and id == syscall("getppid")
             out sys_exit key task.tid thresh 0ns rate 16777215 per 1s }
"""
    with Child(call_much, _SECONDS) as child:
        made: list[int] = []
        alerts, stats = run_rules(rules, lambda: made.append(child.work()), {"only": child.tid}, ring_bytes=1 << 14)
    said = loss_sentences(stats)
    for rule in stats.rules:
        assert_accounted(rule)
        c = rule.counters
        assert c["alerts"] == c["opened"] == made[0]
        assert c["delivered"] == sum(a.rule == rule.rule for a in alerts) > 0
        assert c["lost"] == made[0] - c["delivered"] > 0
        assert f"{rule.rule}: {c['lost']} alerts lost, made faster than they were read" in said
    assert len(said) == 2


def test_a_burst_wakes_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the ring fills, a reader who would look again in 20 s is woken."""
    monkeypatch.setattr(programs, "LONGEST_WAIT_MS", int(PATIENCE * 1000))
    rule = """
param only: int = 0
many: at sys_enter took 1us where task.tgid == only and id == syscall("getppid"), thresh 1ns, rate 16777215 per 1s
"""
    # Nine eighths of what wakes the reader; alone they do not fill the ring.
    enough = (1 << 20) // 8 // 64 * 9 // 8
    with Child(call_slowly, enough) as child, open_rules(rule, {"only": child.tid}) as session:
        child.start()
        start = time.monotonic()
        alerts = session.poll(PATIENCE)
        assert time.monotonic() - start < PATIENCE / 2
        assert child.result() == enough
        alerts += session.stop()
        assert len(alerts) == enough


def call_slowly(count: int) -> int:
    """After a while, make so many system calls that return at once, with pauses, and return how many."""
    getppid = ctypes.PyDLL(None).getppid
    nanosleep(200 * MS)  # until then the reader waits
    for i in range(count):
        getppid()
        if i % 100 == 0:
            nanosleep(MS)
    return count
