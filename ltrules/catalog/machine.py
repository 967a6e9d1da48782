"""The catalog of the running kernel: from BTF, and from tracefs or else the shipped catalog for what BTF lacks."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from ltrules.catalog.btf import Btf, BtfError, open_btf
from ltrules.catalog.events import Catalog, Event
from ltrules.catalog.records import PREFIX, Records
from ltrules.catalog.saved import load_catalog, save_catalog
from ltrules.catalog.tracefs import (
    NOT_TRACEPOINTS,
    categories_of,
    event_names,
    find_tracefs,
    mount_tracefs,
    read_format,
)
from ltrules.errors import EngineUnavailable
from ltrules.raw import struct_paths

#: The saved catalog of a kernel with most tracepoints built in: the source of what BTF does not say.
SHIPPED = Path(__file__).parent.parent / "data" / "events.json.gz"

_EVENT = re.compile(r"(?:([A-Za-z0-9_][\w.-]*):)?([A-Za-z_]\w*)", re.ASCII)
_SYSCALL = re.compile(r"sys_(enter|exit)_(\w+)", re.ASCII)
#: Where an event that now has a record of its own was once one of a class: tracefs is not there for everyone to say so.
_OLDER_RECORDS = {"sched_process_exit": f"{PREFIX}sched_process_template"}
#: How the wrappers of system calls start on architectures that name them their own way.
_WRAPPERS = {"x86_64": "__x64_sys_", "aarch64": "__arm64_sys_", "s390x": "__s390x_sys_", "riscv64": "__riscv_sys_"}


class MachineCatalog:
    """The running kernel's events, each looked up when it is first asked for."""

    def __init__(self, btf: Btf | None, tracefs: Path | None) -> None:
        self._records = None if btf is None else Records(btf)
        self._tracefs = tracefs
        self._found: dict[str, tuple[Event, ...]] = {}

    @property
    def description(self) -> str:
        return f"this machine, {os.uname().release}"

    @property
    def machine(self) -> str:
        return os.uname().machine

    def find(self, name: str) -> tuple[Event, ...]:
        if name not in self._found:
            self._found[name] = tuple(self._look_up(name))
        return self._found[name]

    def names(self) -> Iterator[str]:
        if self._tracefs is not None:
            return iter(event_names(self._tracefs))
        return (name for name in shipped_catalog().names() if self.find(name))

    def has_path(self, struct: str, path: str) -> bool | None:
        return None if self._records is None else self._records.btf.has_path(struct, path)

    def _look_up(self, name: str) -> Iterator[Event]:
        asked = _EVENT.fullmatch(name)
        if asked is None:
            return
        category, bare = asked.groups()
        if self._tracefs is not None:
            for each in [category] if category else categories_of(self._tracefs, bare):
                found = read_format(self._tracefs, each, bare) if each != NOT_TRACEPOINTS else None
                if found is not None:
                    yield self._from_format(Event(each, bare, found.fields, print_text=found.print_text))
        elif self._records is not None:
            for known in shipped_catalog().find(name):
                event = _from_btf(self._records, known)
                if event is not None:
                    yield event

    def _from_format(self, event: Event) -> Event:
        """Complete an event that tracefs describes by what BTF knows of it."""
        if event.is_syscall:
            return _syscall(event, self._records)
        if self._records is None:
            return event
        record = self._records.of_event(event.name, event.fields)
        fields = self._records.fields(record, event.fields) if record else None
        return dataclasses.replace(
            event, fields=fields or event.fields, record=record, raw_arguments=self._records.btf.tracepoint(event.name)
        )


def machine_catalog() -> Catalog:
    """Return the catalog of the running kernel; raise EngineUnavailable if neither BTF nor tracefs can be read."""
    tracefs = find_tracefs()
    try:
        btf: Btf | None = open_btf()
    except BtfError:
        btf = None
    if btf is None and tracefs is None:
        raise EngineUnavailable(
            "this kernel's tracepoints are not known: it has no BTF, and tracefs is not readable; "
            "run as root with tracefs mounted, or name a saved catalog with --catalog FILE"
        )
    return MachineCatalog(btf, tracefs)


@cache
def shipped_catalog() -> Catalog:
    """Return the catalog that comes with ltrules."""
    return load_catalog(SHIPPED)


def renew_shipped_catalog() -> None:
    """Replace the catalog that comes with ltrules by that of the running kernel; needs root and BTF."""
    save_catalog(MachineCatalog(open_btf(), mount_tracefs()), SHIPPED, struct_paths())


def _from_btf(records: Records, known: Event) -> Event | None:
    """Return a known event as this kernel has it, or None if BTF says that it has not, or not with which fields."""
    if known.is_syscall:
        return _syscall(known, records) if _has_syscall(records.btf, known.name) else None
    arguments = records.btf.tracepoint(known.name)
    if arguments is None:
        return None
    for record in (PREFIX + known.name, known.record, _OLDER_RECORDS.get(known.name)):
        fields = records.fields(record, known.fields) if record else None
        if fields is not None:
            return dataclasses.replace(known, fields=fields, record=record, raw_arguments=arguments)
    return None


def _has_syscall(btf: Btf, event: str) -> bool:
    """Tell whether the kernel has a system call; taken as true where its wrappers' names are not known."""
    found = _SYSCALL.fullmatch(event)
    if found is None or not btf.has_struct(f"{PREFIX}sys_{found[1]}"):
        return False
    wrapper = _WRAPPERS.get(os.uname().machine, "sys_")
    if not btf.has_function(f"{wrapper}read"):
        return True
    # On x86 the wrapper of a call without arguments is an alias, which BTF leaves out.
    return btf.has_function(wrapper + found[2]) or btf.has_function(f"__do_sys_{found[2]}")


def _syscall(event: Event, records: Records | None) -> Event:
    """Return an event of `syscalls:*` with the record that BPF programs see, and only the fields that lie in it.

    Newer kernels append copies of what arguments point to; those are made for perf and ftrace alone.
    """
    found = _SYSCALL.fullmatch(event.name)
    record = f"{PREFIX}sys_{found[1]}" if found else ""
    known = records is not None and records.btf.has_struct(record)
    fields = {name: field for name, field in event.fields.items() if name == "__syscall_nr" or field.size == 8}
    return dataclasses.replace(event, fields=fields, record=record if known else None, raw_arguments=None)
