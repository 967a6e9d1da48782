"""How many recorded events a second are replayed, and in how much memory."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import tempfile
from pathlib import Path

from benchmarks.peers import ltrules_command
from benchmarks.table import markdown, spread

RULE = "in sched_wakeup key pid, out sched_switch key next_pid, thresh 5us, timeout 6us"
#: Pairs of events that are put in order together.
_BLOCK = 10_000
_TASKS = 300
_WAKEUP = '{"t":%d,"e":"sched:sched_wakeup","cpu":%d,"f":{"pid":%d}}\n'
_SWITCH = '{"t":%d,"e":"sched:sched_switch","cpu":%d,"f":{"next_pid":%d}}\n'


def run(quick: bool) -> str:
    """Return a table of rates and peak memory of `ltrules replay`, by CPU time of the whole process."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="ltrules-bench-") as directory:
        short, long = Path(directory) / "short.jsonl", Path(directory) / "long.jsonl"
        write_trace(short, 500_000)
        write_trace(long, 1_000_000 if quick else 5_000_000)
        for label, count, trace, events, rounds in (
            ("the rule", 1, short, 1.0, 3 if quick else 7),
            ("ten rules", 10, short, 1.0, 1 if quick else 3),
            ("the rule", 1, long, 2.0 if quick else 10.0, 1),
        ):
            rates, peaks = zip(*(_replay(trace, count) for _ in range(rounds)), strict=True)
            rows.append([label, f"{events:.0f}", spread([events * 1000 / s for s in rates]), f"{max(peaks):.0f}"])
    return markdown(["", "events, millions", "events, k/s", "peak memory, MB"], rows)


def write_trace(path: Path, pairs: int) -> None:
    """Write a recording of so many wakeups and the switches that follow them; two in five take longer than 5 us."""
    chance = random.Random(1)
    now = 1_000_000_000
    with path.open("w", encoding="ascii") as file:
        file.write(json.dumps({"ltrules_trace": 1}) + "\n")
        for start in range(0, pairs, _BLOCK):
            events = []
            for _ in range(min(_BLOCK, pairs - start)):
                now += chance.randrange(1_000, 15_000)
                pid, cpu = chance.randrange(_TASKS), chance.randrange(2)
                end = now + int(chance.lognormvariate(math.log(4_000), 1))
                events += [(now, _WAKEUP % (now, cpu, pid)), (end, _SWITCH % (end, cpu, pid))]
            events.sort()
            now = events[-1][0]
            file.writelines(line for _, line in events)


def _replay(trace: Path, rules: int) -> tuple[float, float]:
    """Return the CPU seconds that replaying a trace takes, and the peak memory in MB."""
    texts = [word for i in range(rules) for word in ("-e", f"r{i}: {RULE}")]
    command = ltrules_command("replay", "-q", *texts, str(trace))
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with status {child.returncode}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1000
