"""Tests in rule files are run, judged, shown, and brought up to date."""

from __future__ import annotations

import gzip
import json
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from golden import Golden
from ltrules.catalog.machine import shipped_catalog
from ltrules.errors import InputError
from ltrules.parse.words import words_of
from ltrules.source import Source, read_source
from ltrules.testing.coverage import Coverage, coverage_lines
from ltrules.testing.files import find_sources
from ltrules.testing.jsonl import json_lines
from ltrules.testing.judging import own_values
from ltrules.testing.junit import junit
from ltrules.testing.results import Result, run_cases
from ltrules.testing.suites import Loaded, load
from ltrules.testing.text import failure_lines, file_lines, total_line
from ltrules.testing.updating import rewrite
from ltrules.testing.wording import expectation_text, literal, report_text

DATA = Path(__file__).parents[1] / "data" / "testing"
RULES = (DATA / "wait.lt").read_text()
WAKE = "sched:sched_wakeup"
SWITCH = "sched:sched_switch"


def run_file(path: Path, coverage: Coverage | None = None) -> tuple[Loaded, list[Result]]:
    loaded = load(read_source(path), shipped_catalog())
    return loaded, list(run_cases(loaded.suite.cases, coverage))


def run_text(text: str, directory: Path, coverage: Coverage | None = None) -> list[Result]:
    """Run tests of the rules of wait.lt, which must have no mistakes."""
    (directory / "wait.lt").write_text(RULES)
    (directory / "wait_test.lt").write_text(text)
    loaded, results = run_file(directory / "wait_test.lt", coverage)
    assert not [d for d in loaded.diagnostics if d.severity.fatal], [d.message for d in loaded.diagnostics]
    return results


def outcome(body: str, directory: Path) -> str:
    (result,) = run_text(f'test "t" for wait {{ {body} }}', directory)
    return result.outcome


def write_trace(
    path: Path, events: Iterable[tuple[int, str, dict[str, int | str]]], end: int | None = None, **header: int | str
) -> None:
    """Write a recording; a field in capitals is one of the context."""
    lines: list[dict[str, object]] = [{"ltrules_trace": 1, "kernel": "6.18", "arch": "x86_64", **header}]
    for time_ns, name, fields in events:
        context = {k.lower(): v for k, v in fields.items() if k.isupper()}
        inside = {k: v for k, v in fields.items() if not k.isupper()}
        lines.append({"t": time_ns, "e": name, "cpu": 1, **context, "f": inside})
    if end is not None:
        lines.append({"end": end})
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def wait(start: int, took: int, pid: int = 42) -> list[tuple[int, str, dict[str, int | str]]]:
    """Return the events of one wait."""
    return [
        (start, WAKE, {"pid": pid, "prio": 120, "COMM": "waker"}),
        (start + took, SWITCH, {"next_pid": pid, "next_comm": "late"}),
    ]


# ----------------------------------------------------------------------------------- judging
LATE = f'at 1us {WAKE} {{ pid = 42, prio = 7 }} at 9us {SWITCH} {{ next_pid = 42, next_comm = "x" }}'


@pytest.mark.parametrize(
    ("expected", "passes"),
    [
        ("1 alert", True),
        ("alert", True),
        ("alerts", True),
        ("2 alerts", False),
        ("no alerts", False),
        ("1 alert { key = 42 }", True),
        ("1 alert { key = 43 }", False),
        ("no alerts { key = 43 }", True),
        ("alert { key = 43 }", False),
        ("0 alerts { key = 43 }", True),
        ("1 alert { key.pid = 42, at = 9us, opened = 1us, latency = 8us, late = true, suppressed = 0 }", True),
        ('1 alert { in.prio = 7, out.comm = "x", outcome = "out", cpu = 0, severity = "warning", message = "" }', True),
        ("1 alert { latency = 7us }", False),
        ("1 timeout { key = 42, at = 7us, latency = 6us, overdue = 0us, late = false, opened = 1us }", True),
        ("1 timeout { at = 6us }", False),
        ("1 opened", True),
        ("opened", True),
        ("1 closed", True),
        ("no pending", True),
        ("pending", False),
        ("no unmatched", True),
        ("no clock_skew", True),
        ("1 alert for wait", True),
        ("1 alert for soft", False),
        ("no opened for soft", True),
    ],
)
def test_expectations_are_met_or_not(expected: str, passes: bool, tmp_path: Path) -> None:
    assert outcome(f"{LATE} expect {expected}", tmp_path) == ("passed" if passes else "failed")


def test_counters_of_several_rules_add_up(tmp_path: Path) -> None:
    events = f"at 0us {WAKE} {{ pid = 1 }} at 0us irq:softirq_raise {{ }}"
    (result,) = run_text(f'test "t" {{ {events} expect 2 opened expect 1 opened for soft }}', tmp_path)
    assert result.outcome == "passed"


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("until 6us expect no timeouts expect 1 pending", "reached, not passed"),
        ("until 6.001us expect 1 timeout { at = 6us } expect 1 pending", "passed"),
        ("expect no timeouts", "time ends with the last event"),
        ("until 61s expect 1 timeout expect 1 expired expect no pending", "dropped"),
        (f"at 1us {WAKE} {{ pid = 42 }} expect 1 replaced expect 2 opened", "again"),
        ("at 1us sched:sched_process_exit { pid = 42 } until 9us expect 1 cancelled expect no timeouts", "cancelled"),
        (f"at 1us {SWITCH} {{ next_pid = 43 }} expect 1 unmatched expect 1 pending", "another"),
    ],
)
def test_time_passes_between_events_and_after_them(body: str, what: str, tmp_path: Path) -> None:
    assert outcome(f"at 0us {WAKE} {{ pid = 42 }} {body}", tmp_path) == "passed", what


def test_a_clock_that_goes_back_is_counted(tmp_path: Path) -> None:
    body = f"at 9us {WAKE} {{ pid = 42 }} at 5us {SWITCH} {{ next_pid = 42 }} expect 1 clock_skew expect no alerts"
    assert outcome(body, tmp_path) == "passed"


def test_limits_without_a_name_can_be_given(tmp_path: Path) -> None:
    text = 'test "t" for soft { param thresh = 1us param expire = 5us {} }'.replace(
        "{}", "at 0us irq:softirq_raise { } at 2us irq:softirq_entry { } at 3us irq:softirq_raise { } until 9us"
        " expect 1 alert expect 1 expired"
    )  # fmt: skip
    (result,) = run_text(text, tmp_path)
    assert result.outcome == "passed"
    assert outcome(f"param timeout = 20us {LATE} expect no timeouts", tmp_path) == "passed"


@given(
    st.lists(
        st.tuples(
            st.integers(0, 4000), st.sampled_from([WAKE, SWITCH]), st.integers(1, 3),
            st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), max_size=3),
        ),
        max_size=12,
    )
)  # fmt: skip
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_shown_of_a_report_is_what_a_test_expects_of_it(
    tmp_path: Path, happened: list[tuple[int, str, int, str]]
) -> None:
    now, steps = 0, []
    for after, event, pid, name in happened:
        now += after
        fields = f"pid = {pid}, task.comm" if event == WAKE else f"next_pid = {pid}, next_comm"
        steps.append(f"at {now}ns {event} {{ {fields} = {literal(name)} }}")
    body = " ".join([*steps, f"at {now}ns {SWITCH} {{ }} until {now + 9000}ns"])
    (first,) = run_text(f'test "t" for wait {{ {body} expect pending }}', tmp_path)
    assert first.trial is not None
    shown = " ".join(f"expect 1 {report_text(report, 0, report.kind)}" for report in first.trial.reports)
    counters = first.trial.stats.rules[0].counters
    counted = " ".join(f"expect {counters[name]} {name}" for name in COUNTED)
    (again,) = run_text(f'test "t" for wait {{ {body} {shown} {counted} }}', tmp_path)
    assert [expectation_text(v.expectation) for v in again.verdicts if not v.passed] == []


COUNTED = ("opened", "closed", "cancelled", "replaced", "expired", "refused", "pending", "kept", "unmatched")


# ------------------------------------------------------------------------------------ traces
def test_a_trace_is_replayed_and_times_count_from_its_first_event(tmp_path: Path) -> None:
    write_trace(tmp_path / "t.jsonl.gz", [*wait(5_000_000, 8_000), *wait(6_000_000, 1_000, 43)], 9_000_000)
    body = (
        'replay "t.jsonl.gz" expect 1 alert { key = 42, at = 8us, opened = 0us, in.waker = "waker", out.comm = "late" }'
        " expect 1 timeout { at = 6us } expect 2 closed"
    )
    assert outcome(body, tmp_path) == "passed"


def test_a_trace_lasts_as_long_as_it_was_recorded_or_as_the_test_says(tmp_path: Path) -> None:
    pending = [(5_000_000, WAKE, {"pid": 42, "prio": 120, "COMM": "w"})]
    write_trace(tmp_path / "t.jsonl", pending, 5_006_001)
    assert outcome('replay "t.jsonl" expect 1 timeout', tmp_path) == "passed"
    write_trace(tmp_path / "t.jsonl", pending, 5_006_000)
    assert outcome('replay "t.jsonl" expect no timeouts', tmp_path) == "passed"
    assert outcome('replay "t.jsonl" until 1ms expect 1 timeout', tmp_path) == "passed"
    write_trace(tmp_path / "t.jsonl", [*pending, *wait(9_000_000, 1)])
    assert outcome('replay "t.jsonl" until 3us expect 1 opened expect no timeouts', tmp_path) == "passed"


def test_what_a_trace_lacks_is_said_of_a_test_that_fails(tmp_path: Path) -> None:
    write_trace(tmp_path / "t.jsonl", wait(5, 1))
    with (tmp_path / "t.jsonl").open("a") as file:
        file.write('{"lost": 3}\n')
    (result,) = run_text('test "t" for wait { replay "t.jsonl" expect 1 cancelled }', tmp_path)
    assert [line for line in failure_lines(result) if "note" in line] == [
        "  note: the tracer lost events at 1 place, 3 of them counted",
        "  note: the trace has no sched:sched_process_exit",
    ]


def test_a_trace_without_events_makes_nothing(tmp_path: Path) -> None:
    write_trace(tmp_path / "t.jsonl", [], 9)
    assert outcome('replay "t.jsonl" expect no alerts expect no opened', tmp_path) == "passed"


def error_of(body: str, directory: Path) -> str:
    good = f'test "good" for wait {{ {LATE} expect 1 alert }}'
    result, other = run_text(f'test "t" for wait {{ {body} }}\n{good}', directory)
    assert (result.outcome, other.outcome) == ("error", "passed")
    assert result.exit_status == 2
    return str(result.trouble)


def test_a_damaged_trace_is_no_ground_for_a_test(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    body = 'replay "t.jsonl" expect no alerts'
    write_trace(path, wait(5, 1))
    path.write_text(path.read_text() + '{"t": 7, "e"')
    assert "the trace is damaged: 1 line could not be read" in error_of(body, tmp_path)
    write_trace(path, [(5, WAKE, {"pid": 42, "prio": 120})])
    assert "sched:sched_wakeup came without" in error_of(body, tmp_path)
    path.write_text("no trace")
    assert "is no trace" in error_of(body, tmp_path)
    write_trace(path, wait(5, 1), arch="aarch64")
    assert error_of(body, tmp_path).startswith("the trace is of aarch64, and the rules were checked for x86_64")
    write_trace(path, wait(5, 1))
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress(path.read_bytes())[:-9])
    assert error_of(body.replace("t.jsonl", "t.jsonl.gz"), tmp_path).startswith("the trace is damaged: ")


# ---------------------------------------------------------------------------------- coverage
def covered(text: str, directory: Path) -> tuple[list[str], Coverage]:
    coverage = Coverage()
    run_text(text, directory, coverage)
    loaded, _ = run_file(directory / "wait_test.lt")
    return list(coverage_lines(coverage.of(loaded.suite.rules))), coverage


def test_coverage_tells_what_no_test_reached(tmp_path: Path) -> None:
    lines, _ = covered('test "t" for wait { at 0us sched:sched_switch { next_pid = 1 } expect no alerts }', tmp_path)
    assert [line.replace(f"{tmp_path}/", "") for line in lines] == [
        "coverage:",
        "  wait.lt:3: wait: 0 of 7",
        "    5:3: `in` at sched:sched_wakeup never did anything",
        "    5:3: `in` at sched:sched_wakeup was never ruled out by its `where`",
        "    6:3: `out` at sched:sched_switch never did anything",
        "    7:3: `cancel` at sched:sched_process_exit never did anything",
        "    3:1: nothing took longer than `thresh`",
        "    3:1: everything took longer than `thresh`",
        "    3:1: nothing outlived `timeout`",
        "  wait.lt:12: soft: 0 of 4",
        "    12:7: `in` at irq:softirq_raise never did anything",
        "    12:53: `out` at irq:softirq_entry never did anything",
        "    12:1: nothing took longer than `thresh`",
        "    12:1: everything took longer than `thresh`",
    ]


def test_coverage_is_full_when_all_was_reached(tmp_path: Path) -> None:
    lines, coverage = covered(
        f'test "a" for wait {{ {LATE} at 10us {WAKE} {{ pid = 1, prio = 140 }} at 11us {WAKE} {{ pid = 1 }}'
        f" at 12us {SWITCH} {{ next_pid = 1 }} at 13us {WAKE} {{ pid = 1 }}"
        " at 13us sched:sched_process_exit { pid = 1 } expect 1 alert }"
        ' test "b" for soft { at 0us irq:softirq_raise { } at 2ms irq:softirq_entry { } at 3ms irq:softirq_raise { }'
        " at 3ms irq:softirq_entry { } expect 1 alert }",
        tmp_path,
    )
    assert [line.split(": ", 1)[1] for line in lines[1:]] == ["wait: 7 of 7", "soft: 4 of 4"]
    assert coverage.of([]) == []


def test_coverage_of_conditions_and_outcomes(tmp_path: Path) -> None:
    rule = (
        "rule r { in sched_wakeup key pid out sched_switch key next_pid where latency > 1us and next_prio == 1 as first"
        ' out sched_switch key next_pid where next_prio != 1 as second when outcome == "second" thresh 1us }\n'
        "rule same = r()\n"
    )
    test = (
        f'test "t" for same {{ at 0us {WAKE} {{ pid = 1 }} at 1us {SWITCH} {{ next_pid = 1, next_prio = 1 }}'
        f" at 2us {SWITCH} {{ next_pid = 1, next_prio = 1 }} expect no alerts expect 1 closed }}"
    )
    coverage = Coverage()
    (tmp_path / "r.lt").write_text(rule + test)
    loaded, (result,) = run_file(tmp_path / "r.lt", coverage)
    assert result.outcome == "passed"
    (found,) = coverage.of(loaded.suite.rules)
    assert found.names == ("r", "same")
    assert [p.said for p in found.missed] == [
        "`out` at sched:sched_switch never did anything",
        "`when` never held",
        "nothing took longer than `thresh`",
        "everything took longer than `thresh`",
    ]
    assert found.reached == len(found.points) - 4


# ---------------------------------------------------------------------------------- updating
def updated(text: str, directory: Path) -> str:
    """Return a file of tests after an update; all tests must pass then."""
    results = run_text(text, directory)
    source = read_source(directory / "wait_test.lt")
    changed = rewrite(source, results)
    assert (changed > 0) is (source.text != (directory / "wait_test.lt").read_text())
    again = run_text((directory / "wait_test.lt").read_text(), directory)
    assert {r.outcome for r in again} <= {"passed", "todo", "error", "failed"}
    return (directory / "wait_test.lt").read_text()


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    write_trace(tmp_path / "t.jsonl", [*wait(1000, 8123), *wait(20_000, 1_000, 43), *wait(40_000, 5_500, 44)], 90_000)
    return tmp_path


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("expect 2 alerts", "expect 2 alerts"),
        ("expect 7 alerts", "expect 2 alerts"),
        ("expect   no alert # none?", "expect   2 alerts # none?"),
        ("expect no timeouts", "expect 1 timeout"),
        ("expect 1 timeout", "expect 1 timeout"),
        ("expect pending", "expect no pending"),
        ("expect alerts { key = 9 }", "expect no alerts { key = 9 }"),
        ("expect 2 alerts { key = 44 }", "expect 1 alert { key = 44 }"),
        ("expect 1 alert { key = 42, latency = 8us }", "expect 1 alert { key = 42, latency = 8.123us }"),
        (
            'expect alert { key = 44, late = true, out.comm = "early",\n  at = 1us }',
            'expect alert { key = 44, late = false, out.comm = "late",\n  at = 44.5us }',
        ),
        ("expect 5 unmatched expect 9 opened", "expect no unmatched expect 3 opened"),
    ],
)
def test_an_update_changes_no_more_than_it_must(before: str, after: str, trace: Path) -> None:
    text = 'test "t" for wait {{ # the first\n  replay "t.jsonl"\n  {}\n}}\n'
    assert updated(text.format(before), trace) == text.format(after)


def test_an_update_writes_what_a_test_does_not_expect_yet(trace: Path) -> None:
    text = 'test "t" for wait {\n  replay "t.jsonl"\n}\n'
    lines = ["expect 2 alerts", "expect 1 timeout", "expect 3 opened", "expect 3 closed"]
    assert updated(text, trace) == text.replace("\n}", "".join(f"\n  {line}" for line in lines) + "\n}")
    assert updated('test "t" for wait { replay "t.jsonl" }', trace) == (
        f'test "t" for wait {{ replay "t.jsonl" {" ".join(lines)} }}'
    )
    several = updated('test "t" { replay "t.jsonl" }', trace)
    assert "expect 2 alerts for wait" in several
    assert "expect no alerts for soft" in several


def test_an_update_leaves_other_tests_alone(trace: Path) -> None:
    text = (
        f'test "a" for wait {{ {LATE} expect 5 alerts }}\n'
        '# ltrules: todo\ntest "b" for wait { replay "t.jsonl" expect 5 alerts }\n'
        'test "c" for wait { replay "wait.lt" expect 5 alerts }\n'
        'test "d" for wait { replay "t.jsonl" expect 2 alerts }\n'
    )
    assert updated(text, trace) == text


def test_an_update_keeps_mode_links_and_line_ends(trace: Path) -> None:
    text = 'test "t" for wait {\r\n  replay "t.jsonl"\r\n  expect 5 alerts\r\n}\r\n'
    (trace / "wait.lt").write_text(RULES)
    real = trace / "real.lt"
    real.write_bytes(text.encode())
    real.chmod(0o640)
    (trace / "wait_test.lt").symlink_to(real)
    loaded, results = run_file(trace / "wait_test.lt")
    assert rewrite(loaded.source, results) == 1
    assert real.read_bytes() == text.replace("5", "2").encode()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert (trace / "wait_test.lt").is_symlink()
    assert not list(trace.glob(".ltrules-*"))


def test_an_update_that_cannot_be_written(trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = run_text('test "t" for wait { replay "t.jsonl" expect 5 alerts }', trace)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InputError, match=r"cannot write .*wait_test.lt: Permission denied"):
        rewrite(read_source(trace / "wait_test.lt"), results)
    assert not list(trace.glob(".ltrules-*"))


# ------------------------------------------------------------------------------------- files
def names(paths: Sequence[Path], directory: Path) -> list[str]:
    return [str(Path(source.name).relative_to(directory)) for source in find_sources(paths)]


def test_files_that_hold_tests_are_found(tmp_path: Path) -> None:
    for name in ("a.lt", "a_test.lt", "b.lt", "deep/c_test.lt", ".hidden/d_test.lt", ".e_test.lt", "f_test.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(RULES)
    (tmp_path / "both.lt").write_text(RULES + '\n  test  "t" { }')
    (tmp_path / "link_test.lt").symlink_to(tmp_path / "a_test.lt")
    assert names([tmp_path], tmp_path) == ["a_test.lt", "both.lt", "deep/c_test.lt"]
    assert names([tmp_path / "a.lt"], tmp_path) == ["a_test.lt"]
    assert names([tmp_path / "both.lt", tmp_path / "a_test.lt", tmp_path], tmp_path) == [
        "both.lt",
        "a_test.lt",
        "deep/c_test.lt",
    ]
    assert names([tmp_path / "link_test.lt"], tmp_path) == ["link_test.lt"]


def test_paths_without_tests(tmp_path: Path) -> None:
    (tmp_path / "b.lt").write_text(RULES)
    with pytest.raises(InputError, match=r"no tests in .*b.lt: write `test` blocks there, or in .*b_test.lt"):
        find_sources([tmp_path / "b.lt"])
    with pytest.raises(InputError, match=r"no tests in .*: no file there has"):
        find_sources([tmp_path])
    with pytest.raises(InputError, match="cannot read"):
        find_sources([tmp_path / "none.lt"])
    (tmp_path / "b_test.lt").write_bytes(b"\xff")
    with pytest.raises(InputError, match="not UTF-8"):
        find_sources([tmp_path])


# ----------------------------------------------------------------------------------- showing
@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> tuple[Loaded, list[Result]]:
    """The file that holds every kind of result, by its bare name."""
    monkeypatch.chdir(DATA)
    return run_file(Path("wait_test.lt"))


def test_failures_are_shown(shown: tuple[Loaded, list[Result]], golden: Golden) -> None:
    _, results = shown
    text = "\n".join([*file_lines("wait_test.lt", results, verbose=True), total_line(results)]) + "\n"
    golden.check(DATA / "failures.txt", text)
    colored = "\n".join([*file_lines("wait_test.lt", results, True, True), total_line(results, True)]) + "\n"
    assert "\x1b[31mFAILED\x1b[0m" in colored
    plain = colored
    for code in ("31", "32", "33", "1", "0"):
        plain = plain.replace(f"\x1b[{code}m", "")
    assert plain == text


def test_junit(shown: tuple[Loaded, list[Result]], tmp_path: Path) -> None:
    (tmp_path / "bad\x01_test.lt").write_text('test "x" for nobody { expect no alerts }')
    bad = load(read_source(tmp_path / "bad\x01_test.lt"), shipped_catalog())
    top = ElementTree.fromstring(junit([shown, (bad, [])]))
    one, two = top.findall("testsuite")
    assert one.attrib == {"name": "wait_test.lt", "tests": "7", "failures": "4", "errors": "1", "skipped": "1"}
    kinds = [[child.tag for child in case] for case in one]
    assert kinds == [[], ["failure"], ["failure"], ["skipped"], ["failure"], ["failure"], ["error"]]
    failed = one[1]
    assert (failed.get("name"), failed.get("classname"), failed.get("line")) == (
        "fails, and what was made is shown beside what was expected", "wait", "9",
    )  # fmt: skip
    assert failed[0].get("message") == "5 of 7 expectations not met"
    assert "what was made of it" in (failed[0].text or "")
    assert two.attrib["errors"] == "1"
    assert "LT203" in (two[0][0].text or "")


def test_json(shown: tuple[Loaded, list[Result]]) -> None:
    loaded, _ = shown
    coverage = Coverage()
    list(run_cases(loaded.suite.cases, coverage))
    bad = load(Source("bad_test.lt", 'test "x" for nobody { expect no alerts }'), shipped_catalog())
    records = [json.loads(line) for line in json_lines([shown, (bad, [])], coverage.of(loaded.suite.rules))]
    assert [r["type"] for r in records] == ["test"] * 7 + ["mistake"] * 2 + ["coverage"] * 2 + ["summary"]
    first, second = records[:2]
    assert (first["title"], first["outcome"], first["file"], first["line"]) == ("passes", "passed", "wait_test.lt", 3)
    assert second["expectations"][2] == {
        "text": "2 alerts", "kind": "alert", "expected": 2, "made": 1, "passed": False,
    }  # fmt: skip
    assert [(r["kind"], r["at_ns"], r["key"]) for r in second["reports"]] == [
        ("timeout", 6000, {"pid": 42}),
        ("alert", 8000, {"pid": 42}),
    ]
    assert second["counters"]["wait"]["unmatched"] == 1
    assert records[6]["trouble"].startswith("wait.lt is no trace")
    assert records[-1] == {
        "type": "summary", "tests": 7, "error": 1, "failed": 3, "mended": 1, "todo": 1, "passed": 1,
        "files_with_mistakes": 1,
    }  # fmt: skip


def test_exit_statuses_of_results(shown: tuple[Loaded, list[Result]]) -> None:
    assert [r.exit_status for r in shown[1]] == [0, 1, 1, 0, 1, 1, 2]


def test_the_page_on_tests_names_all_that_can_be_expected(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
    kinds = words_of(frozenset({"EXPECT_KIND"}))
    (result,) = run_text(f'test "t" for wait {{ {LATE} expect alert }}', tmp_path)
    own = own_values(result.trial.reports[0], 0) if result.trial else {}
    assert len(kinds) > 10 and len(own) > 8
    assert [word for word in (*kinds, *own) if f"`{word}`" not in page] == []
