"""Time from the start of a process until it traces, and its memory."""

from __future__ import annotations

import os
import shutil
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

from benchmarks.peers import bcc_command, bpftrace_command, ltrules_command, started
from benchmarks.table import markdown, spread

RULE = "in sched_wakeup key pid, out sched_switch key next_pid, thresh 5us, timeout 6us"
#: Seconds after which memory no longer grows.
_SETTLE = 0.5
_FIRST = "ltrules, nothing cached"
_COMPILE = "ltrules, rule not compiled yet"
_CACHED = "ltrules, cached"


def run(quick: bool) -> str:
    """Return a table of start-up times and memory: interleaved rounds, medians."""
    ours = ltrules_command("run", "--duration", "60s", "-e", RULE)
    commands = {
        **dict.fromkeys((_FIRST, _COMPILE, _CACHED), ours),
        "bpftrace, same rule": bpftrace_command(5000),
        "bcc, same rule": bcc_command(5000),
    }
    seconds, busy, peak, steady = (defaultdict[str, list[float]](list) for _ in range(4))
    for _ in range(3 if quick else 9):
        for label, command in commands.items():
            if command is None:
                continue
            _prepare(label)
            with started(command) as tracer:
                seconds[label].append(tracer.seconds)
                busy[label].append(tracer.cpu_seconds)
                time.sleep(_SETTLE)
                high, now = tracer.memory()
                peak[label].append(high)
                steady[label].append(now)
    rows = [
        [label, *(spread(times[label], "{:.2f}") for times in (seconds, busy)),
         *(f"{median(sizes[label]):.0f}" for sizes in (peak, steady))]
        for label in seconds
    ]  # fmt: skip
    return markdown(["", "until it traces, s", "CPU time, s", "peak memory, MB", "steady memory, MB"], rows)


def _prepare(label: str) -> None:
    cache = Path(os.environ["XDG_CACHE_HOME"]) / "ltrules"
    if label == _FIRST:
        shutil.rmtree(cache, ignore_errors=True)
    elif label == _COMPILE:
        for entry in cache.glob("object-*"):
            entry.unlink()
