"""The BTF reader, on a blob built by hand, on corrupt ones, and on the running kernel's."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltrules.catalog import btf_index
from ltrules.catalog.btf import KERNEL_BTF, Btf, BtfError, Kind, Member, open_btf
from ltrules.errors import InputError

kept: dict[str, bytes] = {}


@pytest.fixture(scope="module", autouse=True)
def cache_in_memory() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(btf_index, "cache", SimpleNamespace(read=kept.get, write=kept.__setitem__))
        yield


class Builder:
    """Writes BTF as the kernel's header describes it."""

    def __init__(self) -> None:
        self.strings = bytearray(b"\0")
        self.types = bytearray()
        self.count = 0

    def name(self, text: str) -> int:
        if not text:
            return 0
        self.strings += text.encode() + b"\0"
        return len(self.strings) - len(text) - 1

    def add(self, kind: Kind, name: str = "", value: int = 0, *words: int, count: int = 0, flag: bool = False) -> int:
        info = int(kind) << 24 | count | flag << 31
        self.types += struct.pack(f"={3 + len(words)}I", self.name(name), info, value, *words)
        self.count += 1
        return self.count

    def integer(self, name: str, size: int, signed: bool = False) -> int:
        return self.add(Kind.INT, name, size, int(signed) << 24 | size * 8)

    def struct(self, name: str, size: int, *members: tuple[str, int, int], kind: Kind = Kind.STRUCT) -> int:
        words = [word for text, number, bits in members for word in (self.name(text), number, bits)]
        return self.add(kind, name, size, *words, count=len(members))

    def prototype(self, returns: int, *arguments: int) -> int:
        words = [word for number in arguments for word in (0, number)]
        return self.add(Kind.FUNC_PROTO, "", returns, *words, count=len(arguments))

    def blob(self) -> bytes:
        header = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(self.types), len(self.types), len(self.strings))
        return header + bytes(self.types) + bytes(self.strings)


def sample() -> bytes:
    b = Builder()
    number, char, long = b.integer("int", 4, True), b.integer("char", 1), b.integer("long unsigned int", 8)
    pid_t = b.add(Kind.TYPEDEF, "pid_t", number)
    const_char = b.add(Kind.CONST, "", char)
    text = b.add(Kind.PTR, "", const_char)
    comm = b.add(Kind.ARRAY, "", 0, char, number, 16)
    grid = b.add(Kind.ARRAY, "", 0, b.add(Kind.ARRAY, "", 0, long, number, 3), number, 2)
    colour = b.add(Kind.ENUM, "colour", 4, b.name("RED"), 0, count=1)
    wide = b.add(Kind.ENUM64, "wide", 8, b.name("FAR"), 0, 1, count=1, flag=True)
    inner = b.struct("", 8, ("pgd", long, 0), kind=Kind.UNION)
    mm = b.struct("mm_struct", 8, ("", inner, 0))
    mm_pointer = b.add(Kind.PTR, "", mm)
    task = b.struct("task_struct", 24, ("pid", pid_t, 0), ("mm", mm_pointer, 64), ("next", b.count + 2, 128))
    task_pointer = b.add(Kind.PTR, "", task)
    b.struct(
        "trace_event_raw_x",
        128,
        ("pid", pid_t, 0),
        ("name", text, 64),
        ("comm", comm, 128),
        ("grid", grid, 256),
        ("colour", colour, 640),
        ("wide", wide, 704),
    )
    b.add(Kind.STRUCT, "bits", 4, b.name("low"), number, 3 << 24 | 9, count=1, flag=True)
    prototype = b.prototype(0, b.add(Kind.PTR), task_pointer, pid_t)
    b.add(Kind.TYPEDEF, "btf_trace_x", b.add(Kind.PTR, "", prototype))
    b.add(Kind.FUNC, "__bpf_trace_x", prototype)
    b.add(Kind.FUNC, "__x64_sys_read", prototype)
    b.add(Kind.FUNC, "vfs_read", prototype)
    return b.blob()


SAMPLE = sample()


def test_members_have_their_types_places_and_signs() -> None:
    members = Btf(SAMPLE).members("trace_event_raw_x")
    assert members is not None
    pid, name, comm, grid, colour, wide = members
    assert pid == Member("pid", "pid_t", 0, 32, Kind.INT, True, None, 0, pid.type_id)
    assert (name.c_type, name.kind, name.offset, name.bit_size) == ("const char *", Kind.PTR, 8, 64)
    assert (comm.c_type, comm.length, comm.element_size, comm.bit_size) == ("char[16]", 16, 1, 128)
    assert (grid.c_type, grid.length, grid.element_size, grid.bit_size) == ("unsigned long[2][3]", 6, 8, 384)
    assert (colour.c_type, colour.kind, colour.signed) == ("enum colour", Kind.ENUM, False)
    assert (wide.c_type, wide.kind, wide.signed, wide.bit_size) == ("enum wide", Kind.ENUM64, True, 64)


def test_a_bit_field_has_its_own_width() -> None:
    members = Btf(SAMPLE).members("bits")
    assert members is not None
    assert (members[0].offset, members[0].bit_size) == (1, 3)


def test_what_is_not_there_is_none() -> None:
    btf = Btf(SAMPLE)
    assert btf.members("nothing") is None
    assert btf.tracepoint("nothing") is None
    assert btf.tracepoint_class("nothing") is None
    assert not btf.has_struct("mm")  # the start of a name is not the name


def test_tracepoints_have_arguments_without_the_leading_pointer() -> None:
    btf = Btf(SAMPLE)
    assert btf.tracepoint("x") == btf.tracepoint_class("x") == ("struct task_struct *", "pid_t")


def test_only_functions_of_interest_are_indexed() -> None:
    btf = Btf(SAMPLE)
    assert btf.has_function("__x64_sys_read")
    assert not btf.has_function("vfs_read")


def test_structs_by_prefix() -> None:
    assert Btf(SAMPLE).structs("trace_event_raw_") == {"trace_event_raw_x": (6, 128)}


@pytest.mark.parametrize(
    ("path", "there"),
    [("pid", True), ("mm.pgd", True), ("next.next.mm.pgd", True), ("mm.pgx", False), ("pid.x", False), ("", False)],
)
def test_paths_follow_pointers_and_anonymous_members(path: str, there: bool) -> None:
    assert Btf(SAMPLE).has_path("task_struct", path) is there


def test_a_path_of_an_unknown_struct_is_not_there() -> None:
    assert Btf(SAMPLE).has_path("nothing", "pid") is False


def test_the_second_reading_takes_the_index_from_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    kept.clear()
    first = Btf(SAMPLE).members("task_struct")
    monkeypatch.setattr(btf_index, "scan", lambda found: pytest.fail("scanned again"))
    assert Btf(SAMPLE).members("task_struct") == first


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: b"", lambda d: d[:20] + b"\xff" + d[21:]])
def test_a_damaged_index_is_made_again(damage: object) -> None:
    kept.clear()
    first = Btf(SAMPLE).members("task_struct")
    (name,) = kept
    whole = kept[name]
    kept[name] = damage(whole)  # type: ignore[operator]
    assert Btf(SAMPLE).members("task_struct") == first
    assert kept[name] == whole


def everything(blob: bytes) -> None:
    """Ask a blob all there is to ask."""
    btf = Btf(blob)
    for name in [*btf.structs(""), "task_struct"]:
        btf.members(name)
    for path in ("mm.pgd", "next.next.pid"):
        btf.has_path("task_struct", path)
    btf.tracepoint("x")
    btf.tracepoint_class("x")


@given(st.binary(max_size=300))
def test_random_bytes_are_refused_in_words(blob: bytes) -> None:
    with pytest.raises(BtfError):
        everything(blob)


@given(st.integers(24, len(SAMPLE) - 1), st.binary(min_size=1, max_size=6), st.integers(0, len(SAMPLE)))
@settings(max_examples=400, deadline=None)
def test_changed_bytes_give_an_answer_or_btf_error(at: int, change: bytes, end: int) -> None:
    for blob in (SAMPLE[:at] + change + SAMPLE[at + len(change) :], SAMPLE[:end]):
        try:
            everything(blob)
        except BtfError as error:
            assert str(error)


def test_loops_end() -> None:
    b = Builder()
    b.add(Kind.TYPEDEF, "btf_trace_x", 1)
    b.struct("s", 8, ("a", 1, 0))
    b.struct("t", 8, ("", 3, 0))
    b.add(Kind.PTR, "", 4)
    b.struct("u", 8, ("a", 4, 0))
    btf = Btf(b.blob())
    with pytest.raises(BtfError, match="no end"):
        btf.tracepoint("x")
    with pytest.raises(BtfError, match="no end"):
        btf.members("s")
    with pytest.raises(BtfError, match="no end"):
        btf.members("u")
    assert btf.has_path("t", "a") is False


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*nothing"):
        open_btf(tmp_path / "nothing")
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    with pytest.raises(BtfError, match=f"^{empty}: "):
        open_btf(empty)


def test_a_file_is_read_as_the_blob_is(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(SAMPLE)
    assert open_btf(path).members("task_struct") == Btf(SAMPLE).members("task_struct")


def test_the_running_kernel() -> None:
    if not KERNEL_BTF.exists():
        pytest.skip("this kernel has no BTF")
    btf = open_btf()
    members = btf.members("trace_event_raw_sched_switch")
    assert members is not None
    by_name = {member.name: member for member in members}
    assert (by_name["prev_comm"].c_type, by_name["prev_comm"].offset) == ("char[16]", 8)
    assert by_name["next_pid"].signed
    arguments = btf.tracepoint("sched_switch")
    assert arguments is not None
    assert arguments[:3] == ("bool", "struct task_struct *", "struct task_struct *")
    assert btf.tracepoint_class("sched_wakeup_template") == btf.tracepoint("sched_wakeup") == ("struct task_struct *",)
    assert btf.has_path("task_struct", "mm.pgd")
    assert btf.has_path("sock", "__sk_common.skc_dport")  # in an anonymous struct of an anonymous union
    assert not btf.has_path("task_struct", "mm.no_such_member")
