"""From files to lines and into order: compression, damage, long lines, pipes, programs, the reorder window."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import shutil
import subprocess
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltrules.errors import InputError
from ltrules.traces import Troubles, open_trace
from ltrules.traces.order import WINDOW, in_order
from ltrules.traces.programs import ProgramStream
from ltrules.traces.streams import CHUNK, LONGEST_LINE, line_blocks
from support import CATALOG
from trace_support import SAMPLES, needs, read

WAKEUP = needs("sched_wakeup", "sched_switch")
HEADER = b'{"ltrules_trace": 1}\n'


def line(time: int, pid: int = 1) -> bytes:
    fields = f'"comm": "x", "pid": {pid}, "prio": 1, "target_cpu": 1'
    return f'{{"t": {time}, "e": "sched:sched_wakeup", "cpu": 0, "f": {{{fields}}}}}\n'.encode()


def recording(count: int) -> bytes:
    return HEADER + b"".join(line(time, time % 97) for time in range(count))


def zstd(data: bytes) -> bytes:
    if shutil.which("zstd") is None:
        pytest.skip("the program zstd is missing")
    return subprocess.run(["zstd", "-qc"], input=data, stdout=subprocess.PIPE, check=True).stdout


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": zstd
}  # fmt: skip


@pytest.mark.parametrize("packer", PACKERS)
def test_compressed_traces_are_read(packer: str, tmp_path: Path) -> None:
    whole = recording(20_000)
    expected, _ = read(whole, WAKEUP)
    packed = PACKERS[packer](whole)
    path = tmp_path / "a trace of any name"
    path.write_bytes(packed)
    for source in (packed, path):
        events, trace = read(source, WAKEUP)
        assert events == expected
        assert not trace.troubles.cut
        assert trace.progress() == (len(packed), len(packed) if source is path else None)


@pytest.mark.parametrize("packer", PACKERS)
def test_compressed_files_can_be_joined(packer: str) -> None:
    events, trace = read(PACKERS[packer](recording(500)) + PACKERS[packer](recording(500)), WAKEUP)
    assert len(events) == 1000
    assert not trace.troubles.malformed


@pytest.mark.parametrize("packer", ["gzip", "bzip2", "xz"])
def test_padding_after_compressed_data_is_passed_over(packer: str) -> None:
    events, trace = read(PACKERS[packer](recording(500)) + b"\0" * 1000, WAKEUP)
    assert len(events) == 500
    assert not trace.troubles.cut


@pytest.mark.parametrize("packer", PACKERS)
def test_what_a_cut_file_holds_is_read(packer: str) -> None:
    source = random.Random(3)
    whole = HEADER + b"".join(line(time, source.getrandbits(30)) for time in range(60_000))
    packed = PACKERS[packer](whole)
    events, trace = read(packed[: len(packed) // 2], WAKEUP)
    assert 10_000 < len(events) < 50_000
    assert events == read(whole, WAKEUP)[0][: len(events)]
    assert trace.troubles.cut and trace.troubles.malformed <= 1
    assert next(trace.troubles.sentences()) == trace.troubles.cut


@pytest.mark.parametrize("packer", ["gzip", "bzip2", "xz"])
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_damaged_compressed_data_ends_reading(packer: str, data: st.DataObject) -> None:
    packed = bytearray(PACKERS[packer](recording(3000)))
    at = data.draw(st.integers(8, len(packed) - 1))
    packed[at : at + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=20))
    try:
        events, _ = read(bytes(packed), WAKEUP)
    except InputError as error:
        assert "is empty" in str(error) or "is no trace" in str(error) or "reads version" in str(error)
    else:
        assert len(events) <= 3000


def test_a_compressed_bomb_takes_no_memory() -> None:
    packed = gzip.compress(recording(10) + b"\0" * (64 << 20))
    tracemalloc.start()
    events, trace = read(packed, WAKEUP)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(events) == 10
    assert trace.troubles.malformed == 1
    assert peak < 5 << 20


def test_a_long_trace_takes_no_memory() -> None:
    class Endless(io.RawIOBase):
        """A pipe that delivers 8 MB."""

        time = 0

        def read1(self, size: int) -> bytes:
            start = HEADER if self.time == 0 else b""
            self.time += 500
            return start + b"".join(map(line, range(self.time - 500, self.time))) if self.time < 80_000 else b""

    tracemalloc.start()
    with open_trace(Endless(), CATALOG, WAKEUP) as trace:  # type: ignore[arg-type]
        events = sum(1 for _ in trace)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert events > 70_000
    assert peak < 5 << 20


class Chunks:
    """A stream that gives bytes in given pieces."""

    def __init__(self, data: bytes, sizes: Iterator[int]) -> None:
        self._data, self._sizes = data, sizes

    def read(self) -> bytes:
        size = next(self._sizes)
        data, self._data = self._data[:size], self._data[size:]
        return data

    def close(self) -> None:
        """There is nothing to close."""


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_how_bytes_arrive_does_not_matter(data: st.DataObject) -> None:
    lines = data.draw(st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"")), max_size=20))
    for at in data.draw(st.lists(st.integers(0, 20), max_size=2)):
        lines.insert(at, b"x" * (LONGEST_LINE + data.draw(st.integers(0, 2))))
    whole = b"\n".join(lines)
    sizes = iter(
        lambda: data.draw(st.integers(1, 40)) if len(whole) < 2000 else data.draw(st.integers(CHUNK // 2, CHUNK)), 0
    )
    troubles = Troubles()
    found = [
        each for block in line_blocks(Chunks(whole, sizes), troubles, "backslashreplace", ended=False) for each in block
    ]
    expected = [each.decode("utf-8", "backslashreplace") for each in lines if len(each) <= LONGEST_LINE]
    assert [each for each in found if each] == [each for each in expected if each]
    assert troubles.malformed == sum(len(each) > LONGEST_LINE for each in lines)


def test_a_pipe_is_read_as_it_fills(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(recording(3000),))
    writer.start()
    events, trace = read(fifo, WAKEUP)
    writer.join()
    assert len(events) == 3000
    assert trace.progress()[1] is None


def test_standard_input_is_not_closed() -> None:
    stream = io.BytesIO(recording(3))
    events, _ = read(stream, WAKEUP)
    assert len(events) == 3
    assert not stream.closed


def test_programs_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "ctf").mkdir()
    for source, program, package in (
        (b"\x28\xb5\x2f\xfd" + b"x" * 99, "zstd", "zstd"),
        (b"\x17\x08Dtracing6\0", "trace-cmd", "trace-cmd"),
        (b"PERFILE2" + b"\0" * 99, "perf", "linux-perf"),
        (tmp_path / "ctf", "babeltrace2", "babeltrace2"),
    ):
        with pytest.raises(InputError, match=f"`{program}`.*apt-get install {package}"):
            read(source, WAKEUP)


def test_what_its_program_cannot_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ctf").mkdir()
    (tmp_path / "trace.dat").write_bytes(b"\x17\x08Dtracing6\0" + b"x" * 99)
    for name, program in (("ctf", "babeltrace2"), ("trace.dat", "trace-cmd")):
        if shutil.which(program) is None:
            pytest.skip(f"the program {program} is missing")
        with pytest.raises(InputError, match=rf"cannot read .*/{name}: {program} (failed \(|finds nothing)"):
            read(tmp_path / name, WAKEUP)
    with pytest.raises(InputError, match=r"cannot read standard input: trace-cmd (failed \(|finds nothing)"):
        read((tmp_path / "trace.dat").read_bytes(), WAKEUP)


def test_a_program_that_fails_cuts_the_trace() -> None:
    text = (SAMPLES / "ftrace.txt").read_text()
    for script, reason in (
        ("echo oh no >&2; exit 3", "oh no"),
        ("exit 3", "exit status 3"),
        ("kill -11 $$", "signal 11"),
    ):
        troubles = Troubles()
        stream = ProgramStream(
            ["sh", "-c", f"cat; {script}"], "x", troubles, feed=Chunks(text.encode(), iter(lambda: 99, 0))
        )
        assert b"".join(iter(stream.read, b"")).decode() == text
        assert reason in troubles.cut and "sh failed" in troubles.cut
        stream.close()
        stream.close()
        assert stream.read() == b""


def test_a_program_ends_with_its_trace() -> None:
    stream = ProgramStream(["sh", "-c", "echo $$; exec sleep 60"], "x", Troubles())
    pid = int(stream.read())
    stream.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@given(st.lists(st.integers(0, 50), max_size=200), st.integers(1, 30), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_order(times: list[int], size: int, source: random.Random) -> None:
    stamped = [(time, number) for number, time in enumerate(times)]
    batches = [stamped[at : at + size] for at in range(0, len(stamped), size)]
    troubles = Troubles()
    assert list(in_order(batches, troubles)) == sorted(stamped), "within the window it is a stable sort"
    assert troubles.late == 0


def test_what_comes_too_late_is_counted_and_handed_on() -> None:
    near = [*range(WINDOW, 10 * WINDOW)]
    near.insert(2 * WINDOW, 2 * WINDOW + 7)  # some 1000 places late
    near.insert(8 * WINDOW, 5)
    near.insert(8 * WINDOW, 4)
    troubles = Troubles()
    found = [time for (time,) in in_order(([(time,)] for time in near), troubles)]
    assert sorted(found) == sorted(near)
    assert troubles.late == 2
    on_time = [time for time in found if time not in (4, 5)]
    assert on_time == sorted(on_time)
    assert "2 events came too late to be put in order" in list(troubles.sentences())
