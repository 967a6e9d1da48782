"""The functions of the language that have a meaning so far."""

from __future__ import annotations

import errno
import json
import signal
from collections.abc import Mapping
from functools import cache
from pathlib import Path

#: TASK_STATE bits below TASK_REPORT_MAX: a task that is switched out with none of them set was preempted or yielded.
BLOCKED_BITS = 0xFF
#: dev_t inside the kernel, as trace events export it: MKDEV of include/linux/kdev_t.h.
MINOR_BITS = 20

#: Functions that user space computes for display: name -> what their argument is.
FORMATTERS = {
    "disk": "a device number",
    "errno": "a return value",
    "signal_name": "a signal number",
    "symbol": "a field whose format names its values",
    "syscall_name": "a system call number",
}
#: Functions of the kernel side: name -> number of arguments.
KERNEL = {"blocked": 1, "runnable": 1, "major": 1, "minor": 1, "if": 3, "syscall": 1}
#: Functions of the language whose meaning comes later.
LATER = (
    "str", "ustr", "kstack", "ustack", "kstack_of", "ksym", "usym", "ip", "count", "sum", "max", "min", "last",
)  # fmt: skip


@cache
def syscall_numbers(machine: str) -> Mapping[str, int]:
    """Return the system calls of an architecture (`uname -m`) by name; empty if it is not known."""
    path = Path(__file__).parent.parent / "data" / "syscalls.json"
    tables: dict[str, dict[str, int]] = json.loads(path.read_text())
    return tables.get(machine, {})


@cache
def names(function: str, machine: str) -> Mapping[int, str]:
    """Return the names that a formatter prints for values."""
    match function:
        case "syscall_name":
            return {number: name for name, number in syscall_numbers(machine).items()}
        case "errno":
            return {-number: name for number, name in errno.errorcode.items()}
        case "signal_name":
            return {int(s): s.name for s in signal.Signals}
        case _:
            return {}
