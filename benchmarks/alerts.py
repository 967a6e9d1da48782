"""How many alerts a second come out as JSON lines, and whether every other one is counted as lost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.table import markdown, spread
from ltrules.catalog import machine_catalog
from ltrules.cli.loading import load_rules
from ltrules.engines.libbpf import LibbpfEngine
from ltrules.sinks import make_sink

RULE = "flood: at raw_syscalls:sys_enter took 1ns where task.tgid == {}, thresh 0ns, rate 10000000 per 1s"


def run(quick: bool) -> str:
    """Return a table of alerts made, written and lost while one process does nothing but system calls."""
    rows, rates = [], []
    for number in range(2 if quick else 5):
        made, written, lost, seconds = _flood(1.0 if quick else 3.0)
        rates.append(written / seconds / 1000)
        verdict = "yes" if made == written + lost else f"NO, {made - written - lost} missing"
        rows.append([str(number + 1), *(f"{n / seconds / 1000:.0f}" for n in (made, written, lost)), verdict])
    table = markdown(["run", "made, k/s", "written, k/s", "lost, k/s", "all accounted for"], rows)
    return f"{table}\n\nWritten: {spread(rates)} k/s."


def _flood(seconds: float) -> tuple[int, int, int, float]:
    """Return the alerts made, written and lost, and the time that took in seconds."""
    catalog = machine_catalog()
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        subprocess.Popen(["dd", "if=/dev/zero", "of=/dev/null", "bs=1"], stderr=subprocess.DEVNULL) as load,
    ):
        try:
            rules = load_rules((), (RULE.format(load.pid),), (), catalog)
            sink = make_sink("json", nowhere, sys.stderr, color=False, quiet=False)
            with LibbpfEngine(catalog).open(rules) as session:
                begin = time.monotonic()
                while (took := time.monotonic() - begin) < seconds:
                    sink.alerts(session.poll(0.1))
                sink.alerts(session.stop())
                stats = session.stats()
        finally:
            load.terminate()
    counters = stats.rules[0].counters
    return counters["alerts"], counters["delivered"], counters["lost"], took
