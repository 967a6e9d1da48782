"""What a report costs the event that it is about, by whom it wakes, and how soon the reader has it.

`python -m benchmarks.wakeups COUNT GAP_NS` is the load: after a line on stdin it makes system calls, one in each gap,
and prints how long each took.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import subprocess
import sys
import time
from collections import defaultdict
from statistics import median, quantiles

from benchmarks.table import markdown
from bpf_codegen import render
from bpf_codegen.layout import HEAD
from ltrules.catalog import machine_catalog
from ltrules.cli.loading import load_rules
from ltrules.engines.compiler import compile_object
from ltrules.engines.programs import Programs
from ltrules.lower import lower

RULE = (
    'calls: at raw_syscalls:sys_enter took 1ns where task.tgid == {} and id == syscall("getppid"), thresh 0ns, rate {}'
)
RATE = "16777215 per 1s"
OURS = "wake_flags(&alerts, RING_BYTES(alerts))"
#: The flags that a record is submitted with.
FLAGS = {
    "none": "BPF_RB_NO_WAKEUP",
    "ltrules: as the ring fills": OURS,
    "default: when the reader has caught up": "0",
    "all": "BPF_RB_FORCE_WAKEUP",
}
GAPS = {"every ms": 1_000_000, "every 50 us": 50_000}
_HEAD = struct.Struct(f"={HEAD}")


def run(quick: bool) -> str:
    """Return a table of the time of a traced call, the delay, and the reader's CPU: interleaved rounds, medians."""
    rows = []
    for gap, ns in GAPS.items():
        count = (300 if quick else 1000) * (1 if ns > 100_000 else 10)
        found: dict[str, list[tuple[float, float, float, float, float]]] = defaultdict(list)
        for _ in range(2 if quick else 5):
            for kind in ("untraced", *FLAGS):
                found[kind].append(_measure(FLAGS.get(kind), count, ns))
        for kind, runs in found.items():
            middle, high, seen, latest, cpu = (median(values) for values in zip(*runs, strict=True))
            read = [f"{seen:.1f}", f"{latest:.0f}", f"{cpu:.1f}"] if kind in FLAGS else ["", "", ""]
            rows.append([gap, kind, f"{middle:.0f}", f"{high:.0f}", *read])
    return markdown(
        ["alerts", "waking", "a call: median, ns", "p90, ns", "read after: median, ms", "max, ms", "reader's CPU, %"],
        rows,
    )


def _measure(flags: str | None, count: int, gap: int) -> tuple[float, float, float, float, float]:
    """Return median and p90 of a call in ns, median and greatest delay in ms, and the reader's CPU time in %."""
    command = [sys.executable, "-m", "benchmarks.wakeups", str(count), str(gap)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:
        if flags is None:
            return (*_result(load.communicate("\n")[0]), 0, 0, 0)
        delays: list[int] = []
        with Programs.load(compile_object(_text(load.pid, flags))) as programs:
            programs.write_control(0, struct.pack("=Q", 1))
            programs.attach()
            assert load.stdin is not None and load.stdout is not None
            load.stdin.write("\n")
            load.stdin.close()
            begin, cpu_begin = time.monotonic_ns(), time.process_time_ns()
            while load.poll() is None:
                records = programs.poll(50)
                now = time.monotonic_ns()
                delays += [now - _HEAD.unpack_from(record)[3] for record in records]
            cpu = (time.process_time_ns() - cpu_begin) / (time.monotonic_ns() - begin)
            return (*_result(load.stdout.read()), median(delays) / 1e6, max(delays) / 1e6, cpu * 100)


def _text(pid: int, flags: str) -> str:
    """Return the program that reports every call of a process, with some flags."""
    catalog = machine_catalog()
    text = render(lower(load_rules((), (RULE.format(pid, RATE),), (), catalog), catalog))
    assert OURS in text
    return text.replace(OURS, flags)


def _result(output: str) -> tuple[float, float]:
    took = json.loads(output)
    return median(took), quantiles(took, n=10)[-1]


def _load(count: int, gap: int) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    call, now = ctypes.PyDLL(None).getppid, time.monotonic_ns
    sys.stdin.readline()
    took, due = [], now()
    for _ in range(count):
        due += gap
        while now() < due:
            pass
        begin = now()
        call()
        took.append(now() - begin)
    print(json.dumps(took))


if __name__ == "__main__":
    _load(*(int(argument) for argument in sys.argv[1:]))
