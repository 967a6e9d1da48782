"""`ltrules record` as a program: what is in the file, what is missing in it, and what replay makes of it."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from helpers import MS, Child, nanosleep

pytestmark = pytest.mark.kernel

TOP = Path(__file__).parents[2]
PATIENCE = 30.0
ROUNDS = 23
#: Every sleep gives an alert; what the process is called is captured.
NAPS = """
rule nap {
  param limit: duration = 29ms
  in  syscalls:sys_enter_clock_nanosleep key task.tid capture comm = task.comm
  out syscalls:sys_exit_clock_nanosleep key task.tid capture (ret, cpu.id)
  thresh limit
  rate 1000000 per 1s
}
"""
CALLS = "calls: in sys_enter_getsid key task.tid, out sys_exit_getsid key task.tid, thresh 1h"


@contextmanager
def started(verb: str, *arguments: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a command, and see that it is over in the end."""
    command = [sys.executable, "-m", "ltrules", verb, *arguments]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=TOP, **more)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def run(verb: str, *arguments: str) -> tuple[int, str, str]:
    """Return the status, the output and the errors of a command that ends by itself."""
    with started(verb, *arguments) as child:
        out, err = child.communicate(timeout=PATIENCE)
        assert "Traceback" not in out + err, err
        return child.returncode, out, err


def wait_for(child: subprocess.Popen[str], text: str) -> None:
    """Read the errors of a command until a text comes."""
    assert child.stderr is not None
    for line in child.stderr:
        if text in line:
            return
    pytest.fail(f"no `{text}` before the end")


def stop(child: subprocess.Popen[str]) -> tuple[str, str]:
    """End a command by Ctrl-C; return its output and what is left of its errors."""
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0, err
    return out, err


def sleep_some() -> None:
    for _ in range(ROUNDS):
        nanosleep(30 * MS)


def call_much(count: int) -> None:
    for _ in range(count):
        os.getsid(0)


def lines(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    return [json.loads(line) for line in (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()]


def alerts(text: str) -> list[dict[str, Any]]:
    """Return the alerts of JSON Lines, without what differs from clock to clock."""
    records = [json.loads(line) for line in text.splitlines()]
    return [{k: v for k, v in r.items() if k != "time"} for r in records if r["type"] == "alert"]


@pytest.mark.parametrize("name", ["trace.jsonl", "trace.jsonl.gz"])
def test_every_event_is_there_once_and_replay_gives_its_alerts(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with Child(sleep_some) as child, started("record", "-e", NAPS, "-o", str(path)) as recording:
        wait_for(recording, "Ctrl-C stops")
        child.work()
        out, err = stop(recording)
    assert out == ""
    assert err.splitlines()[-1] == "Nothing was lost."
    assert path.stat().st_mode & 0o777 == 0o600
    header, *events, end = lines(path)
    assert header["ltrules_trace"] == 1
    assert header["kernel"] == os.uname().release
    assert (header["rules"], header["anonymised"]) == (["nap"], False)
    assert abs(header["wall_offset_ns"] + time.monotonic_ns() - time.time_ns()) < 1000 * MS
    assert header["events"]["syscalls:sys_exit_clock_nanosleep"] == {"context": ["tid"], "fields": ["ret"]}

    mine = [e for e in events if e.get("tid") == child.tid]
    assert [e["e"] for e in mine] == [
        "syscalls:sys_enter_clock_nanosleep",
        "syscalls:sys_exit_clock_nanosleep",
    ] * ROUNDS
    assert all(e["comm"] == Path(sys.executable).name[:15] for e in mine[::2])
    assert all(e["f"] == {"ret": 0} for e in mine[1::2])
    times = [e["t"] for e in events]
    assert times == sorted(times)
    assert header["start"] <= times[0] <= times[-1] <= end["end"]
    assert end["recorded"] == Counter(e["e"] for e in events)
    assert end["unrecorded"] == end["missed"] == {}

    status, out, err = run("replay", "-e", NAPS, str(path), "--format", "json")
    assert status == 0, err
    found = [a for a in alerts(out) if a["key"]["tid"] == child.tid]
    assert len(found) == ROUNDS
    assert all(30 * MS <= a["latency_ns"] < 130 * MS for a in found)
    # The recording holds all firings, and can be asked for others than those that the rule was about.
    status, out, _ = run("replay", "-e", NAPS, "-p", "limit=1h", str(path), "--format", "json")
    assert (status, alerts(out)) == (0, [])


def test_a_run_records_what_it_alerts_of(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with Child(sleep_some) as child, started("run", "-e", NAPS, "--record", str(path), "--format", "json") as running:
        wait_for(running, "Ctrl-C stops")
        child.work()
        live, _ = stop(running)
    status, replayed, err = run("replay", "-e", NAPS, str(path), "--format", "json")
    assert status == 0, err
    assert len(alerts(live)) >= ROUNDS
    assert sorted(alerts(replayed), key=lambda a: a["id"]) == sorted(alerts(live), key=lambda a: a["id"])
    summaries = [json.loads(text.splitlines()[-1])["rules"]["nap"] for text in (live, replayed)]
    for summary in summaries:
        summary["counters"].pop("unqueued", None)
    assert summaries[0] == summaries[1]


def test_what_found_no_room_is_counted_exactly(tmp_path: Path) -> None:
    path, calls = tmp_path / "trace.jsonl", 200_000
    with (
        Child(call_much, calls) as child,
        started("record", "-e", CALLS, "-o", str(path), "--buffer", "4KiB") as recording,
    ):
        wait_for(recording, "Ctrl-C stops")
        child.work()
        _, err = stop(recording)
    *_, end = lines(path)
    for event in ("syscalls:sys_enter_getsid", "syscalls:sys_exit_getsid"):
        assert end["unrecorded"][event] > 1000
        # Hardly anybody else asks for its session.
        assert calls <= end["recorded"][event] + end["unrecorded"][event] < calls + 1000
        assert f"warning: {event}: {end['unrecorded'][event]} events not recorded" in err
    marks = [line for line in lines(path) if "lost" in line]
    assert sum(mark["lost"] for mark in marks) == sum(end["unrecorded"].values())
    assert "Nothing was lost." not in err
    status, _, err = run("replay", "-e", CALLS, str(path))
    assert status == 0
    assert f"the tracer lost events at {len(marks)} places" in err


def test_names_are_hidden_and_the_alerts_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with Child(sleep_some) as child, started("record", "-e", NAPS, "-o", str(path), "--anonymise") as recording:
        wait_for(recording, "Ctrl-C stops")
        child.work()
        stop(recording)
    assert Path(sys.executable).name not in path.read_text()
    _, out, _ = run("replay", "-e", NAPS, str(path), "--format", "json")
    found = [a for a in alerts(out) if a["key"]["tid"] == child.tid]
    assert len(found) == ROUNDS
    (name,) = {a["captured"]["in"]["comm"] for a in found}
    assert name.startswith("#") and len(name) == 13


def test_a_recording_goes_through_a_pipe_into_replay() -> None:
    command = f"{sys.executable} -c 'import time; time.sleep(0.05)'"
    with started("record", "-e", NAPS, "-o", "-", "-c", command) as recording:
        replay = [sys.executable, "-m", "ltrules", "replay", "-e", NAPS, "-", "--format", "json"]
        done = subprocess.run(replay, stdin=recording.stdout, capture_output=True, text=True, cwd=TOP, timeout=PATIENCE)
        recording.wait(PATIENCE)
    assert (done.returncode, recording.returncode) == (0, 0), done.stderr
    assert any(50 * MS <= a["latency_ns"] < 500 * MS for a in alerts(done.stdout))


def test_a_reader_that_leaves_is_no_trouble() -> None:
    with Child(sleep_some) as child, started("record", "-e", NAPS, "-o", "-", "-d", "10s") as recording:
        child.start()
        assert recording.stdout is not None and recording.stderr is not None
        assert "ltrules_trace" in recording.stdout.readline()
        recording.stdout.close()
        err = recording.stderr.read()
        assert recording.wait(PATIENCE) == 0
        recording.stdout = None  # there is nothing more to read
    assert "Traceback" not in err and "Broken" not in err


def test_quiet_and_duration(tmp_path: Path) -> None:
    begin = time.monotonic()
    status, out, err = run("record", "-q", "-e", CALLS, "-o", str(tmp_path / "trace.jsonl"), "-d", "300ms")
    assert (status, out, err) == (0, "", "")
    assert time.monotonic() - begin < 15
    header, *_, end = lines(tmp_path / "trace.jsonl")
    assert 300 * MS <= end["end"] - header["start"] < 3000 * MS


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    link = tmp_path / "trace.jsonl"
    link.symlink_to(tmp_path / "elsewhere")
    status, out, err = run("record", "-e", CALLS, "-o", str(link), "-d", "1s")
    assert (status, out) == (2, "")
    assert err == f"ltrules: cannot write {link}: it is there already, and is not a plain file\n"
    assert not (tmp_path / "elsewhere").exists()
    status, _, err = run("record", "-e", CALLS, "-o", "/dev/full", "-d", "1s")
    assert status == 2
    assert err == "ltrules: cannot write /dev/full: it is there already, and is not a plain file\n"
