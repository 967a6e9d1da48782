"""Programs in the running kernel: known workloads are counted exactly, and nothing stays behind."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from ltrules.engines import maps, programs, rings
from ltrules.engines.compiler import compile_object
from ltrules.engines.programs import Programs
from ltrules.errors import AttachError, LoadError

pytestmark = pytest.mark.kernel

HEAD = '#include "ltrules.bpf.h"\nchar LICENSE[] SEC("license") = "GPL";\n'

#: Counts and reports each time that this process renames itself.
RENAMES = (
    HEAD
    + """
struct control { u64 enabled; u64 tgid; u64 mode; };
struct control control SEC(".data");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} alerts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 3);
	__type(key, u32);
	__type(value, u32);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1009);
	__type(key, u32);
	__type(value, u64);
} squares SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 128);
	__type(key, u64);
	__type(value, u64);
} seen SEC(".maps");

SEC("tp_btf/task_rename")
int on_rename(u64 *ctx)
{
	u32 one = 1, *count = bpf_map_lookup_elem(&counters, &one);
	u64 number, *record;

	if (!READ_ONCE(control.enabled) || bpf_get_current_pid_tgid() >> 32 != control.tgid || !count)
		return 0;
	number = __sync_fetch_and_add(count, 1) + 1;
	bpf_map_update_elem(&seen, &number, &number, BPF_NOEXIST);
	record = bpf_ringbuf_reserve(&alerts, sizeof(*record), 0);
	if (!record)
		return 0;
	*record = number;
	if (control.mode == 1 && number == 1)
		bpf_ringbuf_discard(record, 1); /* BPF_RB_NO_WAKEUP */
	else
		bpf_ringbuf_submit(record, 0);
	return 0;
}

static long square(void *map, u32 *index, u64 *value, void *context)
{
	*value = (u64)*index * *index;
	return 0;
}

SEC("syscall")
int sweep(void *ctx)
{
	bpf_for_each_map_elem(&squares, square, 0, 0);
	return 0;
}
"""
)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], bytes]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield compile_object


@pytest.fixture
def renames(compiled: Callable[[str], bytes]) -> Iterator[Programs]:
    with Programs.load(compiled(RENAMES)) as loaded:
        loaded.write_control(8, struct.pack("=Q", os.getpid()))
        yield loaded


def rename(times: int) -> None:
    comm = Path("/proc/self/comm")
    # Without the line end that the file shows: written, it would stay in the name for good.
    name = comm.read_text().rstrip("\n")
    for _ in range(times):
        comm.write_text(name)


def enable(loaded: Programs) -> None:
    loaded.write_control(0, struct.pack("=Q", 1))


def numbers(records: list[bytes]) -> list[int]:
    return [value for record in records for (value,) in struct.iter_unpack("=Q", record)]


def count(loaded: Programs) -> int:
    value = loaded.lookup("counters", struct.pack("=I", 1))
    assert value is not None
    return sum(part for (part,) in struct.iter_unpack("=I4x", value))


def bpf_descriptors() -> dict[str, list[str]]:
    """Return the descriptors of programs, maps and links that this process holds, with their ids."""
    held = {}
    for path in Path("/proc/self/fdinfo").iterdir():
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        ids = [line for line in lines if line.startswith(("prog_id:", "map_id:", "link_id:"))]
        if ids:
            held[path.name] = ids
    return held


def test_every_event_is_counted_and_reported_once(renames: Programs) -> None:
    renames.attach()
    rename(5)
    enable(renames)
    rename(23)

    assert numbers(renames.poll(1000)) == list(range(1, 24))
    assert count(renames) == 23
    assert renames.poll(0) == []


def test_nothing_is_seen_before_attach_nor_after_detach(renames: Programs) -> None:
    enable(renames)
    rename(3)
    renames.attach()
    rename(7)
    renames.detach()
    renames.quiesce()
    rename(11)

    assert count(renames) == 7
    assert len(renames.poll(0)) == 7


def test_programs_can_be_attached_again(renames: Programs) -> None:
    enable(renames)
    for _ in range(2):
        renames.attach()
        rename(3)
        renames.detach()

    assert count(renames) == 6


def test_a_flood_comes_in_batches(renames: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rings, "BATCH", 10)
    renames.attach()
    enable(renames)
    rename(23)

    polls = [numbers(renames.poll(100)) for _ in range(4)]

    assert polls == [list(range(1, 11)), list(range(11, 21)), [21, 22, 23], []]


def test_records_behind_a_silently_discarded_one_are_found(renames: Programs) -> None:
    renames.write_control(16, struct.pack("=Q", 1))
    renames.attach()
    enable(renames)
    assert renames.poll(0) == []
    rename(3)

    assert numbers(renames.poll(100)) == [2, 3]


def test_poll_waits_no_longer_than_asked(renames: Programs) -> None:
    renames.attach()
    begin = time.monotonic()

    assert renames.poll(50) == []
    assert 0.04 < time.monotonic() - begin < 2


@pytest.fixture
def alarm() -> Iterator[Callable[[Callable[[int, FrameType | None], None]], None]]:
    """Return how to have a handler called in 50 ms."""
    before = signal.getsignal(signal.SIGALRM)

    def arm(handler: Callable[[int, FrameType | None], None]) -> None:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.05)

    yield arm
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_handled_signal_ends_poll(
    renames: Programs, alarm: Callable[[Callable[[int, FrameType | None], None]], None]
) -> None:
    begin = time.monotonic()
    alarm(lambda number, frame: None)

    assert renames.poll(20_000) == []
    assert time.monotonic() - begin < 10


def test_what_a_handler_raises_comes_out_and_no_record_is_lost(
    renames: Programs, alarm: Callable[[Callable[[int, FrameType | None], None]], None]
) -> None:
    def interrupt(number: int, frame: FrameType | None) -> None:
        rename(3)
        raise KeyboardInterrupt

    renames.attach()
    enable(renames)
    alarm(interrupt)

    with pytest.raises(KeyboardInterrupt):
        renames.poll(20_000)
    assert numbers(renames.poll(1000)) == [1, 2, 3]


def test_a_syscall_program_runs_on_demand(renames: Programs) -> None:
    assert renames.has_program("sweep")
    assert not renames.has_program("nobody")
    with pytest.raises(KeyError, match="nobody"):
        renames.run("nobody")

    renames.run("sweep")

    assert [value for (value,) in struct.iter_unpack("=Q", renames.values("squares"))] == [i * i for i in range(1009)]


def test_arrays_are_read_without_batches_too(renames: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    renames.run("sweep")
    whole = renames.values("squares"), renames.values("counters")
    bpf = maps.library()

    class Old:
        """A kernel without BPF_MAP_LOOKUP_BATCH."""

        def __getattr__(self, name: str) -> object:
            return getattr(bpf, name)

        def bpf_map_lookup_batch(self, *arguments: object) -> int:
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(maps, "library", Old)

    assert (renames.values("squares"), renames.values("counters")) == whole


def test_entries_of_a_hash_are_listed(renames: Programs) -> None:
    renames.attach()
    enable(renames)
    rename(23)

    found = sorted(struct.unpack("=QQ", key + value) for key, value in renames.items("seen"))

    assert found == [(i, i) for i in range(1, 24)]
    with pytest.raises(ValueError, match="not an array"):
        renames.values("seen")
    assert renames.lookup("seen", struct.pack("=Q", 24)) is None
    assert len(list(renames.items("squares"))) == 1009


def test_per_cpu_values_hold_a_part_for_every_possible_cpu(renames: Programs) -> None:
    last = Path("/sys/devices/system/cpu/possible").read_text().strip().rpartition("-")[2]
    value = renames.lookup("counters", bytes(4))

    assert value is not None
    assert len(value) == 8 * (int(last) + 1)
    assert len(renames.values("counters")) == 3 * len(value)


def test_control_can_be_written_without_mmap(renames: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(19, "No such device")

    renames._control = None
    monkeypatch.setattr(programs.mmap, "mmap", refuse)
    renames.attach()
    enable(renames)
    rename(2)

    assert count(renames) == 2  # so the pid that was written before is still there


def test_control_has_an_end(renames: Programs) -> None:
    with pytest.raises(ValueError, match="24 bytes"):
        renames.write_control(20, bytes(8))


def test_numbers_of_programs_and_maps(renames: Programs) -> None:
    infos = {info.name: info for info in renames.program_infos()}

    assert set(infos) == {"on_rename", "sweep"}
    assert infos["on_rename"].instructions > 10
    assert infos["on_rename"].recursion_misses == 0
    memory = renames.map_memory()
    assert set(memory) == {"alerts", "counters", "squares", "seen", "ltrules.data"}
    assert memory["alerts"] >= 65536


def test_a_missing_map_is_named(renames: Programs) -> None:
    with pytest.raises(KeyError, match="nowhere"):
        renames.lookup("nowhere", bytes(4))
    with pytest.raises(ValueError, match="4 bytes"):
        renames.lookup("counters", b"")


def test_close_leaves_nothing(compiled: Callable[[str], bytes]) -> None:
    before = bpf_descriptors()
    loaded = Programs.load(compiled(RENAMES))
    loaded.attach()
    enable(loaded)
    loaded.poll(0)
    held = bpf_descriptors()
    ids = [int(line.split()[1]) for lines in held.values() for line in lines if line.startswith("prog_id:")]
    assert len(ids) >= 2
    loaded.close()
    loaded.close()

    assert bpf_descriptors() == before
    # The kernel frees a program some time after its last user has gone.
    by_id = ctypes.CDLL("libbpf.so.1").bpf_prog_get_fd_by_id
    deadline = time.monotonic() + 10
    while any((fd := by_id(number)) >= 0 and (os.close(fd) is None) for number in ids):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(ValueError, match="closed"):
        loaded.poll(0)
    with pytest.raises(ValueError, match="closed"):
        loaded.attach()


def test_an_unsafe_program_is_refused_with_the_verifiers_reason(
    compiled: Callable[[str], bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    before = bpf_descriptors()
    text = RENAMES.replace("|| !count)", ")")

    with pytest.raises(LoadError, match="program on_rename") as caught:
        Programs.load(compiled(text))

    assert "map_value_or_null" in caught.value.log
    assert "__sync_fetch_and_add(count, 1)" in caught.value.log  # the line of the generated C
    assert capfd.readouterr() == ("", "")
    assert bpf_descriptors() == before


def test_what_is_no_object_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LoadError, match="cannot be read") as caught:
        Programs.load(b"no object")

    assert "ELF" in caught.value.log
    assert capfd.readouterr() == ("", "")


def test_a_missing_raw_tracepoint_is_named(compiled: Callable[[str], bytes]) -> None:
    text = HEAD + 'SEC("tp_btf/sched_nonsense") int f(u64 *ctx) { return 0; }\n'

    with pytest.raises(AttachError, match="no tracepoint sched_nonsense"):
        Programs.load(compiled(text))


def test_a_missing_classic_tracepoint_is_named_and_nothing_stays_attached(compiled: Callable[[str], bytes]) -> None:
    text = RENAMES + 'SEC("tp/sched/sched_nonsense") int f(void *ctx) { return 0; }\n'
    with Programs.load(compiled(text)) as loaded:
        loaded.write_control(8, struct.pack("=Q", os.getpid()))
        enable(loaded)

        with pytest.raises(AttachError, match="tracepoint sched:sched_nonsense: "):
            loaded.attach()
        rename(3)

        assert count(loaded) == 0


def test_without_privilege_the_sentence_says_what_works(compiled: Callable[[str], bytes]) -> None:
    data = compiled(RENAMES)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresuid(65534, 65534, 65534)
            Programs.load(data)
        except LoadError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)

    assert "needs root (or CAP_BPF and CAP_PERFMON)" in said
    assert "`ltrules check`" in said


def test_a_full_map_of_many_megabytes_is_read_whole(compiled: Callable[[str], bytes]) -> None:
    entries = 40_000
    text = RENAMES.replace("max_entries, 1009", f"max_entries, {entries}").replace(
        "__type(value, u64);\n} squares", "__type(value, u64[128]);\n} squares"
    )
    text = text.replace("u64 *value, void *context", "u64 (*value)[128], void *context").replace(
        "*value = ", "(*value)[127] = "
    )
    with Programs.load(compiled(text)) as loaded:
        loaded.run("sweep")
        data = loaded.values("squares")

    assert len(data) == entries * 1024
    assert struct.unpack_from("=Q", data, len(data) - 8) == ((entries - 1) ** 2,)


def test_a_map_too_large_for_the_kernel_is_explained(compiled: Callable[[str], bytes]) -> None:
    text = RENAMES.replace("max_entries, 1009", "max_entries, 0xfffffff0")

    with pytest.raises(LoadError, match="lower `inflight`"):
        Programs.load(compiled(text))
