"""The catalog of a machine: with tracefs, without it, and without anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ltrules.catalog import btf_index, machine
from ltrules.catalog.btf import KERNEL_BTF, Btf, BtfError, open_btf
from ltrules.catalog.events import Field, Shape
from ltrules.catalog.machine import MachineCatalog, machine_catalog, shipped_catalog
from ltrules.catalog.records import Records
from ltrules.catalog.saved import load_catalog, save_catalog
from ltrules.catalog.tracefs import find_tracefs, read_format
from ltrules.errors import EngineUnavailable

FORMATS = Path(__file__).parent.parent / "data" / "formats"


class KeptInMemory(dict[str, bytes]):
    read = dict.get
    write = dict.__setitem__


@pytest.fixture(scope="module")
def btf() -> Btf:
    if not KERNEL_BTF.exists():
        pytest.skip("this kernel has no BTF")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(btf_index, "cache", KeptInMemory())
        return open_btf()


@pytest.fixture(scope="module")
def root() -> Path:
    found = find_tracefs()
    if found is None:
        pytest.skip("tracefs is not mounted, or not readable by this user")
    return found


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A tracing directory with the sample formats alone."""
    for name, category in (("sched_switch", "sched"), ("irq_handler_entry", "irq"), ("sys_enter_read", "syscalls")):
        directory = tmp_path / "events" / category / name
        directory.mkdir(parents=True)
        (directory / "format").write_bytes((FORMATS / f"{name}.format").read_bytes())
    return tmp_path


def test_neither_btf_nor_tracefs_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Btf:
        raise BtfError("there is none")

    monkeypatch.setattr(machine, "open_btf", refuse)
    monkeypatch.setattr(machine, "find_tracefs", lambda: None)
    with pytest.raises(EngineUnavailable, match="--catalog FILE"):
        machine_catalog()


def test_tracefs_alone_gives_fields_without_records(copied: Path) -> None:
    catalog = MachineCatalog(None, copied)
    assert list(catalog.names()) == ["irq:irq_handler_entry", "sched:sched_switch", "syscalls:sys_enter_read"]
    (event,) = catalog.find("irq_handler_entry")
    assert (event.full_name, event.record, event.raw_arguments) == ("irq:irq_handler_entry", None, None)
    assert event.fields["name"].shape is Shape.DYNAMIC_STRING
    assert catalog.has_path("task_struct", "pid") is None
    assert catalog.description == f"this machine, {os.uname().release}"
    assert catalog.machine == os.uname().machine


def test_an_event_without_a_record_of_its_own_has_that_of_its_class(btf: Btf, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `sched_process_exit` of Linux 6.12, where only root can read in tracefs which class it is of."""
    fields = Records.fields

    def without(records: Records, record: str, *more: object) -> object:
        return None if record == "trace_event_raw_sched_process_exit" else fields(records, record, *more)

    monkeypatch.setattr(Records, "fields", without)
    (event,) = MachineCatalog(btf, None).find("sched_process_exit")
    assert event.record == "trace_event_raw_sched_process_template"
    assert list(event.fields) == ["comm", "pid", "prio"]


@pytest.mark.parametrize(
    "name", ["", ":", "nothing", "sched:", ":sched_switch", "../sched", "..:sched_switch", "a b", "*"]
)
def test_names_that_are_none_find_nothing(name: str, copied: Path) -> None:
    assert MachineCatalog(None, copied).find(name) == ()


def test_an_event_is_read_once(copied: Path) -> None:
    catalog = MachineCatalog(None, copied)
    first = catalog.find("sched:sched_switch")
    (copied / "events" / "sched" / "sched_switch" / "format").unlink()
    assert catalog.find("sched:sched_switch") is first


def test_copies_that_newer_kernels_append_to_system_calls_are_left_out(copied: Path) -> None:
    path = copied / "events" / "syscalls" / "sys_enter_read" / "format"
    line = "\tfield:__data_loc char[] __buf_val;\toffset:40;\tsize:4;\tsigned:0;\n"
    path.write_text(path.read_text().replace("\n\nprint fmt", f"\n{line}\nprint fmt"))
    (event,) = MachineCatalog(None, copied).find("sys_enter_read")
    assert list(event.fields) == ["__syscall_nr", "fd", "buf", "count"]


def test_every_tracepoint_has_a_record_and_btf_agrees_with_its_format(btf: Btf, root: Path) -> None:
    catalog, records = MachineCatalog(btf, root), Records(btf)
    checked = 0
    for name in catalog.names():
        (event,) = catalog.find(name)
        if event.is_syscall:
            assert event.record in ("trace_event_raw_sys_enter", "trace_event_raw_sys_exit")
            continue
        if event.raw_arguments is None:  # of a module, or made by a user: not in the kernel's own BTF
            continue
        assert event.record is not None, name
        told, found = read_format(root, event.category, event.name), records.fields(event.record, {})
        assert told is not None and found is not None
        assert [(f.name, f.offset, f.size, f.signed) for f in told.fields.values()] == [
            (f.name, f.offset, f.size, f.signed) for f in found.values()
        ], name
        assert [(f.shape, f.element_size, f.symbols) for f in told.fields.values()] == [
            (f.shape, f.element_size, f.symbols) for f in event.fields.values()
        ], name
        checked += 1
    assert checked > 100


@pytest.mark.parametrize(
    "name",
    [
        "sched:sched_switch",
        "sched_wakeup",
        "block:block_rq_issue",
        "irq:irq_handler_entry",
        "irq:softirq_entry",
        "raw_syscalls:sys_enter",
        "syscalls:sys_enter_openat",
        "syscalls:sys_exit_getpid",
    ],
)
def test_an_ordinary_user_sees_the_same_events(name: str, btf: Btf, root: Path) -> None:
    found = MachineCatalog(btf, None).find(name)
    assert len(found) == 1
    assert found[0].fields
    if shipped_catalog().description.rpartition(", ")[2] != os.uname().release:
        pytest.skip("symbols and dynamic strings are those of another kernel")
    assert found == MachineCatalog(btf, root).find(name)


def test_an_ordinary_user_sees_dynamic_strings_and_arrays(btf: Btf) -> None:
    catalog = MachineCatalog(btf, None)
    (irq,) = catalog.find("irq:irq_handler_entry")
    assert irq.fields["name"].shape is Shape.DYNAMIC_STRING
    (enter,) = catalog.find("raw_syscalls:sys_enter")
    assert (enter.fields["args"].shape, enter.fields["args"].element_size) == (Shape.OTHER, 8)
    (read,) = catalog.find("sys_enter_read")
    assert (read.record, read.raw_arguments) == ("trace_event_raw_sys_enter", None)
    assert "sched:sched_switch" in set(catalog.names())
    assert catalog.has_path("task_struct", "mm.pgd") is True


def test_events_that_btf_lacks_are_not_there_for_an_ordinary_user(btf: Btf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(btf, "tracepoint", lambda name: None)
    monkeypatch.setattr(btf, "has_function", lambda name: name.endswith("sys_read"))
    catalog = MachineCatalog(btf, None)
    assert catalog.find("sched_switch") == catalog.find("sys_enter_openat") == ()
    assert len(catalog.find("sys_enter_read")) == 1


def test_an_event_that_btf_does_not_know_has_no_record(btf: Btf, root: Path) -> None:
    found = read_format(root, "sched", "sched_wakeup")
    assert found is not None
    assert Records(btf).of_event("sched_wakeup", found.fields) == "trace_event_raw_sched_wakeup_template"
    assert Records(btf).of_event("of_some_module", found.fields) is None


def test_a_string_that_became_dynamic_is_still_a_string(btf: Btf) -> None:
    known = {"name": Field("name", "char[16]", Shape.STRING, 12, 16, element_size=1)}
    fields = Records(btf).fields("trace_event_raw_irq_handler_entry", known)
    assert fields is not None
    assert fields["name"].shape is Shape.DYNAMIC_STRING
    unknown = Records(btf).fields("trace_event_raw_irq_handler_entry", {})
    assert unknown is not None
    assert unknown["name"].shape is Shape.OTHER


def test_the_whole_machine_can_be_saved(btf: Btf, root: Path, tmp_path: Path) -> None:
    catalog = MachineCatalog(btf, root)
    path = tmp_path / "c.json.gz"
    save_catalog(catalog, path, [("task_struct", "mm.pgd")])
    loaded = load_catalog(path)
    assert list(loaded.names()) == list(catalog.names())
    assert all(loaded.find(name) == catalog.find(name) for name in catalog.names())
    assert loaded.has_path("task_struct", "mm.pgd") is True


def test_the_shipped_catalog_is_whole() -> None:
    catalog = shipped_catalog()
    events = [event for name in catalog.names() for event in catalog.find(name)]
    assert len(events) > 2000
    assert all(event.record for event in events)
    (switch,) = catalog.find("sched_switch")
    assert switch.fields["next_pid"].signed
