"""Traces recorded by other tools on this kernel: their forms agree with one another, and answers with those of perf.

The workload of each test is a shell that writes, reads, sleeps and waits for children.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers import catalog, rule_set
from ltrules.catalog.tracefs import mount_tracefs
from ltrules.engines.replay import ReplaySession
from ltrules.traces import Need, Trace, TraceEvent, needs_of, open_trace
from trace_support import assert_sound, needs

pytestmark = pytest.mark.kernel

SWITCHES = ("sched:sched_switch", "sched:sched_wakeup", "sched:sched_wakeup_new")
EVENTS = (
    *SWITCHES, "sched:sched_waking", "sched:sched_process_fork", "sched:sched_process_exec", "sched:sched_process_exit",
    "irq:irq_handler_entry", "irq:irq_handler_exit", "irq:softirq_raise", "irq:softirq_entry", "irq:softirq_exit",
    "block:block_rq_issue", "block:block_rq_complete", "raw_syscalls:sys_enter", "raw_syscalls:sys_exit",
    "workqueue:workqueue_queue_work", "workqueue:workqueue_execute_start", "signal:signal_generate",
    "syscalls:sys_enter_openat", "syscalls:sys_exit_openat", "timer:hrtimer_start", "timer:hrtimer_expire_entry",
)  # fmt: skip
#: At least these happen, whatever else this machine does.
CERTAIN = frozenset((*SWITCHES, "sched:sched_process_fork"))
#: ftrace prints the hash of an address.
HASHED = frozenset(("work", "function", "hrtimer"))
MOST_LATE_NS = 1_000_000


def tool(name: str, *arguments: str) -> str:
    """Run a tool for at most a minute and return what it prints."""
    done = subprocess.run([name, *arguments], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, (name, arguments, done.stderr[-500:])
    return done.stdout.decode("utf-8", "backslashreplace")


@pytest.fixture(autouse=True)
def tools() -> None:
    missing = [name for name in ("trace-cmd", "perf", "babeltrace2") if shutil.which(name) is None]
    assert not missing, f"install {missing}: tools/setup.sh dev does"


def workload(directory: Path) -> list[str]:
    file = directory / "written"
    return [
        "sh",
        "-c",
        f"for i in 1 2 3; do sleep 0.002; done; dd if=/dev/zero of={file} bs=4k count=5 conv=fsync; cat {file}",
    ]


@contextmanager
def instance(events: Iterable[str]) -> Iterator[Path]:
    """Make a tracing instance of our own, with some events on, and remove it at the end."""
    path = mount_tracefs() / "instances" / f"ltrules-test-{os.getpid()}"
    path.mkdir()
    try:
        (path / "trace_clock").write_text("mono")
        (path / "buffer_size_kb").write_text("8192")
        for event in events:
            (path / "events" / event.replace(":", "/") / "enable").write_text("1")
        yield path
    finally:
        if path.exists():  # `trace-cmd extract` removes it
            path.rmdir()


def read(path: Path, wanted: dict[str, Need]) -> tuple[list[TraceEvent], Trace]:
    with open_trace(path, catalog(), wanted) as trace:
        events = list(trace)
    assert_sound(events, trace.troubles, wanted)
    skip_if_names_break_lines(trace)
    assert not trace.troubles.cut and not trace.troubles.late
    assert {event.name for event in events} >= CERTAIN
    return events, trace


def skip_if_names_break_lines(trace: Trace) -> None:
    """Skip the rest where a stranger's name has the end of a line in it, which the tools write as it is."""
    if trace.troubles.malformed:
        pytest.skip("a task on this machine has a name that breaks the lines of all tools")


def assert_same(some: list[TraceEvent], others: list[TraceEvent], tolerance: int, hashed: frozenset[str]) -> None:
    """Compare two forms of one recording, event by event on each CPU, in all that both tell; times within ns."""
    fields = 0
    grouped, theirs = by_place(some), by_place(others)
    assert {place: len(events) for place, events in grouped.items()} == {p: len(e) for p, e in theirs.items()}
    for place, events in grouped.items():
        for one, other in zip(events, theirs[place], strict=True):
            assert abs(one.time_ns - other.time_ns) < tolerance, (one, other)
            for mine, yours in ((one.fields, other.fields), (one.context, other.context)):
                common = (mine.keys() & yours.keys()) - hashed
                assert {n: mine[n] for n in common} == {n: yours[n] for n in common}, (one, other)
                fields += len(common)
    assert fields > 4 * len(some)


def by_place(events: list[TraceEvent]) -> dict[tuple[int, str], list[TraceEvent]]:
    """Return events by CPU and name: between CPUs, and where times are rounded, not all forms have the same order."""
    found: dict[tuple[int, str], list[TraceEvent]] = {}
    for event in events:
        found.setdefault((event.cpu, event.name), []).append(event)
    return found


def test_forms_of_one_ftrace_recording_agree(tmp_path: Path) -> None:
    wanted = needs(*EVENTS, catalog=catalog(), context=("tid", "comm"))
    data, text, plain = tmp_path / "trace.dat", tmp_path / "ftrace", tmp_path / "report"
    with instance(EVENTS) as path:
        subprocess.run(workload(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20, check=True)
        (path / "tracing_on").write_text("0")
        text.write_bytes((path / "trace").read_bytes())
        tool("trace-cmd", "extract", "-B", path.name, "-o", str(data))
    plain.write_text(tool("trace-cmd", "report", "-N", "-t", "-i", str(data)))
    raw, trace = read(data, wanted)
    assert trace.description == "trace.dat, read by trace-cmd"
    assert_same(raw, read(plain, wanted)[0], 1, frozenset())
    assert_same(raw, read(text, wanted)[0], 1000, HASHED)
    # Symbols stand where the addresses of functions were; nothing else is missing.
    assert {field for _, field in trace.troubles.lacking} <= {"function"}


def test_forms_of_one_perf_recording_agree(tmp_path: Path) -> None:
    wanted = needs(*EVENTS, catalog=catalog(), context=("tid", "tgid"))
    data, ctf = tmp_path / "perf.data", tmp_path / "ctf"
    record(data, EVENTS, tmp_path)
    tool("perf", "data", "convert", "--to-ctf", str(ctf), "-i", str(data))
    script, trace = read(data, wanted)
    assert trace.description == "perf.data, read by perf" and not trace.troubles.lost_marks
    packed, trace = read(ctf, wanted)
    assert trace.description == "CTF, read by babeltrace2"
    assert not trace.troubles.lacking, "the binary form has everything"
    # Where a buffer is merged late, the converter gives an event the time of the one that it wrote before.
    assert_same(script, packed, MOST_LATE_NS, frozenset())
    same = sum(one.time_ns == other.time_ns for one, other in zip(script, packed, strict=True))
    assert same > 0.9 * len(script)


def record(data: Path, events: Iterable[str], directory: Path) -> None:
    options = ("-q", "-a", "-m", "4096", "-k", "CLOCK_MONOTONIC", "-o", str(data))
    tool("perf", "record", *options, *(f"-e{event}" for event in events), "--", *workload(directory))


WAKEUPS = """rule wakeups {
  in sched_wakeup or sched_wakeup_new key pid
  out sched_switch key next_pid
  cancel sched_switch key prev_pid
  duplicate keep
  thresh 0us
  rate 1000000 per 1s
}"""
#: Time, CPU, task with its ids, wait time, delay and run time, the latter in ms.
_ROW = re.compile(r" *(\d+)\.(\d{6}) \[\d+\] +.*\[(\d+)(?:/\d+)?\] +[\d.]+ +(\d+)\.(\d{3}) +[\d.]+ *")


def test_wakeup_latencies_are_those_of_perf_sched(tmp_path: Path) -> None:
    """`perf sched timehist` tells, when a task is switched out, how long it had waited for the CPU that it then had."""
    data = tmp_path / "perf.data"
    record(data, SWITCHES, tmp_path)
    rules = rule_set(WAKEUPS)
    ours: dict[tuple[int, int], int] = {}
    with open_trace(data, catalog(), needs_of(rules)) as trace, ReplaySession(rules, trace) as session:
        while not session.ended:
            for alert in session.poll(1):
                ours[int(alert.key["pid"]), alert.closed_ns] = alert.latency_ns
    skip_if_names_break_lines(trace)
    assert not trace.troubles.lost_marks

    wanted = needs("sched:sched_switch", catalog=catalog())
    began: dict[int, int] = {}
    expected: dict[tuple[int, int], int] = {}
    with open_trace(data, catalog(), wanted) as trace:
        for event in trace:
            out, into = int(event.fields["prev_pid"]), int(event.fields["next_pid"])
            if out in began:
                expected[out, event.time_ns // 1000] = ours.get((out, began.pop(out)), 0) // 1000
            began[into] = event.time_ns
    rows = _ROW.finditer(tool("perf", "sched", "timehist", "-i", str(data)))
    theirs = {
        (int(tid), int(seconds) * 10**6 + int(fraction)): int(ms) * 1000 + int(us)
        for seconds, fraction, tid, ms, us in (row.groups() for row in rows)
    }
    common = expected.keys() & theirs.keys()
    assert {place: theirs[place] for place in common} == {place: expected[place] for place in common}
    assert sum(theirs[place] > 0 for place in common) >= 10
    # Recording begins on one CPU after the other: a task may be seen to wake there, and not to be switched in here.
    assert sum(theirs[place] > 0 for place in theirs.keys() - common) <= (os.cpu_count() or 1)
