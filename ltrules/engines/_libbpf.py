"""The functions of libbpf as tables for ctypes: its errors become OSError, its messages are kept, nothing is printed.

libbpf's own conventions hold: a negative result is an errno, NULL leaves one behind. Functions whose NULL only says "no
more" or "no such" are not in ERROR_CHECKERS.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import signal
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_int, c_long, c_size_t, c_uint32, c_void_p
from typing import Any, TypeVar

from ltrules.errors import EngineUnavailable

LIBRARY = "libbpf.so.1"

SYSCALL_PROGRAM = 31  # BPF_PROG_TYPE_SYSCALL
RAW_TRACEPOINT_PROGRAM = 17  # BPF_PROG_TYPE_RAW_TRACEPOINT
TRACING_PROGRAM = 26  # BPF_PROG_TYPE_TRACING
ATTACH_RAW_TP = 23  # BPF_TRACE_RAW_TP, what tp_btf programs are
ATTACH_FENTRY = 24  # BPF_TRACE_FENTRY
RING_BUFFER_MAP = 27  # BPF_MAP_TYPE_RINGBUF


class ObjectOpenOptions(Structure):
    """The first members of struct bpf_object_open_opts; libbpf takes the rest as 0."""

    _fields_ = (("sz", c_size_t), ("object_name", c_char_p))


class TestRunOptions(Structure):
    """struct bpf_test_run_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("data_in", c_void_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_void_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    )


class ProgramLoadOptions(Structure):
    """The first members of struct bpf_prog_load_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("attempts", c_int),
        ("expected_attach_type", c_int),
        ("prog_btf_fd", c_uint32),
        ("prog_flags", c_uint32),
        ("prog_ifindex", c_uint32),
        ("kern_version", c_uint32),
        ("attach_btf_id", c_uint32),
        ("attach_prog_fd", c_uint32),
        ("attach_btf_obj_fd", c_uint32),
    )


class ProgramInformation(Structure):
    """struct bpf_prog_info; a kernel that knows fewer members leaves the last ones 0."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("tag", ctypes.c_uint8 * 8),
        ("jited_prog_len", c_uint32),
        ("xlated_prog_len", c_uint32),
        ("jited_prog_insns", ctypes.c_uint64),
        ("xlated_prog_insns", ctypes.c_uint64),
        ("load_time", ctypes.c_uint64),
        ("created_by_uid", c_uint32),
        ("nr_map_ids", c_uint32),
        ("map_ids", ctypes.c_uint64),
        ("name", ctypes.c_char * 16),
        ("ifindex", c_uint32),
        ("gpl_compatible", c_uint32),
        ("netns_dev", ctypes.c_uint64),
        ("netns_ino", ctypes.c_uint64),
        ("nr_jited_ksyms", c_uint32),
        ("nr_jited_func_lens", c_uint32),
        ("jited_ksyms", ctypes.c_uint64),
        ("jited_func_lens", ctypes.c_uint64),
        ("btf_id", c_uint32),
        ("func_info_rec_size", c_uint32),
        ("func_info", ctypes.c_uint64),
        ("nr_func_info", c_uint32),
        ("nr_line_info", c_uint32),
        ("line_info", ctypes.c_uint64),
        ("jited_line_info", ctypes.c_uint64),
        ("nr_jited_line_info", c_uint32),
        ("line_info_rec_size", c_uint32),
        ("jited_line_info_rec_size", c_uint32),
        ("nr_prog_tags", c_uint32),
        ("prog_tags", ctypes.c_uint64),
        ("run_time_ns", ctypes.c_uint64),
        ("run_cnt", ctypes.c_uint64),
        ("recursion_misses", ctypes.c_uint64),
        ("verified_insns", c_uint32),
        ("attach_btf_obj_id", c_uint32),
        ("attach_btf_id", c_uint32),
        ("padding", c_uint32),
    )


Options = TypeVar("Options", bound=Structure)


def sized(options: type[Options], **members: Any) -> Options:
    """Return options as libbpf wants them: with their own size in the first member."""
    return options(sz=ctypes.sizeof(options), **members)


#: int print(level, format, va_list): a va_list is handed over as one pointer-sized word in every Linux ABI.
Print = CFUNCTYPE(c_int, c_int, c_void_p, c_void_p)
#: int sample(context, data, size)
Sample = CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)

#: name -> (argument types, result type); objects, maps, programs, links and buffers are opaque pointers.
SIGNATURES: dict[str, tuple[tuple[Any, ...], Any]] = {
    "libbpf_set_print": ((Print,), c_void_p),
    "libbpf_version_string": ((), c_char_p),
    "libbpf_num_possible_cpus": ((), c_int),
    "libbpf_probe_bpf_prog_type": ((c_int, c_void_p), c_int),
    "libbpf_probe_bpf_map_type": ((c_int, c_void_p), c_int),
    "libbpf_probe_bpf_helper": ((c_int, c_int, c_void_p), c_int),
    "libbpf_find_vmlinux_btf_id": ((c_char_p, c_int), c_int),
    "bpf_object__open_mem": ((c_char_p, c_size_t, POINTER(ObjectOpenOptions)), c_void_p),
    "bpf_object__load": ((c_void_p,), c_int),
    "bpf_object__close": ((c_void_p,), None),
    "bpf_object__next_program": ((c_void_p, c_void_p), c_void_p),
    "bpf_object__next_map": ((c_void_p, c_void_p), c_void_p),
    "bpf_object__find_program_by_name": ((c_void_p, c_char_p), c_void_p),
    "bpf_object__find_map_by_name": ((c_void_p, c_char_p), c_void_p),
    "bpf_program__name": ((c_void_p,), c_char_p),
    "bpf_program__section_name": ((c_void_p,), c_char_p),
    "bpf_program__fd": ((c_void_p,), c_int),
    "bpf_program__attach": ((c_void_p,), c_void_p),
    "bpf_program__autoload": ((c_void_p,), ctypes.c_bool),
    "bpf_program__set_autoload": ((c_void_p, ctypes.c_bool), c_int),
    "bpf_link__destroy": ((c_void_p,), c_int),
    "bpf_map__name": ((c_void_p,), c_char_p),
    "bpf_map__fd": ((c_void_p,), c_int),
    "bpf_map__type": ((c_void_p,), c_int),
    "bpf_map__key_size": ((c_void_p,), c_uint32),
    "bpf_map__value_size": ((c_void_p,), c_uint32),
    "bpf_map__max_entries": ((c_void_p,), c_uint32),
    "bpf_map_lookup_elem": ((c_int, c_char_p, c_void_p), c_int),
    "bpf_map_update_elem": ((c_int, c_char_p, c_char_p, ctypes.c_uint64), c_int),
    "bpf_map_get_next_key": ((c_int, c_char_p, c_void_p), c_int),
    "bpf_map_lookup_batch": ((c_int, c_void_p, c_void_p, c_void_p, c_void_p, POINTER(c_uint32), c_void_p), c_int),
    "bpf_prog_load": ((c_int, c_char_p, c_char_p, c_char_p, c_size_t, POINTER(ProgramLoadOptions)), c_int),
    "bpf_prog_test_run_opts": ((c_int, POINTER(TestRunOptions)), c_int),
    "bpf_raw_tracepoint_open": ((c_char_p, c_int), c_int),
    "bpf_obj_get_info_by_fd": ((c_int, c_void_p, POINTER(c_uint32)), c_int),
    "ring_buffer__new": ((c_int, Sample, c_void_p, c_void_p), c_void_p),
    "ring_buffer__consume": ((c_void_p,), c_int),
    "ring_buffer__free": ((c_void_p,), None),
}


def _negative_is_errno(result: int, function: Any, _arguments: object) -> int:
    if result < 0:
        raise OSError(-result, f"{function.__name__}: {os.strerror(-result)}")
    return result


def _null_leaves_errno(result: int | None, function: Any, _arguments: object) -> int:
    if result is None:
        number = ctypes.get_errno()
        raise OSError(number, f"{function.__name__}: {os.strerror(number)}")
    return result


ERROR_CHECKERS: dict[str, Any] = {
    "libbpf_num_possible_cpus": _negative_is_errno,
    "libbpf_probe_bpf_prog_type": _negative_is_errno,
    "libbpf_probe_bpf_map_type": _negative_is_errno,
    "libbpf_probe_bpf_helper": _negative_is_errno,
    "libbpf_find_vmlinux_btf_id": _negative_is_errno,
    "bpf_object__open_mem": _null_leaves_errno,
    "bpf_object__load": _negative_is_errno,
    "bpf_program__fd": _negative_is_errno,
    "bpf_program__attach": _null_leaves_errno,
    "bpf_program__set_autoload": _negative_is_errno,
    "bpf_link__destroy": _negative_is_errno,
    "bpf_map_lookup_elem": _negative_is_errno,
    "bpf_map_update_elem": _negative_is_errno,
    "bpf_map_get_next_key": _negative_is_errno,
    "bpf_map_lookup_batch": _negative_is_errno,
    "bpf_prog_load": _negative_is_errno,
    "bpf_prog_test_run_opts": _negative_is_errno,
    "bpf_raw_tracepoint_open": _negative_is_errno,
    "bpf_obj_get_info_by_fd": _negative_is_errno,
    "ring_buffer__new": _null_leaves_errno,
    "ring_buffer__consume": _negative_is_errno,
}


@functools.cache
def library(name: str = LIBRARY) -> ctypes.CDLL:
    """Return libbpf, loaded once and silent. Raises EngineUnavailable where it is missing or too old."""
    try:
        bpf = ctypes.CDLL(name, use_errno=True)
        for function, (arguments, result) in SIGNATURES.items():
            entry = getattr(bpf, function)
            entry.argtypes, entry.restype = arguments, result
            if function in ERROR_CHECKERS:
                entry.errcheck = ERROR_CHECKERS[function]
    except (OSError, AttributeError) as error:
        raise EngineUnavailable(
            f"the library {name} (libbpf 1.0 or newer) is missing: install it, on Debian by `apt-get install libbpf1`",
            log=str(error),
        ) from None
    bpf.libbpf_set_print(_print)
    return bpf


class _Messages(threading.local):
    """What libbpf said in this thread: the last warnings and notes."""

    def __init__(self) -> None:
        self.lines: deque[bytes] = deque(maxlen=1000)


_messages = _Messages()
_libc = ctypes.CDLL(None, use_errno=True)
_libc.vasprintf.argtypes = (POINTER(c_void_p), c_void_p, c_void_p)
_libc.free.argtypes = (c_void_p,)
_libc.syscall.argtypes = (c_long, c_long, c_long, c_long)
_libc.syscall.restype = c_long


class _PollDescriptor(Structure):
    _fields_ = (("fd", c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


_libc.poll.argtypes = (POINTER(_PollDescriptor), ctypes.c_ulong, c_int)


def _keep_message(level: int, format: int, arguments: int) -> int:
    if level > 1:  # LIBBPF_DEBUG
        return 0
    text = c_void_p()
    length = _libc.vasprintf(byref(text), format, arguments)
    if length >= 0:
        _messages.lines.append(ctypes.string_at(text, length))
        _libc.free(text)
    return 0


_print = Print(_keep_message)  # libbpf keeps the address: it must live as long as the module


def take_messages() -> str:
    """Return what libbpf said in this thread since the last call, verifier logs included."""
    text = b"".join(_messages.lines).decode(errors="replace")
    _messages.lines.clear()
    return text


def wait_readable(fd: int, timeout_ms: int) -> bool:
    """Wait until `fd` can be read, `timeout_ms` have passed, or a signal came; tell whether it can be read.

    That last is why this is not `select.poll`, which goes on waiting (PEP 475).
    """
    return bool(_libc.poll(byref(_PollDescriptor(fd, 1, 0)), 1, timeout_ms) > 0)  # POLLIN


def give_back_memory() -> None:
    """Let the system have what libbpf has freed, as all types of the kernel after a load; only glibc must be asked."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)


class _SignalSet(Structure):
    """sigset_t, as large as glibc has it; others need less."""

    _fields_ = (("bits", ctypes.c_uint64 * 16),)


_libc.pthread_sigmask.argtypes = (c_int, POINTER(_SignalSet), POINTER(_SignalSet))
_ALL_SIGNALS = _SignalSet((ctypes.c_uint64 * 16)(*[(1 << 64) - 1] * 16))


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold signals back: an exception that a handler raises within a ctypes callback would be lost.

    `signal.pthread_sigmask` makes Python sets of all signals, and takes longer than a reading of a ring.
    """
    before = _SignalSet()
    _libc.pthread_sigmask(signal.SIG_BLOCK, None, byref(before))
    try:
        _libc.pthread_sigmask(signal.SIG_BLOCK, byref(_ALL_SIGNALS), None)
        yield
    finally:
        _libc.pthread_sigmask(signal.SIG_SETMASK, byref(before), None)


#: The number of the system call membarrier(2), which libc does not wrap.
_MEMBARRIER = {"x86_64": 324, "i386": 375, "i686": 375, "armv7l": 389, "ppc64le": 365, "s390x": 356}


def membarrier() -> bool:
    """Wait until every CPU has left the RCU sections (BPF programs run in one) that it was in.

    Tell whether the kernel did it.
    """
    number = _MEMBARRIER.get(platform.machine(), 283)
    return bool(_libc.syscall(number, 1, 0, 0) == 0)  # MEMBARRIER_CMD_GLOBAL
