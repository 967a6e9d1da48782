"""Every field of the table of raw tracepoints, read both ways at the same events of this kernel."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bpf_codegen import layout, plan, render
from bpf_codegen.render import handler_fields
from helpers import catalog, loop_device, nanosleep, read_directly, rule_set
from ltrules.catalog.tracefs import mount_tracefs
from ltrules.engines.compiler import compile_object
from ltrules.engines.programs import Programs
from ltrules.lower import lower, record_access
from ltrules.raw import RAW_EVENTS

pytestmark = pytest.mark.kernel

#: Needs a device with a pin of its own for interrupts, which not every machine has.
MAY_BE_SILENT = {"irq:irq_handler_entry", "irq:irq_handler_exit"}
_BLKDISCARD = 0x1277


def present() -> list[str]:
    """Return the events of the table that this kernel has."""
    return [name for name in RAW_EVENTS if catalog().find(name)]


def both_ways() -> plan.Plan:
    """Return a plan that reports all fields of each event twice: rules 2n from arguments, 2n + 1 from records."""
    texts = []
    for name in present():
        (event,) = catalog().find(name)
        raw = RAW_EVENTS[name]
        fields = ", ".join(f"ev.{field}" for field in raw.fields if field in event.fields)
        texts.append(f"rule {event.name} {{ at {name} took 2ns capture ({fields}, task.tid) thresh 1ns }}")
    single = lower(rule_set("\n".join(texts)), catalog(), ring_bytes=1 << 26)
    rules = []
    for rule in single.rules:
        rules += [dataclasses.replace(rule, name=f"{rule.name}_{way}", rate=None) for way in ("raw", "record")]
    programs = []
    for program in single.programs:
        assert program.access is plan.Access.RAW, program.event
        (event,) = catalog().find(f"{program.category}:{program.event}")
        classic = record_access(event, [f.name for h in program.handlers for f in handler_fields(h)])
        for way, access in enumerate((plan.Access.RAW, classic)):
            handlers = tuple(
                dataclasses.replace(h, name=f"{h.name}{way}", rule=2 * h.rule + way) for h in program.handlers
            )
            name = f"{'ac'[way]}{program.handlers[0].rule}_{program.name}"  # distinct in the first 15 characters
            programs.append(dataclasses.replace(program, name=name, access=access, handlers=handlers))
    return dataclasses.replace(single, rules=tuple(rules), programs=tuple(programs))


def make_events(image: Path) -> None:
    """Make something of everything happen: processes, timers, block requests of all sorts, deferred work."""
    with loop_device(image) as device:
        choose_scheduler(device)
        for _ in range(5):
            subprocess.run([sys.executable, "-ISc", "pass"], check=True)
            nanosleep(1_000_000)
        read_directly(device, 41, 4096)
        with device.open("rb+", buffering=0) as file:
            for size in (512, 8192, 131072):
                file.write(bytes(size))
                os.fsync(file.fileno())
            fcntl.ioctl(file, _BLKDISCARD, struct.pack("=QQ", 1 << 20, 1 << 16))
    fd = os.open(image, os.O_RDWR)
    os.pwrite(fd, os.urandom(1 << 16), 0)
    os.fsync(fd)
    os.close(fd)
    time.sleep(0.2)


def choose_scheduler(device: Path) -> None:
    """Give the device an elevator: without one, requests are issued without having been inserted."""
    path = Path(f"/sys/block/{device.name}/queue/scheduler")
    known = path.read_text().replace("[", "").replace("]", "").split()
    path.write_text(next((name for name in known if name != "none"), "none"))


def collect(planned: plan.Plan, work: Callable[[], None]) -> tuple[list[bytes], Programs]:
    mount_tracefs()
    records: list[bytes] = []
    programs = Programs.load(compile_object(render(planned)))
    try:
        programs.attach()
        with ThreadPoolExecutor(1) as pool:
            programs.write_control(0, struct.pack("=Q", 1))
            working = pool.submit(work)
            while not working.done():
                records += programs.poll(10)
            programs.write_control(0, struct.pack("=Q", 0))
            working.result()
        programs.detach()
        programs.quiesce()
        while more := programs.poll(0):
            records += more
    except BaseException:
        programs.close()
        raise
    return records, programs


def test_arguments_and_records_say_the_same(tmp_path: Path) -> None:
    planned = both_ways()
    records, programs = collect(planned, lambda: make_events(tmp_path / "image"))
    with programs:
        misses = sum(info.recursion_misses for info in programs.program_infos() if info.name.startswith("a"))
        counters = struct.Struct(layout.counters_format())
        lost_at = plan.COUNTERS.index("lost")
        for index in range(len(planned.rules)):
            data = programs.lookup("counters", struct.pack("=I", index)) or b""
            assert sum(row[lost_at] for row in counters.iter_unpack(data)) == 0
    seen: list[Counter[tuple[object, ...]]] = [Counter() for _ in planned.rules]
    formats = [struct.Struct(layout.record_format(rule)) for rule in planned.rules]
    for record in records:
        index = struct.unpack_from("=I", record)[0]
        fields = formats[index].unpack_from(record)
        seen[index][(fields[7], *fields[9:])] += 1  # the CPU, and what was captured
    # An event may be under way while the gate opens and shuts. Programs at records miss what happens in the midst of
    # another record, and the kernel does not count it all: but what they saw, the others must have seen too.
    tolerated = 2 * (os.cpu_count() or 1) + misses
    silent = set()
    for number, name in enumerate(present()):
        arguments, from_record = seen[2 * number], seen[2 * number + 1]
        if not arguments:
            silent.add(name)
        unknown = from_record - arguments
        captured = [m.name for m in planned.rules[2 * number].closing]
        assert unknown.total() <= tolerated, (name, captured, unknown.most_common(6), arguments.most_common(6))
        assert from_record.total() >= arguments.total() / 2 - tolerated, name
    assert silent <= MAY_BE_SILENT
