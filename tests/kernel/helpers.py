"""Run rules on this kernel while a known workload runs, and the processes that make such workloads."""

from __future__ import annotations

import ctypes
import mmap
import multiprocessing
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from ltrules.alert import Alert, RuleStats, Stats
from ltrules.catalog import Catalog, machine_catalog
from ltrules.check import check
from ltrules.check.functions import syscall_numbers
from ltrules.diagnostics import Diagnostic
from ltrules.engines.libbpf import LibbpfSession
from ltrules.lower import lower
from ltrules.model import RuleSet
from ltrules.parse import parse
from ltrules.source import COMMAND_LINE, Source

MS = 1_000_000
#: What no test may wait longer for, in seconds. An emulated machine needs more.
PATIENCE = float(os.environ.get("LTRULES_PATIENCE", "20"))
_FORK = multiprocessing.get_context("fork")
_LIBC = ctypes.CDLL(None, use_errno=True)


class Timespec(ctypes.Structure):
    """`struct timespec` of a 64-bit machine."""

    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def nanosleep(ns: int) -> None:
    """Sleep by exactly one `clock_nanosleep` system call."""
    _LIBC.clock_nanosleep(time.CLOCK_MONOTONIC, 0, ctypes.byref(Timespec(ns // 10**9, ns % 10**9)), None)


# ------------------------------------------------------------------------------------ rules
@cache
def catalog() -> Catalog:
    return machine_catalog()


def rule_set(text: str, params: Mapping[str, str | int] | None = None) -> RuleSet:
    """Return the checked rules of a text without any diagnostic but warnings."""
    file, slips = parse(Source(COMMAND_LINE, text))
    settings = {name: str(value) for name, value in (params or {}).items()}
    rules, found = check([file], catalog(), _no_import, settings)
    fatal: list[Diagnostic] = [d for d in (*slips, *found) if d.severity.fatal]
    assert not fatal, [(d.code, d.message, d.label) for d in fatal]
    return rules


def _no_import(path: object) -> Any:
    raise AssertionError(f"{path} is imported")


def open_rules(text: str, params: Mapping[str, str | int] | None = None, ring_bytes: int = 1 << 20) -> LibbpfSession:
    """Return a session that runs some rules; the caller closes it."""
    rules = rule_set(text, params)
    return LibbpfSession(rules, lower(rules, catalog(), ring_bytes))


def run_rules(
    text: str,
    workload: Callable[[], object],
    params: Mapping[str, str | int] | None = None,
    *,
    ring_bytes: int = 1 << 20,
    deaf: bool = False,
) -> tuple[list[Alert], Stats]:
    """Return all alerts and the final numbers of rules that run while a workload does.

    The workload runs in another thread of this process. `deaf`: alerts are read only after it has ended.
    """
    with open_rules(text, params, ring_bytes) as session, ThreadPoolExecutor(1) as pool:
        alerts: list[Alert] = []
        work = pool.submit(workload)
        while not work.done():
            if deaf:
                time.sleep(0.01)
            else:
                alerts += session.poll(0.05)
        work.result()
        alerts += session.stop()
        return alerts, session.stats()


def only_rule(stats: Stats) -> RuleStats:
    """Return the numbers of the one rule of a run."""
    (rule,) = stats.rules
    return rule


def assert_accounted(rule: RuleStats) -> None:
    """Assert that every measurement and every alert of a stopped rule is accounted for."""
    c = rule.counters
    assert rule.balanced, c
    assert c["delivered"] + c["lost"] == c["alerts"] + c["timeouts"], c


# -------------------------------------------------------------------------------- workloads
class Child:
    """A process that runs a function once it is told to; a context manager that ends it.

    Its only thread is known, by `tid`, before it has done anything.
    """

    def __init__(self, function: Callable[..., Any], *args: object) -> None:
        self._here, there = _FORK.Pipe()
        self._process = _FORK.Process(target=_run, args=(there, function, args), daemon=True)

    def __enter__(self) -> Child:
        self._process.start()
        assert self._process.pid is not None
        self.tid = self._process.pid
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.join(PATIENCE)

    def start(self) -> None:
        """Let the function run."""
        self._here.send(None)

    def result(self) -> Any:
        """Return what the function returned."""
        assert self._here.poll(PATIENCE), "the workload does not end"
        value = self._here.recv()
        assert not isinstance(value, BaseException), value
        return value

    def work(self) -> Any:
        """Let the function run, and return what it returned."""
        self.start()
        return self.result()


def _run(there: Any, function: Callable[..., Any], args: Sequence[object]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    there.recv()
    try:
        there.send(function(*args))
    except BaseException as error:
        there.send(error)


def open_many(count: int) -> None:
    """Make `ioctl` calls that fail at once, each with another fourth argument."""
    number = syscall_numbers(os.uname().machine)["ioctl"]
    for i in range(count):
        _LIBC.syscall(number, -1, 0, 0, i)


def spin(ns: int) -> int:
    """Keep a CPU busy, and return for how long."""
    start = now = time.monotonic_ns()
    while now - start < ns:
        now = time.monotonic_ns()
    return now - start


def answer(requests: int, answers: int, rounds: int) -> None:
    """Read a byte and write one, some times, on the last CPU."""
    pin(last_cpu())
    for _ in range(rounds):
        os.read(requests, 1)
        os.write(answers, b"x")


def hold_back(victim: int, requests: int, answers: int, rounds: int, ns: int) -> list[int]:
    """Wake the process `victim`, which reads `requests`, then keep it from the last CPU for `ns`; return true times."""
    pin(last_cpu())
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    held = []
    for _ in range(rounds):
        while not asleep(victim):  # only a task that sleeps can be woken
            time.sleep(0.001)
        os.write(requests, b"x")
        held.append(spin(ns))
        os.read(answers, 1)
    return held


def asleep(tid: int) -> bool:
    """Tell whether a process waits for something."""
    return Path(f"/proc/{tid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def pin(cpu: int) -> None:
    os.sched_setaffinity(0, {cpu})


def last_cpu() -> int:
    return max(os.sched_getaffinity(os.getppid()))


@contextmanager
def loop_device(image: Path, size: int = 16 << 20) -> Iterator[Path]:
    """Make a block device of a new file that nobody else uses, and remove it in the end."""
    with image.open("wb") as file:
        file.truncate(size)
    made = subprocess.run(["losetup", "--find", "--show", image], check=True, capture_output=True, text=True)
    device = Path(made.stdout.strip())
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def read_directly(device: Path, count: int, size: int) -> None:
    """Read so many blocks from the start of a device, each by a request of its own, past the page cache."""
    buffer = mmap.mmap(-1, size)
    fd = os.open(device, os.O_RDONLY | os.O_DIRECT)
    try:
        for i in range(count):
            assert os.preadv(fd, [buffer], i * size) == size
    finally:
        os.close(fd)
