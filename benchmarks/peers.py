"""Processes to measure: `ltrules run`, bpftrace and bcc, started and waited for until they trace."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ltrules.errors import InputError

#: What no process may need longer to start, in seconds.
PATIENCE = 30.0

#: The same rule as bpftrace says it: pairs by pid, the threshold in ns, a histogram as every rule has one.
_PAIR = """
tracepoint:sched:sched_wakeup {{ @open[args->pid] = nsecs; }}
tracepoint:sched:sched_switch /@open[args->next_pid]/ {{
    $latency = nsecs - @open[args->next_pid];
    {histogram}
    if ($latency > {thresh}) {{ printf("%d %d\\n", args->next_pid, $latency); }}
    delete(@open[args->next_pid]);
}}
"""


@dataclass(frozen=True, slots=True)
class Started:
    """A process that traces; how long it took to get there, and the CPU time of that, in seconds."""

    pid: int
    seconds: float
    cpu_seconds: float

    def memory(self) -> tuple[float, float]:
        """Return its peak and present resident memory, in MB."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        kilobytes = {
            name: int(rest.split()[0])
            for name, _, rest in (line.partition(":") for line in lines)
            if name in ("VmHWM", "VmRSS")
        }
        return kilobytes["VmHWM"] / 1000, kilobytes["VmRSS"] / 1000


def ltrules_command(*arguments: str) -> list[str]:
    """Return the command that runs ltrules as installed beside this Python."""
    return [str(Path(sys.executable).with_name("ltrules")), *arguments]


def bpftrace_command(thresh_ns: int, histogram: bool = True) -> list[str] | None:
    """Return the command that runs the rule in bpftrace; None where there is no bpftrace.

    What BEGIN prints is read by bpftrace after it has attached all probes: it says that all are.
    """
    if shutil.which("bpftrace") is None:
        return None
    script = _PAIR.format(thresh=thresh_ns, histogram="@latency = hist($latency);" if histogram else "")
    return ["bpftrace", "-B", "none", "-e", 'BEGIN { printf("attached\\n"); }' + script]


def bcc_command(thresh_ns: int) -> list[str] | None:
    """Return the command that runs the rule as a bcc program; None where there is no bcc."""
    if find_spec("bcc") is None:
        return None
    return [sys.executable, "-m", "benchmarks.bcc", str(thresh_ns)]


@contextmanager
def started(command: Sequence[str]) -> Iterator[Started]:
    """Start a tracer, wait until it says `attached`, and interrupt it in the end. Raises InputError."""
    begin = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
        try:
            _wait(child, command[0], begin + PATIENCE)
            yield Started(child.pid, time.monotonic() - begin, _cpu_seconds(child.pid))
        finally:
            child.send_signal(signal.SIGINT)
            try:
                child.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                child.kill()


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def _wait(child: subprocess.Popen[bytes], name: str, until: float) -> None:
    assert child.stdout is not None
    seen = b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while b"attached" not in seen:
            if not selector.select(until - time.monotonic()):
                raise InputError(f"{name} did not start in time")
            part = os.read(child.stdout.fileno(), 4096)
            if not part:
                raise InputError(f"{name} ended: {seen.decode(errors='replace').strip()}")
            seen += part
