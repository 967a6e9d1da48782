"""How long after its deadline a pending measurement is reported: threads that sleep past the timeout of a rule.

Only those are counted that the sweep found while they were pending; the others are reported as they end, and say so.
"""

from __future__ import annotations

import ctypes
import struct
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks.table import markdown
from bpf_codegen import layout
from ltrules.catalog import machine_catalog
from ltrules.cli.loading import load_rules
from ltrules.engines.libbpf import LibbpfEngine
from ltrules.engines.pace import slack_ns
from ltrules.evaluate import Constants
from ltrules.units import format_duration

RULE = """
rule late {{
  in sys_enter key task.tid where id == syscall("clock_nanosleep") and task.comm == "ltrules-sleeps"
  out sys_exit key task.tid
  timeout {}ns
  rate 100000000 per 1s
}}
"""
US, MS = 1_000, 1_000_000


@dataclass(frozen=True, slots=True)
class Case:
    """A timeout in ns, and who sleeps past it: threads, times each, for how long."""

    timeout: int
    threads: int
    rounds: int
    sleep: int


CASES = (
    Case(6 * US, 4, 2000, 300 * US),
    Case(100 * US, 4, 2000, 500 * US),
    Case(1 * MS, 8, 500, 3 * MS),
    Case(10 * MS, 40, 60, 25 * MS),
    Case(1000 * MS, 400, 4, 1500 * MS),
)
LOAD = ["stress-ng", "--cpu", "2", "--pipe", "1", "--quiet", "--timeout", "60s"]


def run(quick: bool) -> str:
    """Return a table of lateness, idle and under load."""
    rows = []
    for loaded in (False, True):
        for case in CASES:
            with _load() if loaded else ExitStack():
                rows.append([format_duration(case.timeout), "load" if loaded else "idle", *_measure(case, quick)])
    head = [
        "timeout",
        "",
        "slack",
        "overdue",
        "told while pending",
        "p50",
        "p99",
        "p99.9",
        "max",
        "within slack",
        "a CPU",
    ]
    return markdown(head, rows)


@contextmanager
def _load() -> Iterator[None]:
    with subprocess.Popen(LOAD) as child:
        try:
            time.sleep(0.5)
            yield
        finally:
            child.terminate()


def _measure(case: Case, quick: bool) -> list[str]:
    catalog = machine_catalog()
    rules = load_rules((), (RULE.format(case.timeout),), (), catalog)
    slack = slack_ns(rules.rules[0], Constants({p.name: p.value for p in rules.params}))
    rounds = max(case.rounds // (4 if quick else 1), 1)
    alerts = []
    with LibbpfEngine(catalog).open(rules) as session, ThreadPoolExecutor(case.threads, initializer=_name) as pool:
        begin = time.monotonic_ns()
        work = [pool.submit(_sleep, rounds, case.sleep, i) for i in range(case.threads)]
        while not all(w.done() for w in work):
            alerts += session.poll(0.05)
        alerts += session.stop()
        lasted = time.monotonic_ns() - begin
        busy = struct.unpack_from(layout.SWEEPING, session.sweeping())[3]
    late = sorted(a.overdue_ns for a in alerts if not a.late)
    if not late:
        return [format_duration(slack), str(len(alerts)), "0", "-", "-", "-", "-", "-", f"{100 * busy / lasted:.1f} %"]
    points = [late[min(int(len(late) * share), len(late) - 1)] for share in (0.5, 0.99, 0.999, 1.0)]
    within = sum(ns <= slack for ns in late) / len(late)
    return [
        format_duration(slack),
        str(len(alerts)),
        f"{100 * len(late) / len(alerts):.0f} %",
        *(format_duration(ns) for ns in points),
        f"{100 * within:.2f} %",
        f"{100 * busy / lasted:.1f} %",
    ]


def _name() -> None:
    ctypes.CDLL(None).prctl(15, b"ltrules-sleeps", 0, 0, 0)  # PR_SET_NAME


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def _sleep(rounds: int, ns: int, number: int) -> None:
    """Sleep some times, each thread at moments of its own."""
    libc = ctypes.CDLL(None)
    for i in range(rounds):
        length = ns + ns * ((number * 7 + i) % 13) // 26
        libc.clock_nanosleep(time.CLOCK_MONOTONIC, 0, ctypes.byref(_Timespec(*divmod(length, 10**9))), None)
