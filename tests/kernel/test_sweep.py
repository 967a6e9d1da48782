"""The sweep in the kernel: what is pending is told in time, and limits change while rules run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from bpf_codegen import plan, render
from helpers import MS, Child, assert_accounted, nanosleep, only_rule, open_many, open_rules, run_rules
from ltrules.alert import Alert
from ltrules.engines import libbpf
from test_losses import call_much

pytestmark = pytest.mark.kernel

SLEEPS = """
rule s {{
  param only: int = 0
  in sys_enter key task.tid where id == syscall("clock_nanosleep") and task.tgid == only
  out sys_exit key task.tid
  {clauses}
}}
"""
ROUNDS = 7
#: Ways in which a pending measurement is found.
WAYS = ["queue", "scan", "user space"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Let the sweep find things by its queue, by looking at everything as nothing was queued, or without timers."""
    if request.param == "scan":
        monkeypatch.setattr(libbpf, "render", lambda planned: "#define TRIES 0\n" + render(planned))
    if request.param == "user space":
        monkeypatch.setattr(libbpf, "has_timers", lambda: False)
    yield request.param


def sleeps(rounds: int, ns: int) -> None:
    for _ in range(rounds):
        nanosleep(ns)


def test_what_pends_is_told_before_it_ends(way: str) -> None:
    rule = SLEEPS.format(clauses="thresh 100ms timeout 50ms slack 10ms")
    with Child(sleeps, ROUNDS, 300 * MS) as child:
        alerts, stats = run_rules(rule, child.work, {"only": child.tid})
    assert [a.kind for a in alerts] == ["timeout", "alert"] * ROUNDS
    for told, ended in zip(alerts[::2], alerts[1::2], strict=True):
        assert (told.id, told.late, ended.late) == (ended.id, False, True)
        assert 50 * MS < told.latency_ns < ended.latency_ns
    counters = only_rule(stats).counters
    assert (counters["unqueued"] > 0) == (way == "scan")
    assert_accounted(only_rule(stats))


def test_what_is_dropped_is_told_and_has_no_end(way: str) -> None:
    rule = SLEEPS.format(clauses="thresh 1ms timeout 50ms drop")
    with Child(sleeps, ROUNDS, 300 * MS) as child:
        alerts, stats = run_rules(rule, child.work, {"only": child.tid})
    assert [(a.kind, a.late) for a in alerts] == [("timeout", False)] * ROUNDS
    counters = only_rule(stats).counters
    assert (counters["opened"], counters["expired"], counters["closed"]) == (ROUNDS, ROUNDS, 0)
    assert_accounted(only_rule(stats))


def test_what_expires_is_dropped_while_it_pends(way: str) -> None:
    rule = SLEEPS.format(clauses="thresh 1ms expire 50ms")
    with open_rules(rule) as session, Child(sleeps, 1, 500 * MS) as child, ThreadPoolExecutor(1) as pool:
        session.set("s.only", child.tid)
        work = pool.submit(child.work)
        expired = 0
        while not expired and not work.done():
            session.poll(0.02)
            expired = only_rule(session.stats()).counters["expired"]
        assert expired == 1
        assert not work.done()
        work.result()


def test_limits_change_while_rules_run(way: str) -> None:
    rule = SLEEPS.format(clauses="thresh 10s timeout 10s")
    with open_rules(rule) as session, ThreadPoolExecutor(1) as pool:

        def alerts_of_a_sleep(ms: int) -> list[Alert]:
            with Child(sleeps, 1, ms * MS) as child:
                session.set("s.only", child.tid)
                work = pool.submit(child.work)
                found: list[Alert] = []
                while not work.done():
                    found += session.poll(0.02)
                return found + session.poll(0)

        assert alerts_of_a_sleep(100) == []
        session.set("s.thresh", 50 * MS)
        assert [(a.kind, a.limit_ns) for a in alerts_of_a_sleep(100)] == [("alert", 50 * MS)]
        session.set("s.timeout", 20 * MS)
        assert [(a.kind, a.limit_ns, a.late) for a in alerts_of_a_sleep(300)] == [
            ("timeout", 20 * MS, False),
            ("alert", 50 * MS, True),
        ]
        # While a measurement pends, too: what was queued by the longer timeout is found by the shorter one.
        session.set("s.timeout", 10_000 * MS)
        with Child(sleeps, 1, 600 * MS) as child:
            session.set("s.only", child.tid)
            work = pool.submit(child.work)
            time.sleep(0.2)
            assert session.poll(0) == []
            session.set("s.timeout", 1 * MS)
            told: list[Alert] = []
            while not told and not work.done():
                told = session.poll(0.02)
            assert [(a.kind, a.late) for a in told] == [("timeout", False)]
            assert not work.done()
            work.result()
        session.stop()
        assert_accounted(only_rule(session.stats()))


def test_values_that_a_parameter_does_not_take_are_refused() -> None:
    rule = (
        "rule r { param room: int = 10 in sched_wakeup key pid out sched_switch key next_pid inflight room thresh 1s }"
    )
    with open_rules(rule) as session:
        with pytest.raises(KeyError, match="no parameter"):
            session.set("r.limit", 1)
        with pytest.raises(ValueError, match="outside"):
            session.set("r.thresh", -1)
        with pytest.raises(ValueError, match="needs one"):
            session.set("r.thresh", "1s")
        with pytest.raises(ValueError, match="when the rules are loaded"):
            session.set("r.room", 20)


def test_evict_makes_room_for_what_is_new() -> None:
    rule = """
rule few {
  param only: int = 0
  in sys_enter key args[3] where id == syscall("ioctl") and task.tgid == only
  out sys_exit key ret where id == syscall("munmap") and task.tgid == only and ret == -12345
  inflight 1 evict
  timeout 10s
}
"""
    with Child(open_many, 97) as child:
        _, stats = run_rules(rule, child.work, {"only": child.tid})
    counters = only_rule(stats).counters
    assert counters["opened"] == 97
    assert counters["pending"] == plan.WAYS
    assert counters["refused"] == 97 - plan.WAYS
    assert_accounted(only_rule(stats))


@pytest.mark.parametrize("clauses", ["timeout 2us", "timeout 2us drop", "timeout 1us evict", "expire 3us timeout 2us"])
def test_everything_is_accounted_for_while_many_share_keys_and_time_runs_out(clauses: str) -> None:
    clauses = clauses.replace("evict", "inflight 2 evict")
    rules = f"""
rule few {{ in sys_enter key ev.id & 3 capture task.tid out sys_exit key ev.id & 3 thresh 1us {clauses} }}
rule plain {{ in sys_enter key ev.id & 3 out sys_exit key ev.id & 3 thresh 1us {clauses} duplicate keep }}
rule own {{ in sys_enter key task.tid out sys_exit key task.tid thresh 1us {clauses} }}
"""
    with ExitStack() as stack:
        children = [stack.enter_context(Child(call_much, 1.0)) for _ in range(8)]

        def work() -> None:
            for child in children:
                child.start()
            for child in children:
                child.result()

        alerts, stats = run_rules(rules, work, ring_bytes=1 << 22)
    for rule in stats.rules:
        assert_accounted(rule)
        assert rule.counters["opened"] > 1000
        assert rule.counters["timeouts"] > 0
        ids = [a.id for a in alerts if a.rule == rule.rule and a.kind == "timeout"]
        assert len(ids) == len(set(ids)) or rule.rule != "own", "a timeout was told twice"
