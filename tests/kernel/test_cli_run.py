"""`ltrules run` as a program: what it prints where, what ends it, and what it returns."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from helpers import PATIENCE

pytestmark = pytest.mark.kernel

TOP = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "ltrules", "run")
#: Every sleep gives an alert.
SLEEPS = "nap: in sys_enter_clock_nanosleep key task.tid, out sys_exit_clock_nanosleep key task.tid, thresh 1us"
#: Opens and never alerts.
QUIET = "calm: in sched_wakeup key pid, out sched_switch key next_pid, thresh 1h"
NAPPING = [sys.executable, "-c", "import time\nwhile True: time.sleep(0.02)"]


@contextmanager
def started(*arguments: str, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a run, and see that it is over in the end."""
    child = subprocess.Popen(
        [*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=TOP, **more
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


@contextmanager
def napping() -> Iterator[None]:
    """Sleep again and again, in another process."""
    child = subprocess.Popen(NAPPING)
    try:
        yield
    finally:
        child.kill()
        child.wait()


def run(*arguments: str, **more: Any) -> tuple[int, str, str]:
    """Return the status, the output and the errors of a run that ends by itself."""
    with started(*arguments, **more) as child:
        out, err = child.communicate(timeout=PATIENCE)
        assert "Traceback" not in out + err, err
        return child.returncode, out, err


def wait_for(child: subprocess.Popen[str], text: str) -> None:
    """Read the errors of a run until a text comes."""
    assert child.stderr is not None
    for line in child.stderr:
        if text in line:
            return
    pytest.fail(f"no `{text}` before the end")


def test_text() -> None:
    with napping():
        status, out, err = run("-e", SLEEPS, "--duration", "1s")
    assert status == 0
    head, *alerts = out.splitlines()
    assert head.split() == ["TIME", "RULE", "LATENCY", "KEY", "AND", "CAPTURES"]
    assert len(alerts) >= 20
    for line in alerts:
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{6} nap +\S+[mun]?s  tid=\d+(  \(\d+ more not shown\))?", line), line
        assert len(line) < 100
    said = err.splitlines()
    assert re.fullmatch(
        r"ltrules: nap attached with libbpf to syscalls:sys_enter_clock_nanosleep \(\w+\), .*", said[0]
    ), said
    assert any(re.fullmatch(r"nap: \d+ opened = \d+ closed.*", line) for line in said)
    assert any("p50" in line and "p99" in line for line in said)
    assert said[-1] == "Nothing was lost."


def test_json() -> None:
    with napping():
        status, out, err = run("-e", SLEEPS, "-e", QUIET, "-d", "1s", "--format", "json")
    assert status == 0
    records = [json.loads(line) for line in out.splitlines()]
    alerts, summary = records[:-1], records[-1]
    assert {r["type"] for r in alerts} == {"alert"}
    assert {r["rule"] for r in alerts} == {"nap"}
    assert all(r["latency_ns"] == r["closed"] - r["opened"] > 1000 for r in alerts)
    assert set(alerts[0]) == {
        "type", "id", "rule", "kind", "severity", "time", "opened", "closed", "latency_ns", "thresh_ns", "outcome",
        "late", "cpu", "key", "captured", "suppressed", "message",
    }  # fmt: skip
    assert (summary["type"], summary["engine"], summary["losses"]) == ("summary", "libbpf", [])
    assert set(summary["rules"]) == {"nap", "calm"}
    for rule in summary["rules"].values():
        c = rule["counters"]
        ends = ("closed", "cancelled", "replaced", "expired", "refused", "pending")
        assert c["opened"] == sum(c[name] for name in ends)
        assert c["opened"] > 0
        assert rule["balanced"] is True
    assert summary["rules"]["nap"]["counters"]["delivered"] == len(alerts)
    assert "nap, calm attached" in err
    assert "opened =" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_run_with_its_summary(number: signal.Signals) -> None:
    with started("-e", QUIET, "--format", "json") as child:
        wait_for(child, "Ctrl-C stops")
        child.send_signal(number)
        out, _ = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0
    (record,) = [json.loads(line) for line in out.splitlines()]
    assert record["type"] == "summary"


def test_ctrl_c_reaches_the_command_too() -> None:
    with started("-e", QUIET, "-c", "sleep 60", start_new_session=True) as child:
        wait_for(child, "Ctrl-C stops")
        time.sleep(0.2)
        (sleep,) = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0
    assert "calm: " in err
    assert not Path(f"/proc/{sleep}").exists()


def test_two_runs_at_the_same_time() -> None:
    with napping(), started("-e", SLEEPS, "--format", "json") as first:
        wait_for(first, "Ctrl-C stops")
        status, out, _ = run("-e", SLEEPS, "-d", "300ms", "--format", "json")
        first.send_signal(signal.SIGINT)
        mine, _ = first.communicate(timeout=PATIENCE)
    assert (status, first.returncode) == (0, 0)
    for text in (out, mine):
        *alerts, summary = [json.loads(line) for line in text.splitlines()]
        assert alerts
        assert summary["rules"]["nap"]["counters"]["alerts"] >= len(alerts)
        assert summary["losses"] == []


def test_count_of_alerts() -> None:
    with napping():
        status, out, err = run("-e", SLEEPS, "-n", "3")
        assert status == 0
        assert len(out.splitlines()) == 1 + 3
        assert "nap: " in err
        status, out, _ = run("-e", SLEEPS, "-n", "1", "--format", "json")
    assert status == 0
    assert [json.loads(line)["type"] for line in out.splitlines()] == ["alert", "summary"]


def test_command() -> None:
    begin = time.monotonic()
    status, out, err = run("-e", SLEEPS, "-c", "sleep 0.3", "--format", "json")
    assert status == 0
    assert time.monotonic() - begin < 10
    *alerts, summary = [json.loads(line) for line in out.splitlines()]
    assert any(300_000_000 < a["latency_ns"] < 400_000_000 for a in alerts)
    assert summary["type"] == "summary"
    assert "status" not in err
    status, _, err = run("-e", QUIET, "-c", "false")
    assert status == 0
    assert "ltrules: the command ended with status 1" in err


def test_command_that_does_not_exist() -> None:
    assert run("-e", QUIET, "-c", "nosuchcmd") == (2, "", "ltrules: cannot run nosuchcmd: there is no such program\n")


def test_quiet() -> None:
    with napping():
        status, out, err = run("-q", "-e", SLEEPS, "-n", "2")
    assert status == 0
    assert [line.split()[1] for line in out.splitlines()] == ["nap", "nap"]
    assert "attached" not in err
    assert "|" not in err


def test_a_reader_that_leaves_is_no_trouble() -> None:
    with napping(), started("-e", SLEEPS, "-d", "10s") as child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith("TIME")
        child.stdout.close()
        assert child.stderr is not None
        err = child.stderr.read()
        child.wait(PATIENCE)
        assert child.returncode == 0
        child.stdout = None  # there is nothing more to read
    assert "Traceback" not in err
    assert "Broken" not in err


def test_without_clang_and_without_anything_compiled(tmp_path: Path) -> None:
    env = {"PATH": "/nonexistent", "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(TOP)}
    tmp_path.chmod(0o700)
    status, out, err = run("-e", QUIET, "-d", "1s", env=env)
    assert (status, out) == (3, "")
    assert err.count("\n") == 1
    assert err.startswith("ltrules: ") and "clang" in err


def test_a_rule_compiled_before_runs_without_clang() -> None:
    run("-e", QUIET, "-d", "10ms")
    status, _, err = run("-e", QUIET, "-d", "10ms", env={**os.environ, "PATH": "/nonexistent"})
    assert status == 0, err
    assert "calm: " in err
