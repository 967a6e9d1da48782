"""How many alerts a second come out as JSON lines, and whether every other one is counted as lost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.table import markdown, spread
from ltrules.catalog import machine_catalog
from ltrules.cli.loading import load_rules
from ltrules.engines.libbpf import LibbpfEngine
from ltrules.sinks import make_sink

#: Every system call of one process is an alert, as far as `rate` admits it: the load makes some millions a second.
PLAIN = "flood: at raw_syscalls:sys_enter took 1ns where task.tgid == {}, thresh 0ns, rate {}"
RICH = """rule flood {{
  at raw_syscalls:sys_enter took 1ns key (task.tid, id) where task.tgid == {} capture task.comm
  thresh 0ns  rate {}
  message "{{at.comm}}/{{key.tid}} called {{key.id}}, {{latency}}"
}}"""
#: What the kernel admits: spread over the second, or all that comes.
RATES = {"200 k/s": "2000 per 10ms", "all": "16777215 per 1s"}
KINDS = {"plain": PLAIN, "key, capture and message": RICH}


@dataclass(frozen=True, slots=True)
class Flood:
    """What became of the alerts of one run, and the seconds that it took, of time and of our CPU time."""

    made: int
    written: int
    lost: int
    seconds: float
    cpu_seconds: float


def run(quick: bool) -> str:
    """Return a table of alerts made, written and lost while one process does nothing but system calls."""
    rows = []
    for kind, rule in KINDS.items():
        for most, rate in RATES.items():
            runs = [_flood(rule, rate, 1.0 if quick else 3.0) for _ in range(2 if quick else 5)]
            missing = sum(one.made - one.written - one.lost for one in runs)
            rows.append(
                [
                    kind,
                    most,
                    *(spread([n / one.seconds / 1000 for n, one in zip(counts, runs, strict=True)])
                      for counts in zip(*((one.made, one.written, one.lost) for one in runs), strict=True)),
                    spread([one.cpu_seconds / one.written * 1e6 for one in runs], "{:.1f}"),
                    "yes" if not missing else f"NO, {missing} missing",
                ]
            )  # fmt: skip
    head = ["alerts", "admitted", "made, k/s", "written, k/s", "lost, k/s", "CPU us each", "all accounted for"]
    return markdown(head, rows)


def _flood(rule: str, rate: str, seconds: float) -> Flood:
    catalog = machine_catalog()
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        subprocess.Popen(["dd", "if=/dev/zero", "of=/dev/null", "bs=1"], stderr=subprocess.DEVNULL) as load,
    ):
        try:
            rules = load_rules((), (rule.format(load.pid, rate),), (), catalog)
            sink = make_sink("json", nowhere, sys.stderr, color=False, quiet=False)
            with LibbpfEngine(catalog).open(rules) as session:
                begin, cpu_begin = time.monotonic(), time.process_time()
                while time.monotonic() - begin < seconds:
                    sink.alerts(session.poll(0.1))
                sink.alerts(session.stop())
                took, cpu = time.monotonic() - begin, time.process_time() - cpu_begin
                (stats,) = session.stats().rules
        finally:
            load.terminate()
    c = stats.counters
    return Flood(c["alerts"], c["delivered"], c["lost"], took, cpu)
