"""What tracing adds to a context switch: `perf bench sched pipe` beside itself, untraced.

One operation of that benchmark is a message there and back: two wakeups, two switches to the woken task. A variant's
cost is the difference to an untraced run just before.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from statistics import median

from benchmarks.peers import bcc_command, bpftrace_command, started
from benchmarks.table import markdown, spread
from ltrules.catalog import machine_catalog
from ltrules.cli.loading import load_rules
from ltrules.engines.compiler import compile_object
from ltrules.engines.libbpf import LibbpfEngine
from ltrules.engines.programs import Programs
from ltrules.errors import InputError

#: Calls its argument again and again while the load runs, or does nothing.
Poll = Callable[[], object]

RULE = "in sched_wakeup key pid, out sched_switch key next_pid, thresh 10s"
TEN_RULES = "\n".join(f"rule{i}: {RULE}" for i in range(10))
THRESH_NS = 10_000_000_000
EMPTY = """
#include "ltrules.bpf.h"
SEC("tp_btf/sched_wakeup") int on_wakeup(u64 *ctx) { return 0; }
SEC("tp_btf/sched_switch") int on_switch(u64 *ctx) { return 0; }
char LICENSE[] SEC("license") = "GPL";
"""
#: Real-time priority: nothing else that runs on the machine comes between the two tasks.
_ALONE = ["chrt", "--fifo", "1"]
#: Where the load runs: operations in a quick run, and words before its command.
LOADS = {"one CPU": (15_000, [*_ALONE, "taskset", "-c", "1"]), "any CPU": (5_000, _ALONE)}


def run(quick: bool) -> str:
    """Return a table of added ns for each operation, and ratios: interleaved rounds, medians."""
    rounds, scale = (3, 1) if quick else (11, 2)
    kinds = _variants()
    untraced: dict[str, list[float]] = {load: [] for load in LOADS}
    added: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(rounds):
        for kind, variant in kinds.items():
            before = {load: _measure(words, count * scale, _idle) for load, (count, words) in LOADS.items()}
            with variant() as poll:
                for load, (count, words) in LOADS.items():
                    untraced[load].append(before[load])
                    added[kind, load].append(_measure(words, count * scale, poll) - before[load])
    loads = list(LOADS)
    rows = [["no tracing", *(spread(untraced[load]) + " in all" for load in loads), "", ""]]
    for kind in kinds:
        cost, empty = median(added[kind, loads[0]]), median(added["empty programs", loads[0]])
        peer = f"{cost / median(added['bpftrace', loads[0]]):.2f}" if "bpftrace" in kinds else "-"
        rows.append([kind, *(spread(added[kind, load]) for load in loads), f"{cost / empty:.2f}", peer])
    return markdown(["", *(f"added ns/op, {load}" for load in loads), "× empty", "× bpftrace"], rows)


def _variants() -> dict[str, Callable[[], AbstractContextManager[Poll]]]:
    variants: dict[str, Callable[[], AbstractContextManager[Poll]]] = {
        "empty programs": _empty,
        "ltrules, the rule": lambda: _rules((), (RULE,)),
        "ltrules, std:sched": lambda: _rules(("std:sched",), ()),
        "ltrules, ten rules": lambda: _rules((), (TEN_RULES,)),
    }
    with_histogram, without = bpftrace_command(THRESH_NS), bpftrace_command(THRESH_NS, histogram=False)
    if with_histogram and without:
        variants["bpftrace"] = lambda: _other(with_histogram)
        variants["bpftrace, no histogram"] = lambda: _other(without)
    bcc = bcc_command(THRESH_NS)
    if bcc:
        variants["bcc"] = lambda: _other(bcc)
    return variants


def _measure(words: list[str], operations: int, poll: Poll) -> float:
    """Return the ns that an operation takes. Raises InputError."""
    command = [*words, "perf", "bench", "sched", "pipe", "-l", str(operations)]
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            while child.poll() is None:
                poll()
            output, problem = child.communicate()
    except FileNotFoundError as error:
        raise InputError(f"{error.filename} is missing: install linux-perf and util-linux") from None
    found = re.search(r"([\d.]+) usecs/op", output)
    if found is None:
        raise InputError(f"perf bench says: {output}{problem}")
    return float(found[1]) * 1000


def _idle() -> None:
    time.sleep(0.02)


@contextmanager
def _empty() -> Iterator[Poll]:
    with Programs.load(compile_object(EMPTY)) as programs:
        programs.attach()
        yield _idle


@contextmanager
def _other(command: list[str]) -> Iterator[Poll]:
    with started(command):
        yield _idle


@contextmanager
def _rules(files: tuple[str, ...], texts: tuple[str, ...]) -> Iterator[Poll]:
    """Run rules as `ltrules run` does, sweeps included."""
    catalog = machine_catalog()
    with LibbpfEngine(catalog).open(load_rules(files, texts, (), catalog)) as session:
        yield lambda: session.poll(0.02)
        session.stop()
