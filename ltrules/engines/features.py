"""What this kernel, this user and the installed software can do, each with advice where something lacks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from ltrules.engines import _libbpf, compiler
from ltrules.engines._libbpf import ProgramLoadOptions, sized
from ltrules.errors import EngineUnavailable

NEEDS_PRIVILEGE = (
    "loading BPF programs needs root (or CAP_BPF and CAP_PERFMON); "
    "without it `ltrules check`, `ltrules show` and `ltrules events` work"
)
NEEDS_BTF = (
    "this kernel has no BTF (/sys/kernel/btf/vmlinux): use one built with CONFIG_DEBUG_INFO_BTF, or `--engine bcc`; "
    "without it `ltrules check` and `ltrules show` work"
)

#: Bits of CapEff in /proc/self/status.
CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF = 1 << 21, 1 << 38, 1 << 39
#: Numbers of helpers in include/uapi/linux/bpf.h.
FOR_EACH_MAP_ELEM, TIMER_INIT, LOOP = 164, 169, 181
#: `r0 = 0; exit`, the smallest program.
RETURN_ZERO = bytes([0xB7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])
#: Where distributions put Python packages that pip does not know, such as bcc.
DISTRIBUTION_PACKAGES = "/usr/lib/python3/dist-packages"

ASK_ROOT = "Run this as root to find out."


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing that rules may need. `advice` is a sentence where it lacks, else ""."""

    name: str
    present: bool
    detail: str
    advice: str


@dataclass(frozen=True, slots=True)
class Host:
    """Where the probes look, so that tests may look elsewhere."""

    root: Path = Path("/")
    find_clang: Callable[[], Path | None] = compiler.find_clang
    anything_cached: Callable[[], bool] = compiler.anything_cached
    library: Callable[[], Any] = _libbpf.library
    packages: tuple[str, ...] = (*sys.path, DISTRIBUTION_PACKAGES)

    def text(self, path: str) -> str:
        """Return what a file says, "" if it is not there or not for us."""
        try:
            return (self.root / path).read_text().strip()
        except OSError:
            return ""

    def has(self, *paths: str) -> str:
        """Return the first path that is there, as people write it; "" if none is."""
        return next((f"/{path}" for path in paths if os.access(self.root / path, os.F_OK)), "")

    def privileged(self) -> bool:
        """Tell whether this process may load tracing programs: by its capabilities, outside of any user namespace."""
        status = dict(line.split(":", 1) for line in self.text("proc/self/status").splitlines() if ":" in line)
        capabilities = int(status.get("CapEff", "0"), 16)
        mapping = self.text("proc/self/uid_map").split() or ["0", "0", "4294967295"]
        able = capabilities & CAP_SYS_ADMIN or (capabilities & CAP_BPF and capabilities & CAP_PERFMON)
        return bool(able) and mapping == ["0", "0", "4294967295"]


#: Whether a thing is there (None: it cannot be told), and what was seen.
Answer = tuple[bool | None, str]


def probe_features(host: Host | None = None) -> tuple[Feature, ...]:
    """Return everything that `ltrules doctor` shows, in that order."""
    return tuple(_feature(host or Host(), *probe) for probe in PROBES)


def require_engine(host: Host | None = None) -> None:
    """Raise EngineUnavailable for the first thing that the libbpf engine lacks here."""
    host = host or Host()
    if not host.privileged():
        raise EngineUnavailable(NEEDS_PRIVILEGE)
    if not _btf(host)[0]:
        raise EngineUnavailable(NEEDS_BTF)
    host.library()
    if not host.find_clang() and not host.anything_cached():
        raise EngineUnavailable(compiler.NO_CLANG)


def has_timers(host: Host | None = None) -> bool:
    """Tell whether the kernel can sweep on timers of its own."""
    host = host or Host()
    return all(_helper(number)(host)[0] for number in (TIMER_INIT, LOOP))


def _feature(host: Host, name: str, probe: Callable[[Host], Answer], advice: str) -> Feature:
    present, detail = probe(host)
    if present is None:
        return Feature(name, False, f"unknown: {detail}", ASK_ROOT)
    return Feature(name, present, detail, "" if present else advice)


def _privilege(host: Host) -> Answer:
    able = host.privileged()
    return able, "may load tracing programs" if able else "may not load tracing programs"


def _btf(host: Host) -> Answer:
    path = host.has("sys/kernel/btf/vmlinux")
    return bool(path), path or "no /sys/kernel/btf/vmlinux"


def _tracefs(host: Host) -> Answer:
    for path in ("sys/kernel/tracing", "sys/kernel/debug/tracing"):
        if os.access(host.root / path / "events", os.R_OK | os.X_OK):
            return True, f"/{path}"
    if host.has("sys/kernel/tracing") and not os.access(host.root / "sys/kernel/tracing", os.X_OK):
        return None, "/sys/kernel/tracing is closed to this user"
    return False, "not mounted"


def _libbpf_version(host: Host) -> Answer:
    try:
        return True, f"{_libbpf.LIBRARY} {host.library().libbpf_version_string().decode()}"
    except EngineUnavailable:
        return False, f"no {_libbpf.LIBRARY}"


def _clang(host: Host) -> Answer:
    path = host.find_clang()
    return path is not None, str(path or "no clang, no clang-N on PATH")


def _bcc(host: Host) -> Answer:
    spec = PathFinder.find_spec("bcc", list(host.packages))
    if spec is None or not spec.origin:
        return False, "no Python package bcc"
    directory = Path(spec.origin).parent
    if not (directory / "libbcc.py").exists():  # PyPI's bcc is about lattices
        return False, f"{directory} is another package of that name"
    return True, str(directory)


def _ask(host: Host, question: Callable[[Any], bool]) -> Answer:
    """Ask the kernel through libbpf, which answers nonsense to the unprivileged."""
    if not host.privileged():
        return None, "only root can ask the kernel"
    try:
        present = question(host.library())
    except EngineUnavailable:
        return None, "libbpf is missing"
    except OSError as error:
        return False, f"refused: {os.strerror(error.errno or 0)}"
    return present, "works" if present else "refused"


def _ring_buffer(host: Host) -> Answer:
    kind = _libbpf.RING_BUFFER_MAP
    return _ask(host, lambda bpf: bool(bpf.libbpf_probe_bpf_map_type(kind, None)))


def _syscall_programs(host: Host) -> Answer:
    program = _libbpf.SYSCALL_PROGRAM
    return _ask(host, lambda bpf: bool(bpf.libbpf_probe_bpf_prog_type(program, None)))


def _helper(number: int) -> Callable[[Host], Answer]:
    kind = _libbpf.RAW_TRACEPOINT_PROGRAM  # libbpf cannot ask for tracing programs; theirs are the same
    return lambda host: _ask(host, lambda bpf: bool(bpf.libbpf_probe_bpf_helper(kind, number, None)))


def _tp_btf(host: Host) -> Answer:
    return _ask(host, lambda bpf: _traces(bpf, b"sched_switch", _libbpf.ATTACH_RAW_TP, False))


def _fentry(host: Host) -> Answer:
    # A function that the kernel keeps for such tests: nothing calls it.
    target = b"bpf_fentry_test1"
    return _ask(host, lambda bpf: _traces(bpf, target, _libbpf.ATTACH_FENTRY, True))


def _traces(bpf: Any, target: bytes, attach_type: int, attach: bool) -> bool:
    """Load, and if asked attach for a moment, a program that does nothing. Raises OSError where that fails.

    libbpf 1.1's own probe of this program type says no to kernels of 2025.
    """
    number = bpf.libbpf_find_vmlinux_btf_id(target, attach_type)
    options = sized(ProgramLoadOptions, expected_attach_type=attach_type, attach_btf_id=number)
    program = bpf.bpf_prog_load(_libbpf.TRACING_PROGRAM, b"ltrules_probe", b"GPL", RETURN_ZERO, 2, options)
    try:
        if attach:
            os.close(bpf.bpf_raw_tracepoint_open(None, program))
    finally:
        os.close(program)
    return True


def _kprobes(host: Host) -> Answer:
    return _any_of(host, "sys/bus/event_source/devices/kprobe", "kprobe_events")


def _uprobes(host: Host) -> Answer:
    return _any_of(host, "sys/bus/event_source/devices/uprobe", "uprobe_events")


def _any_of(host: Host, device: str, events: str) -> Answer:
    path = host.has(device, f"sys/kernel/tracing/{events}", f"sys/kernel/debug/tracing/{events}")
    return bool(path), path or f"no /{device}"


def _realtime(host: Host) -> Answer:
    realtime = host.text("sys/kernel/realtime") == "1" or "PREEMPT_RT" in host.text("proc/version")
    return realtime, "PREEMPT_RT" if realtime else "not PREEMPT_RT"


def _unprivileged(host: Host) -> Answer:
    value = host.text("proc/sys/kernel/unprivileged_bpf_disabled")
    if not value:
        return None, "no kernel.unprivileged_bpf_disabled to read"
    return value != "0", f"kernel.unprivileged_bpf_disabled = {value}"


def _lockdown(host: Host) -> Answer:
    text = host.text("sys/kernel/security/lockdown")
    mode = text.partition("[")[2].partition("]")[0] or "none"
    return mode != "confidentiality", f"lockdown: {mode}"


#: Name, probe and advice, the things that everything needs first.
PROBES: tuple[tuple[str, Callable[[Host], Answer], str], ...] = (
    ("privilege", _privilege, "Run as root, or give CAP_BPF and CAP_PERFMON; check, show and events work without."),
    ("btf", _btf, "Use a kernel built with CONFIG_DEBUG_INFO_BTF, or the bcc engine."),
    ("libbpf", _libbpf_version, "Install libbpf 1.0 or newer: apt-get install libbpf1."),
    ("clang", _clang, "Install clang: apt-get install clang; rules that were compiled before run without."),
    ("tracefs", _tracefs, "Mount it: mount -t tracefs tracefs /sys/kernel/tracing."),
    ("ring buffer", _ring_buffer, "Use a kernel with BPF_MAP_TYPE_RINGBUF (Linux 5.8 or newer)."),
    ("tp_btf programs", _tp_btf, "Events are read as classic tracepoints, which costs more; Linux 5.5 has it."),
    ("syscall programs", _syscall_programs, "Rules with `timeout` or `expire` need Linux 5.14 or newer."),
    ("bpf_for_each_map_elem", _helper(FOR_EACH_MAP_ELEM), "Rules with `timeout` or `expire` need Linux 5.13 or newer."),
    ("bpf_timer", _helper(TIMER_INIT), "Timeouts are swept from user space, which is less prompt."),
    ("bpf_loop", _helper(LOOP), "Timeouts are swept from user space, which is less prompt."),
    ("kprobes", _kprobes, "Rules at kernel functions need a kernel with CONFIG_KPROBE_EVENTS; use tracepoints."),
    ("uprobes", _uprobes, "Rules at functions of programs need a kernel with CONFIG_UPROBE_EVENTS."),
    ("fentry", _fentry, "Kernel functions are probed by kprobes; fentry needs CONFIG_FUNCTION_TRACER."),
    ("bcc", _bcc, "Only the bcc engine needs it: apt-get install python3-bpfcc (PyPI's bcc is something else)."),
    ("realtime kernel", _realtime, ""),
    ("unprivileged bpf off", _unprivileged, "Forbid it: sysctl kernel.unprivileged_bpf_disabled=2."),
    ("lockdown permits", _lockdown, "Programs may not read memory: boot without lockdown=confidentiality."),
)
