"""The pairing table with many measurements in flight: its memory, what it refuses, and what a pair costs.

System calls that fail at once open and close measurements, each by a key of its own. The kernel's account of the
program says what one costs.
"""

from __future__ import annotations

import ctypes
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.table import markdown
from ltrules.catalog import machine_catalog
from ltrules.check.functions import syscall_numbers
from ltrules.cli.explain import refused_share
from ltrules.cli.loading import load_rules
from ltrules.engines.libbpf import LibbpfEngine, LibbpfSession
from ltrules.units import format_size

RULE = """
rule many {{
  in  sys_enter key args[3] where task.tgid == {} and id == syscall("ioctl")
  out sys_enter key args[3] where task.tgid == {} and id == syscall("epoll_ctl")
  thresh 100s
  inflight {}
}}
"""
SIZES = (1_000, 10_000, 100_000, 250_000, 1_000_000)
#: Pairs that are opened and closed while the table is as full as it was asked to be.
PAIRS = 100_000
STATS = Path("/proc/sys/kernel/bpf_stats_enabled")


def run(quick: bool) -> str:
    """Return a table by the number of measurements in flight."""
    rows = [_measure(size, PAIRS // (10 if quick else 1)) for size in SIZES]
    base = float(rows[1][-1])
    head = ["in flight", "slots", "memory", "refused", "by chance", "ns a pair", "× 10,000"]
    return markdown(head, [[*row, f"{float(row[-1]) / base:.2f}"] for row in rows])


def _measure(size: int, pairs: int) -> list[str]:
    catalog = machine_catalog()
    me = os.getpid()
    rules = load_rules((), (RULE.format(me, me, size),), (), catalog)
    libc = ctypes.CDLL(None)
    opening, closing = (syscall_numbers(os.uname().machine)[name] for name in ("ioctl", "epoll_ctl"))
    rng = random.Random(1)
    keys = rng.sample(range(1 << 40), size)
    with LibbpfEngine(catalog).open(rules) as session, _accounting():
        for key in keys:
            libc.syscall(opening, -1, 0, 0, ctypes.c_ulong(key))
        counters = session.stats().rules[0].counters
        chosen = [keys[rng.randrange(size)] for _ in range(pairs)]
        before = _account(session)
        for key in chosen:
            libc.syscall(closing, -1, 0, 0, ctypes.c_ulong(key))
            libc.syscall(opening, -1, 0, 0, ctypes.c_ulong(key))
        runs, ns = (after - then for after, then in zip(_account(session), before, strict=True))
        memory = sum(n for name, n in session.memory().items() if name.startswith("sets_"))
        session.stop()
    sets = session.plan.rules[0].sets
    return [
        f"{size:,}",
        f"{8 * sets:,}",
        format_size(memory),
        f"{counters['refused'] / size:.4%}",
        f"{refused_share(sets, size):.4%}",
        f"{2 * ns / max(runs, 1):.0f}",
    ]


def _account(session: LibbpfSession) -> tuple[int, int]:
    """Return how often the program has run, and for how long."""
    found = next(i for i in session.program_infos() if i.name == "on_sys_enter")
    return found.run_count, found.run_time_ns


@contextmanager
def _accounting() -> Iterator[None]:
    before = STATS.read_text()
    STATS.write_text("1")
    try:
        yield
    finally:
        STATS.write_text(before)
