"""Events and fields, and the interface of a catalog."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol


class Shape(Enum):
    """How a field lies in a tracepoint's record."""

    INT = "int"  # 1, 2, 4 or 8 bytes; enums, bools and pointers too
    STRING = "string"  # char[N], N = size
    DYNAMIC_STRING = "dynamic string"  # __data_loc char[]: offset and length in 32 bits
    OTHER = "other"  # arrays of numbers, structs, bit masks: not readable by rules


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a tracepoint's format.

    `offset` and `size` are in bytes, in the classic record, header included. `element_size` is that of one element of
    an array (0 for others). `symbols` maps a value to its symbolic name where the format's print text has a table.
    """

    name: str
    c_type: str
    shape: Shape
    offset: int
    size: int
    signed: bool = False
    pointer: bool = False
    element_size: int = 0
    symbols: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """A tracepoint.

    `record` is the BTF name of its classic record (`trace_event_raw_sched_wakeup_template`), None where BTF has none.
    `raw_arguments` are the C types of the raw tracepoint's arguments (without the leading `void *`), None where BTF has
    no `btf_trace_NAME` and the event cannot be attached as tp_btf. `print_text` is the `print fmt` of its format, by
    which tracers write it as text; "" where it is not known.
    """

    category: str
    name: str
    fields: Mapping[str, Field]
    record: str | None = None
    raw_arguments: tuple[str, ...] | None = None
    print_text: str = ""

    @property
    def full_name(self) -> str:
        return f"{self.category}:{self.name}"

    @property
    def is_syscall(self) -> bool:
        """Tell whether this is one of `syscalls:*`, whose record is that of raw_syscalls with named arguments."""
        return self.category == "syscalls"


class Catalog(Protocol):
    """What the checker asks about a kernel."""

    @property
    def description(self) -> str:
        """Name the origin for people: "this machine, 6.18.44", "saved, 6.1.0-32-amd64"."""

    @property
    def machine(self) -> str:
        """Return the processor architecture as `uname -m` prints it."""

    def find(self, name: str) -> tuple[Event, ...]:
        """Return the events of a bare name, or the one of `category:name`; empty if there is none."""

    def names(self) -> Iterator[str]:
        """Iterate over the full names of all events, sorted."""

    def has_path(self, struct: str, path: str) -> bool | None:
        """Tell whether a BTF struct has a dotted member path (`task_struct`, `mm.pgd`); None if BTF is not known."""
