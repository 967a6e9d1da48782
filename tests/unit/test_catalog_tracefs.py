"""Formats as the kernel prints them, and damaged ones; where tracefs is found."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltrules.catalog import tracefs
from ltrules.catalog.events import Field, Shape
from ltrules.errors import EngineUnavailable, InputError

FORMATS = Path(__file__).parent.parent / "data" / "formats"


def sample(name: str) -> dict[str, Field]:
    path = FORMATS / f"{name}.format"
    return tracefs.parse_format(path.read_text(encoding="utf-8"), str(path)).fields


def text_of(declaration: str, size: int, print_text: str = '"%d", REC->x', signed: int = 0) -> str:
    line = f"\tfield:{declaration};\toffset:8;\tsize:{size};\tsigned:{signed};"
    return f"name: x\nID: 1\nformat:\n{line}\n\nprint fmt: {print_text}\n"


def field_of(declaration: str, size: int) -> Field:
    (field,) = tracefs.parse_format(text_of(declaration, size), "x").fields.values()
    return field


def test_sched_switch() -> None:
    fields = sample("sched_switch")
    assert " ".join(fields) == "prev_comm prev_pid prev_prio prev_state next_comm next_pid next_prio"
    assert fields["prev_comm"] == Field("prev_comm", "char[16]", Shape.STRING, 8, 16, element_size=1)
    assert fields["next_pid"] == Field("next_pid", "pid_t", Shape.INT, 56, 4, signed=True)
    assert fields["prev_state"].symbols[2] == "D"


def test_softirq_entry_has_names_of_vectors() -> None:
    vec = sample("softirq_entry")["vec"]
    assert (vec.symbols[0], vec.symbols[3], vec.symbols[9], len(vec.symbols)) == ("HI", "NET_RX", "RCU", 10)


def test_irq_handler_entry_has_a_dynamic_string() -> None:
    assert sample("irq_handler_entry")["name"] == Field("name", "__data_loc char[]", Shape.DYNAMIC_STRING, 12, 4)


def test_inet_sock_set_state() -> None:
    fields = sample("inet_sock_set_state")
    assert fields["skaddr"] == Field("skaddr", "const void *", Shape.INT, 8, 8, pointer=True)
    assert fields["newstate"].symbols[10] == "TCP_LISTEN"
    assert fields["saddr"] == Field("saddr", "__u8[4]", Shape.OTHER, 32, 4, element_size=1)


def test_block_rq_issue_has_no_symbols_from_shifted_fields() -> None:
    fields = sample("block_rq_issue")
    assert fields["ioprio"].symbols == {}
    assert (fields["rwbs"].shape, fields["rwbs"].size) == (Shape.STRING, 10)


def test_sys_enter_read_has_arguments_of_8_bytes() -> None:
    fields = sample("sys_enter_read")
    assert [(f.name, f.offset, f.size) for f in fields.values()] == [
        ("__syscall_nr", 8, 4),
        ("fd", 16, 8),
        ("buf", 24, 8),
        ("count", 32, 8),
    ]


@pytest.mark.parametrize(
    ("declaration", "size", "shape", "c_type", "element_size"),
    [
        ("bool x", 1, Shape.INT, "bool", 0),
        ("enum dma_data_direction x", 4, Shape.INT, "enum dma_data_direction", 0),
        ("const char *const * x", 8, Shape.INT, "const char *const *", 0),
        ("char *x", 8, Shape.INT, "char *", 0),
        ("unsigned long x[6]", 48, Shape.OTHER, "unsigned long[6]", 8),
        ("unsigned long x[]", 0, Shape.OTHER, "unsigned long[]", 8),
        ("u8 x[SIZE]", 12, Shape.OTHER, "u8[SIZE]", 1),
        ("foo_t x[SIZE]", 12, Shape.OTHER, "foo_t[SIZE]", 0),
        ("char x[TASK_COMM_LEN]", 16, Shape.STRING, "char[TASK_COMM_LEN]", 1),
        ("char x[]", 0, Shape.OTHER, "char[]", 1),
        ("struct timespec64 x", 8, Shape.OTHER, "struct timespec64", 0),
        ("guid_t x", 16, Shape.OTHER, "guid_t", 0),
        ("__data_loc u64[] x", 4, Shape.OTHER, "__data_loc u64[]", 0),
        ("__data_loc cpumask_t x", 4, Shape.OTHER, "__data_loc cpumask_t", 0),
        ("__rel_loc char[] x", 4, Shape.OTHER, "__rel_loc char[]", 0),
    ],
)
def test_declarations(declaration: str, size: int, shape: Shape, c_type: str, element_size: int) -> None:
    field = field_of(declaration, size)
    assert (field.name, field.shape, field.c_type, field.element_size) == ("x", shape, c_type, element_size)


def test_a_format_without_fields() -> None:
    assert tracefs.parse_format('name: x\nID: 1\nformat:\n\nprint fmt: ""\n', "x") == ({}, '""')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not the format"),
        ("name: x\nformat:\n\tfield:int x;\n\nprint fmt: ", "describes no field"),
        (text_of("int", 4), "describes no field"),
        (text_of("int x", 4).replace("\n\n", "\n\tfield:int x;\toffset:12;\tsize:4;\tsigned:1;\n\n"), "twice"),
        (text_of("int x", 4).replace("size:4", "size:99999999999"), "describes no field"),
    ],
)
def test_damaged_formats_are_named(text: str, words: str) -> None:
    with pytest.raises(InputError, match=f"^some/format: .*{words}"):
        tracefs.parse_format(text, "some/format")


@given(st.sampled_from(sorted(FORMATS.iterdir())), st.integers(0, 1500), st.text(max_size=8), st.integers(0, 8))
def test_changed_formats_give_fields_or_input_error(path: Path, at: int, change: str, cut: int) -> None:
    text = path.read_text(encoding="utf-8")
    try:
        tracefs.parse_format(text[:at] + change + text[at + cut :], str(path))
    except InputError as error:
        assert str(path) in str(error)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of a tracing directory, with two events."""
    for category, name in (("irq", "softirq_entry"), ("sched", "sched_switch"), ("ftrace", "function")):
        directory = tmp_path / "events" / category / name
        directory.mkdir(parents=True)
        source = FORMATS / f"{name}.format"
        (directory / "format").write_bytes(source.read_bytes() if source.exists() else b"")
    (tmp_path / "events" / "header_page").write_text("")
    return tmp_path


def test_events_are_listed_without_those_of_the_tracers(root: Path) -> None:
    assert tracefs.event_names(root) == ["irq:softirq_entry", "sched:sched_switch"]


def test_a_bare_name_is_looked_for_by_name(root: Path) -> None:
    assert tracefs.categories_of(root, "sched_switch") == ["sched"]
    assert tracefs.categories_of(root, "function") == tracefs.categories_of(root, "nothing") == []


def test_a_format_is_read_from_its_place(root: Path) -> None:
    found = tracefs.read_format(root, "sched", "sched_switch")
    assert found is not None
    assert found.fields == sample("sched_switch")
    assert found.print_text.startswith('"prev_comm=%s prev_pid=%d') and found.print_text.endswith("REC->next_prio")
    assert tracefs.read_format(root, "sched", "nothing") is None


def test_tracefs_is_found_where_it_is_mounted(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"proc /proc proc rw 0 0\nnodev {root} tracefs rw 0 0\n")
    monkeypatch.setattr(tracefs, "MOUNT_POINTS", (tmp_path / "nowhere",))
    monkeypatch.setattr(tracefs, "_MOUNTS", mounts)
    assert tracefs.find_tracefs() == root
    assert tracefs.mount_tracefs() == root


def test_tracefs_is_not_found_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracefs, "MOUNT_POINTS", (tmp_path / "nowhere",))
    monkeypatch.setattr(tracefs, "_MOUNTS", tmp_path / "no-mounts")
    assert tracefs.find_tracefs() is None


@pytest.mark.parametrize("user", [0, 1000])
def test_what_cannot_be_mounted_is_said_in_words(user: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(argv)
        return subprocess.CompletedProcess(argv, 32, "", "mount: unknown filesystem type")

    monkeypatch.setattr(tracefs, "find_tracefs", lambda: None)
    monkeypatch.setattr(tracefs, "MOUNT_POINT", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(EngineUnavailable, match="as root" if user else "cannot mount tracefs"):
        tracefs.mount_tracefs()
    assert asked == ([] if user else [["mount", "-t", "tracefs", "nodev", str(tmp_path)]])
