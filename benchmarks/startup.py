"""Time from the start of a process until it traces, and its memory."""

from __future__ import annotations

import os
import shutil
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

from benchmarks.peers import bpftrace_command, ltrules_command, started
from benchmarks.table import markdown, spread

RULE = "in sched_wakeup key pid, out sched_switch key next_pid, thresh 5us, timeout 6us"
#: Seconds after which memory no longer grows.
_SETTLE = 0.5
_LTRULES = {
    "first": "ltrules, nothing cached",
    "compile": "ltrules, rule not compiled yet",
    "cached": "ltrules, cached",
}


def run(quick: bool) -> str:
    """Return a table of start-up times and memory: interleaved rounds, medians."""
    ours = ltrules_command("run", "--duration", "60s", "-e", RULE)
    theirs = bpftrace_command(5000)
    kinds = [*_LTRULES.items(), *([("bpftrace", "bpftrace, same rule")] if theirs else [])]
    seconds, peak, steady = defaultdict(list), defaultdict(list), defaultdict(list)
    for _ in range(3 if quick else 9):
        for kind, _label in kinds:
            _prepare(kind)
            with started(theirs if kind == "bpftrace" and theirs else ours) as tracer:
                seconds[kind].append(tracer.seconds)
                time.sleep(_SETTLE)
                high, now = tracer.memory()
                peak[kind].append(high)
                steady[kind].append(now)
    rows = [
        [label, spread(seconds[kind], "{:.2f}"), f"{median(peak[kind]):.0f}", f"{median(steady[kind]):.0f}"]
        for kind, label in kinds
    ]
    return markdown(["", "until it traces, s", "peak memory, MB", "steady memory, MB"], rows)


def _prepare(kind: str) -> None:
    cache = Path(os.environ["XDG_CACHE_HOME"]) / "ltrules"
    if kind == "first":
        shutil.rmtree(cache, ignore_errors=True)
    elif kind == "compile":
        for entry in cache.glob("object-*"):
            entry.unlink()
