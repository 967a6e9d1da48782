"""BPF programs in the kernel: load, attach, poll, read, detach."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from ctypes import byref
from dataclasses import dataclass
from pathlib import Path

from ltrules.engines import maps
from ltrules.engines._libbpf import (
    ObjectOpenOptions,
    ProgramInformation,
    TestRunOptions,
    give_back_memory,
    library,
    membarrier,
    sized,
    take_messages,
    uninterrupted,
)
from ltrules.engines.features import NEEDS_BTF, NEEDS_PRIVILEGE, Host
from ltrules.engines.maps import Map
from ltrules.engines.rings import Ring
from ltrules.errors import AttachError, LoadError

#: Few reports wake nobody (`wake_flags` in ltrules.bpf.h): after so many ms the reader looks by itself.
LONGEST_WAIT_MS = 50
#: Characters of a verifier's log to keep: its end says what is wrong.
LOG_END = 16384
BTF = Path("/sys/kernel/btf/vmlinux")
TRACEFS = (Path("/sys/kernel/tracing/events"), Path("/sys/kernel/debug/tracing/events"))


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """What the kernel knows of a loaded program; 0 stands for what an old kernel does not count.

    `run_count` and `run_time_ns` grow only while kernel.bpf_stats_enabled is set. `recursion_misses` are runs that were
    skipped because a program was running on that CPU. `instructions` are those that the verifier had to walk.
    """

    name: str
    run_count: int
    run_time_ns: int
    recursion_misses: int
    instructions: int


class Programs:
    """The programs and maps of one object, loaded. A context manager; leaving it frees everything.

    Names of maps and programs that the object does not have raise KeyError; use after `close` raises ValueError.
    """

    def __init__(self, handle: int) -> None:
        """Take over a `struct bpf_object *`; use `load`."""
        self._bpf = library()
        self._handle: int | None = handle
        self._rings: dict[str, Ring] = {}
        self._control: mmap.mmap | None = None
        self._resources = ExitStack()
        self._resources.callback(self._bpf.bpf_object__close, handle)
        self._links = ExitStack()

    @classmethod
    def load(cls, data: bytes, without: Sequence[str] = ()) -> Programs:
        """Load an object into the kernel, without the programs of these names, should it have them.

        Raises LoadError, AttachError if it is for a tracepoint that is not there, EngineUnavailable without libbpf.
        libbpf itself raises the limit of locked memory on kernels that count maps against it.
        """
        bpf = library()
        options = sized(ObjectOpenOptions, object_name=b"ltrules")
        take_messages()
        try:
            programs = cls(bpf.bpf_object__open_mem(data, len(data), options))
        except OSError as error:
            raise LoadError(f"the object cannot be read: {os.strerror(error.errno or 0)}", take_messages()) from None
        try:
            for name in without:
                if program := bpf.bpf_object__find_program_by_name(programs._handle, name.encode()):
                    bpf.bpf_program__set_autoload(program, False)
            with uninterrupted():
                bpf.bpf_object__load(programs._handle)
        except BaseException as error:
            programs.close()
            if isinstance(error, OSError):
                raise _refusal(error.errno or 0, take_messages()) from None
            raise
        give_back_memory()
        return programs

    def __enter__(self) -> Programs:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def attach(self) -> None:
        """Attach all programs but those for `run`; none stays attached if one cannot be. Raises AttachError."""
        with uninterrupted():
            for program in self._programs():
                section = self._bpf.bpf_program__section_name(program).decode()
                if section == "syscall":
                    continue
                take_messages()
                try:
                    link = self._bpf.bpf_program__attach(program)
                except OSError as error:
                    self.detach()
                    raise _attach_error(section, error.errno or 0, take_messages()) from None
                self._links.callback(self._bpf.bpf_link__destroy, link)

    def detach(self) -> None:
        """Detach all programs; a run that began before may still be on its way: see `quiesce`. Raises OSError."""
        with uninterrupted():
            self._links.close()

    def quiesce(self) -> None:
        """Wait until no run that began before `detach` is still on its way."""
        if not membarrier():  # refused with nohz_full CPUs and by some sandboxes
            time.sleep(0.05)

    def close(self) -> None:
        """Detach and free everything, also when a step fails; again does nothing. Raises OSError."""
        self._handle = None
        self._rings.clear()
        with uninterrupted(), self._resources:
            self.detach()

    def poll(self, timeout_ms: int, ring: str = "alerts") -> list[bytes]:
        """Return the records of a ring buffer, at most rings.BATCH, after waiting for some if there is none.

        It waits for `timeout_ms` or LONGEST_WAIT_MS, whichever is shorter: few reports wake nobody. A signal ends the
        waiting. What its handler raises comes out of here, and the next call returns the records. Raises OSError.
        """
        if ring not in self._rings:
            made = Ring(self._map(ring).fd)
            self._resources.callback(made.close)
            self._rings[ring] = made
        return self._rings[ring].poll(min(timeout_ms, LONGEST_WAIT_MS))

    def write_control(self, offset: int, data: bytes) -> None:
        """Write to the global variables in ".data" while the programs run. Raises OSError."""
        control = self._map(".data")
        if offset < 0 or offset + len(data) > control.value_size:
            raise ValueError(f"{len(data)} bytes at {offset} are not within the {control.value_size} bytes of .data")
        memory = self._control or self._map_control(control)
        if memory:
            memory[offset : offset + len(data)] = data
            return
        zero = bytes(control.key_size)
        value = bytearray(maps.lookup(control, zero) or b"")
        value[offset : offset + len(data)] = data
        maps.update(control, zero, bytes(value))

    def has_program(self, name: str) -> bool:
        """Tell whether the object has a program of this name, and it was loaded."""
        program = self._bpf.bpf_object__find_program_by_name(self._object, name.encode())
        return bool(program) and bool(self._bpf.bpf_program__autoload(program))

    def run(self, name: str) -> None:
        """Run a "syscall" program once, here and now. Raises OSError."""
        program = self._bpf.bpf_object__find_program_by_name(self._object, name.encode())
        if not program:
            raise KeyError(f"no program {name!r}")
        self._bpf.bpf_prog_test_run_opts(self._bpf.bpf_program__fd(program), sized(TestRunOptions))

    def lookup(self, map: str, key: bytes) -> bytes | None:
        """Return the value of a key, None if there is none. Raises OSError.

        For a per-CPU map it is the values of all possible CPUs in a row, each filled up to a multiple of 8 bytes.
        """
        return maps.lookup(self._map(map), key)

    def items(self, map: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield the keys and values (as `lookup` returns them) of a map. Raises OSError."""
        return maps.items(self._map(map))

    def values(self, map: str) -> bytearray:
        """Return all values of an array map in a row. Raises OSError."""
        return maps.values(self._map(map))

    def program_infos(self) -> list[ProgramInfo]:
        """Return the kernel's numbers for every program, in the order of the object. Raises OSError."""
        infos = []
        for program in self._programs():
            info = ProgramInformation()
            size = ctypes.c_uint32(ctypes.sizeof(info))
            self._bpf.bpf_obj_get_info_by_fd(self._bpf.bpf_program__fd(program), byref(info), byref(size))
            name = self._bpf.bpf_program__name(program).decode()
            infos.append(ProgramInfo(name, info.run_cnt, info.run_time_ns, info.recursion_misses, info.verified_insns))
        return infos

    def map_memory(self) -> dict[str, int]:
        """Return the bytes of kernel memory of every map, by name, as far as the kernel tells."""
        return {each.name: maps.memory(each) for each in self._maps()}

    @property
    def _object(self) -> int:
        if self._handle is None:
            raise ValueError("the programs are closed")
        return self._handle

    def _programs(self) -> Iterator[int]:
        program = None
        while program := self._bpf.bpf_object__next_program(self._object, program):
            if self._bpf.bpf_program__autoload(program):
                yield program

    def _maps(self) -> Iterator[Map]:
        pointer = None
        while pointer := self._bpf.bpf_object__next_map(self._object, pointer):
            yield maps.map_at(pointer)

    def _map(self, name: str) -> Map:
        pointer = self._bpf.bpf_object__find_map_by_name(self._object, name.encode())
        if not pointer:
            raise KeyError(f"no map {name!r}")
        return maps.map_at(pointer)

    def _map_control(self, control: Map) -> mmap.mmap | None:
        """Return ".data" as memory; None where the kernel cannot map it (before Linux 5.5)."""
        size = -(-control.value_size // mmap.PAGESIZE) * mmap.PAGESIZE
        try:
            self._control = mmap.mmap(control.fd, size)
        except OSError:
            return None
        self._resources.callback(self._control.close)
        return self._control


def _refusal(number: int, log: str) -> LoadError | AttachError:
    """Return what to say when libbpf or the kernel refused to load, by errno and the messages."""
    missing = re.search(r"failed to find kernel BTF type ID of '(\w+)'", log)
    end = log[-LOG_END:]
    if missing:
        return AttachError(f"this kernel has no tracepoint {missing[1].removeprefix('btf_trace_')}", end)
    if not BTF.exists():
        return LoadError(NEEDS_BTF, end)
    refused = re.search(r"prog '(\w+)': BPF program load failed", log)
    if number == errno.EPERM and not Host().privileged():
        return LoadError(NEEDS_PRIVILEGE, end)
    if number == errno.EPERM and not refused:
        return LoadError(
            "the kernel forbids BPF programs, though we are root: is this a container, or locked down?", end
        )
    if number == errno.ENOMEM:
        return LoadError("the kernel has not enough memory for the maps: lower `inflight` in the rules", end)
    if number == errno.E2BIG and not refused:
        return LoadError("a map is larger than the kernel allows: lower `inflight` in the rules", end)
    what = f"program {refused[1]}" if refused else "programs"
    return LoadError(f"the kernel refuses the {what} ({os.strerror(number)}): this is a bug in ltrules", end)


def _attach_error(section: str, number: int, log: str) -> AttachError:
    """Return what to say when the program of a section could not be attached."""
    kind, _, target = section.partition("/")
    probe = f"{'tracepoint' if kind.startswith(('tp', 'raw_tp', 'tracepoint')) else kind} {target.replace('/', ':')}"
    match number:
        case errno.ENOENT if kind in ("tp", "tracepoint") and not any(path.is_dir() for path in TRACEFS):
            reason = "tracefs is not mounted: `mount -t tracefs tracefs /sys/kernel/tracing`"
        case errno.ENOENT | errno.ESRCH:
            reason = "this kernel does not have it, or its module is not loaded"
        case errno.EPERM | errno.EACCES:
            reason = "not permitted: root is needed, or CAP_BPF and CAP_PERFMON and access to tracefs"
        case errno.EBUSY:
            reason = "another program holds it"
        case _:
            reason = os.strerror(number)
    return AttachError(f"cannot attach to {probe}: {reason}", log[-LOG_END:])
