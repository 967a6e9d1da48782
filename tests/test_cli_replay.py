"""`ltrules replay`: what it prints where, what it returns, and what it makes of damaged traces."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ltrules.cli import ltrules
from ltrules.errors import InputError, LtrulesError

TOP = Path(__file__).parent.parent
RULE = "wait: in sched_wakeup key pid, out sched_switch key next_pid, thresh 5us, timeout 1ms"
HEADER = {"ltrules_trace": 1, "kernel": "6.18.0", "arch": "x86_64", "wall_offset_ns": 1_767_225_600_000_000_000}


pytestmark = pytest.mark.usefixtures("private_cache")


def wait(start_us: int, length_us: int, pid: int = 7) -> list[dict[str, Any]]:
    """Return the two events of a wait."""
    return [
        {"t": start_us * 1000, "e": "sched:sched_wakeup", "cpu": 0, "f": {"pid": pid}},
        {"t": (start_us + length_us) * 1000, "e": "sched:sched_switch", "cpu": 1, "f": {"next_pid": pid}},
    ]


def text_of(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in (HEADER, *records))


@pytest.fixture
def trace(tmp_path: Path) -> str:
    """Four waits, three of them longer than 5 us, one of these without an end."""
    path = tmp_path / "trace.jsonl"
    records = [*wait(10, 3), *wait(100, 6), *wait(200, 4000, 8), wait(9000, 1, 9)[0]]
    path.write_text(text_of(*records, {"end": 20_000_000}))
    return str(path)


def call(*arguments: str, text: str | bytes | None = None) -> Result:
    """Run the verb in this process; an error of ours is left in `exception`."""
    result = CliRunner().invoke(ltrules, ["replay", *arguments], input=text, prog_name="ltrules")
    assert result.exception is None or isinstance(result.exception, LtrulesError | SystemExit), result.exc_info
    return result


def refused(*arguments: str, text: str | bytes | None = None) -> str:
    """Return the sentence of an input error."""
    result = call(*arguments, text=text)
    assert isinstance(result.exception, InputError), result.output
    return str(result.exception)


def records(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


# ------------------------------------------------------------------------------------ what it says
def test_text_as_from_a_run(catalog: str, trace: str) -> None:
    result = call("-e", RULE, trace, "--catalog", catalog)
    assert result.exit_code == 0
    head, *lines = result.stdout.splitlines()
    assert head.split() == ["TIME", "RULE", "LATENCY", "KEY", "AND", "CAPTURES"]
    assert [line.split(maxsplit=1)[1].split() for line in lines] == [
        ["wait", "6us", "pid=7"],
        ["wait", ">1ms", "pid=8", "(still", "open)"],
        ["wait", "4ms", "pid=8", "(late)"],
        ["wait", ">1ms", "pid=9", "(still", "open)"],
    ]
    assert result.stderr.startswith(f"ltrules: wait on {trace} (recording of ltrules, kernel 6.18.0)\n")
    assert "wait: 4 opened = 3 closed + 1 pending\n  2 alerts, 2 timeouts\n" in result.stderr
    assert result.stderr.endswith("\nNothing was lost.\n")


def test_quiet(catalog: str, trace: str) -> None:
    result = call("-q", "-e", RULE, trace, "--catalog", catalog)
    assert len(result.stdout.splitlines()) == 4
    assert "recording" not in result.stderr
    assert "latency  (" not in result.stderr


def test_json_lines(catalog: str, trace: str) -> None:
    result = call("-e", RULE, trace, "--format", "json", "--catalog", catalog)
    *alerts, summary = records(result)
    assert [(a["kind"], a["key"]["pid"], a["closed"]) for a in alerts] == [
        ("alert", 7, 106_000), ("timeout", 8, 1_200_000), ("alert", 8, 4_200_000), ("timeout", 9, 10_000_000)
    ]  # fmt: skip
    assert alerts[0]["time"] == "2026-01-01T00:00:00.000106000Z"
    assert (summary["type"], summary["engine"], summary["losses"]) == ("summary", "replay", [])
    assert summary["rules"]["wait"]["counters"]["opened"] == 4


def test_files_params_and_standard_input(tmp_path: Path, catalog: str, trace: str) -> None:
    path = tmp_path / "wait.lt"
    path.write_text("param limit: duration = 5us\n" + RULE.replace("5us", "limit"))
    result = call(
        str(path), "-", "-p", "limit=5ms", "--format", "json", "--catalog", catalog, text=Path(trace).read_text()
    )
    assert [r["kind"] for r in records(result)[:-1]] == ["timeout", "timeout"]
    result = call("-", trace, "--format", "json", "--catalog", catalog, text=RULE)
    assert len(records(result)) == 5
    assert "not both" in refused("-", "-", text=RULE)


def test_stops_after_so_many_alerts(catalog: str, trace: str) -> None:
    """The numbers are those up to the event of the last alert, so that they are the same every time."""
    result = call("-e", RULE, "-n", "2", trace, "--format", "json", "--catalog", catalog)
    *alerts, summary = records(result)
    assert len(alerts) == 2
    assert summary["rules"]["wait"]["counters"]["opened"] == 3
    assert "1 more came before the end and are not shown (-n 2)" in result.stderr


def test_without_a_clock_time_begins_in_1970(tmp_path: Path, catalog: str) -> None:
    for offset in (None, -5, "soon", 1 << 90):
        path = tmp_path / "trace.jsonl"
        header = {**HEADER, "wall_offset_ns": offset}
        path.write_text("".join(json.dumps(r) + "\n" for r in (header, *wait(100, 6))))
        (alert, _) = records(call("-e", RULE, str(path), "--format", "json", "--catalog", catalog))
        assert alert["time"] == "1970-01-01T00:00:00.000106000Z"


FTRACE = """# tracer: nop
          <idle>-0       [001] d.h3.   100.000100: sched_wakeup: comm=cat pid=41 prio=120 target_cpu=001
          <idle>-0       [001] d..2.   100.000106: sched_switch: {} ==> next_comm=cat next_pid=41 next_prio=120
             cat-41      [001] d.h3.   100.000200: sched_wakeup: comm=dd pid=42 prio=120 target_cpu=000
             cat-41      [001] d..2.   100.005000: softirq_entry: vec=1 [action=TIMER]
"""


def test_text_of_ftrace_with_a_wait_that_only_other_events_outlive(catalog: str) -> None:
    text = FTRACE.format("prev_comm=swapper/1 prev_pid=0 prev_prio=120 prev_state=R")
    result = call("-e", RULE, "-", "--strict", "--format", "json", "--catalog", catalog, text=text)
    *alerts, summary = records(result)
    assert [(a["kind"], a["key"]["pid"], a["cpu"], a["latency_ns"]) for a in alerts] == [
        ("alert", 41, 1, 6000), ("timeout", 42, 1, 1_000_000)
    ]  # fmt: skip
    assert (result.exit_code, summary["losses"]) == (0, [])


# ----------------------------------------------------------------------------------- what is wrong
def test_troubles_are_said_in_words_and_make_strict_fail(tmp_path: Path, catalog: str) -> None:
    damaged = text_of(*wait(100, 6), {"lost": 12}, {"t": 150_000, "e": "sched:sched_wakeup", "cpu": 0, "f": {}})
    damaged += text_of(*wait(200, 6))[:-20]
    path = tmp_path / "damaged.jsonl"
    path.write_text(damaged)
    result = call("-e", RULE, str(path), "--format", "json", "--catalog", catalog)
    assert result.exit_code == 0
    *alerts, summary = records(result)
    assert len(alerts) == 1
    said = "; ".join(summary["losses"])
    for words in ("1 line could not be read", "lost events at 1 place, 12 of them counted", "without pid"):
        assert words in said
        assert words in result.stderr
    text = call("-e", RULE, str(path), "--catalog", catalog)
    assert "warning: 1 line could not be read" in text.stderr
    assert "Nothing was lost" not in text.stderr
    assert call("-e", RULE, str(path), "--strict", "--catalog", catalog).exit_code == 1


def test_strict_is_content_with_a_sound_trace(catalog: str, trace: str) -> None:
    assert call("-e", RULE, "--strict", trace, "--catalog", catalog).exit_code == 0


def test_events_that_never_come_are_named(tmp_path: Path, catalog: str, trace: str) -> None:
    other = "in irq_handler_entry key irq, out irq_handler_exit key irq, thresh 1us"
    result = call("-e", other, trace, "--catalog", catalog)
    assert "the trace has no irq:irq_handler_entry and no irq:irq_handler_exit" in result.stderr


def test_what_is_no_trace_is_refused(tmp_path: Path, catalog: str) -> None:
    assert "cannot read /nonexistent/trace: no such file" in refused("-e", RULE, "/nonexistent/trace").lower()
    (tmp_path / "noise").write_bytes(os.urandom(5000))
    (tmp_path / "empty").write_bytes(b"")
    for name in ("noise", "empty"):
        assert str(tmp_path / name) in refused("-e", RULE, str(tmp_path / name), "--catalog", catalog)


def test_wrong_rules_are_refused_before_the_trace_is_opened(catalog: str) -> None:
    result = call(
        "-e", "in sched_wakeup key pid, out nothing key pid, thresh 1us", "/nonexistent", "--catalog", catalog
    )
    assert isinstance(result.exception, LtrulesError)
    assert result.exception.exit_status == 1


def test_expressions_that_nest_too_deeply(catalog: str, trace: str) -> None:
    macro = f"macro deep(x) = {'-(' * 40}x{')' * 40}\n"
    where = f"{'deep(' * 6}pid{')' * 6} == pid"
    rule = f"{macro}in sched_wakeup key pid where {where}, out sched_switch key next_pid, thresh 1us"
    assert "nested too deeply to be replayed" in refused("-e", rule, trace, "--catalog", catalog)


# ------------------------------------------------------------------------------------- as a program
def long_trace(path: Path) -> None:
    with path.open("w") as file:
        file.write(text_of())
        for i in range(40_000):
            file.writelines(json.dumps(event) + "\n" for event in wait(100 * i, 6))


def test_a_reader_that_leaves_is_no_trouble(tmp_path: Path, catalog: str) -> None:
    long_trace(tmp_path / "long.jsonl")
    rule = f"{RULE}, rate 9999 per 1s"
    command = f"{sys.executable} -m ltrules replay -q --catalog {catalog} -e '{rule}' {tmp_path}/long.jsonl"
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -1; exit ${{PIPESTATUS[0]}}"],
        capture_output=True, text=True, timeout=60, check=False, cwd=TOP,
    )  # fmt: skip
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_a_bar_is_shown_on_a_terminal_only(tmp_path: Path, catalog: str) -> None:
    long_trace(tmp_path / "long.jsonl")
    program = "import ltrules.cli.replay as r; r._LONG_BYTES = 1; from ltrules.cli import main; main()"
    arguments = [
        sys.executable,
        "-c",
        program,
        "replay",
        "-q",
        "--catalog",
        catalog,
        "-e",
        RULE,
        f"{tmp_path}/long.jsonl",
    ]
    here, there = pty.openpty()
    try:
        done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=there, timeout=60, check=False, cwd=TOP)
        shown = os.read(here, 1 << 16).decode()
    finally:
        os.close(here)
        os.close(there)
    assert done.returncode == 0
    assert "replayed" in shown
    assert "100%" in shown
    assert b"replayed" not in done.stdout
    plain = subprocess.run(arguments, capture_output=True, timeout=60, check=False, cwd=TOP)
    assert b"replayed" not in plain.stderr
    assert plain.stdout == done.stdout


def test_alerts_on_the_terminal_of_the_bar(tmp_path: Path, catalog: str) -> None:
    """The bar is cleared before each of them."""
    long_trace(tmp_path / "long.jsonl")
    program = "import ltrules.cli.replay as r; r._LONG_BYTES = 1; from ltrules.cli import main; main()"
    here, there = pty.openpty()
    try:
        arguments = ["replay", "-q", "-n", "3", "--catalog", catalog, "-e", RULE, f"{tmp_path}/long.jsonl"]
        subprocess.run(
            [sys.executable, "-c", program, *arguments], stdout=there, stderr=there, timeout=60, check=False, cwd=TOP
        )
        shown = os.read(here, 1 << 16).decode()
    finally:
        os.close(here)
        os.close(there)
    first = next(line for line in shown.splitlines() if "pid=7" in line)
    assert "replayed" not in first.split("\x1b[K")[-1]
    assert shown.count("pid=7") == 3
