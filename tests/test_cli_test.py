"""`ltrules test` as people call it: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ltrules.catalog.machine import shipped_catalog
from ltrules.catalog.saved import save_catalog
from ltrules.errors import InputError
from ltrules.raw import struct_paths
from test_cli import call, program, refused

TOP = Path(__file__).parent.parent
DATA = TOP / "tests" / "data" / "testing"
RULE = "rule w { in sched_wakeup key pid out sched_switch key next_pid thresh 1us }\n"
GOOD = 'test "fine" for w { at 0us sched_wakeup { pid = 1 } at 1us sched_switch { next_pid = 1 } expect no alerts }\n'
BAD = 'test "wrong" for w { at 0us sched_wakeup { pid = 1 } expect 1 alert }\n'


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.lt").write_text(RULE)
    (tmp_path / "w_test.lt").write_text(GOOD)
    return tmp_path


def test_all_tests_below_the_current_directory(directory: Path) -> None:
    (directory / "more").mkdir()
    (directory / "more" / "x.lt").write_text(RULE + GOOD)
    result = call("test")
    assert result.stdout == "w_test.lt: 1 passed\nmore/x.lt: 1 passed\n2 tests: 2 passed\n"
    assert (result.exit_code, result.stderr) == (0, "")
    assert call("test", "-v", "w.lt").stdout.startswith("passed w_test.lt:1: fine\n")


def test_a_test_that_fails(directory: Path) -> None:
    (directory / "w_test.lt").write_text(GOOD + BAD)
    result = call("test", ".")
    assert result.exit_code == 1
    assert result.stdout.startswith("FAILED w_test.lt:2: wrong\n  expected  made\n! 1 alert   0\n")
    assert result.stdout.endswith("2 tests: 1 passed, 1 failed\n")
    (directory / "w_test.lt").write_text(GOOD + "# ltrules: todo\n" + BAD)
    result = call("test")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "2 tests: 1 passed, 1 todo")
    (directory / "w_test.lt").write_text("# ltrules: todo\n" + GOOD)
    assert call("test").exit_code == 1


def test_mistakes_are_shown_and_the_other_tests_run(directory: Path) -> None:
    (directory / "w_test.lt").write_text(GOOD + 'test "x" for w { at 0us nosuch { } expect no alerts }\ntest "y" {')
    result = call("test")
    assert result.exit_code == 1
    assert result.stdout == "w_test.lt: 1 passed\n1 test: 1 passed\n"
    assert "error[LT201]: there is no event `nosuch`" in result.stderr
    assert "LT109" in result.stderr
    (directory / "w.lt").write_text(RULE.replace("sched_wakeup", "sched_wakup"))
    (directory / "w_test.lt").write_text(GOOD)
    result = call("test")
    assert (result.exit_code, result.stdout) == (1, "w_test.lt: none\n0 tests: none\n")
    assert result.stderr.count("error[LT201]") == 1


def test_a_trace_that_cannot_be_read(directory: Path) -> None:
    (directory / "w_test.lt").write_text(GOOD + 'test "t" for w { replay "w.lt" expect no alerts }')
    result = call("test")
    assert result.exit_code == 2
    assert "ERROR w_test.lt:2: t\n  w.lt is no trace" in result.stdout
    assert result.stdout.endswith("2 tests: 1 passed, 1 could not run\n")


def test_what_there_is_not(directory: Path) -> None:
    assert refused("test", "nosuch") == "cannot read nosuch: No such file or directory"
    assert refused("test", "--run", "nosuch") == "no test matches `nosuch`"
    assert refused("test", "std:nosuch").startswith("there are no shipped rules `nosuch`")
    assert "cannot read" in refused("test", "--catalog", "nosuch")
    (directory / "w_test.lt").write_text("# nothing yet\n")
    assert refused("test") == "there is no test"
    (directory / "w_test.lt").unlink()
    assert refused("test") == "no tests in .: no file there has a `test` block"
    assert refused("test", "w.lt") == "no tests in w.lt: write `test` blocks there, or in w_test.lt"


@pytest.mark.parametrize(("pattern", "count"), [("fine", 1), ("w", 2), ("wr*", 1), ("*n*", 2), ("?", 2), ("[f]ine", 1)])
def test_some_tests_only(pattern: str, count: int, directory: Path) -> None:
    (directory / "w_test.lt").write_text(GOOD + BAD)
    assert call("test", "--run", pattern).stdout.splitlines()[-1].startswith(f"{count} test")


def test_coverage(directory: Path) -> None:
    result = call("test", "--coverage", "w.lt")
    assert result.stdout.splitlines()[1:4] == [
        "coverage:",
        "  w.lt:1: w: 3 of 4",
        "    1:1: nothing took longer than `thresh`",
    ]
    records = [json.loads(line) for line in call("test", "--coverage", "--format", "json").stdout.splitlines()]
    assert [r["type"] for r in records] == ["test", "coverage", "summary"]
    assert (records[1]["reached"], records[1]["of"]) == (3, 4)


def test_update(directory: Path) -> None:
    (directory / "wait.jsonl").write_text((DATA / "wait.jsonl").read_text())
    text = RULE + 'test "t" for w {\n  param thresh = 4us\n  replay "wait.jsonl"\n  expect 7 alerts\n}\n'
    path = directory / "x.lt"
    path.write_text(text)
    result = call("test", "x.lt")
    assert (result.exit_code, path.read_text()) == (1, text)
    result = call("test", "--update", "x.lt")
    assert result.stdout == "x.lt: 1 passed\n1 test: 1 passed\n"
    assert result.stderr == "x.lt: 1 test rewritten\n"
    assert path.read_text() == text.replace("7", "23")
    assert call("test", "--update", "x.lt").stderr == ""


def test_formats(directory: Path) -> None:
    (directory / "w_test.lt").write_text(GOOD + BAD)
    result = call("test", "--format", "junit")
    assert result.exit_code == 1
    assert [case.get("name") for case in ElementTree.fromstring(result.stdout).iter("testcase")] == ["fine", "wrong"]
    records = [json.loads(line) for line in call("test", "--format", "json").stdout.splitlines()]
    assert [r.get("outcome") for r in records] == ["passed", "failed", None]


def test_the_catalog_is_the_same_everywhere_unless_one_is_named(directory: Path) -> None:
    save_catalog(shipped_catalog(), directory / "events.json", struct_paths())
    assert call("test", "--catalog", "events.json").exit_code == 0
    content = json.loads((directory / "events.json").read_text())
    del content["events"]["sched:sched_switch"]
    (directory / "events.json").write_text(json.dumps(content))
    result = call("test", "--catalog", "events.json")
    assert result.exit_code == 1
    assert "LT201" in result.stderr


def test_check_takes_tests_too(directory: Path) -> None:
    result = call("check", "w.lt", "w_test.lt")
    assert result.stdout.startswith("1 rule and 1 test right (catalog: ")
    (directory / "w_test.lt").write_text(GOOD.replace("pid = 1", "pidd = 1", 1))
    (directory / "w.lt").write_text(RULE.replace("next_pid", "next_pidd"))
    result = call("check", "--format", "concise", "w_test.lt", "w.lt")
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == ["w.lt", "w_test.lt"]
    assert result.exit_code == 1


def test_rules_run_without_their_tests(directory: Path) -> None:
    (directory / "x.lt").write_text(RULE + GOOD)
    assert "int on_sched_switch" in call("show", "x.lt").stdout
    result = call("show", "w_test.lt")
    assert isinstance(result.exception, InputError)
    assert str(result.exception) == "there is no rule in what was given, only tests: see `ltrules test`"


def test_the_program_ends_with_the_status(directory: Path) -> None:
    assert program("test", str(directory)).returncode == 0
    (directory / "w_test.lt").write_text(BAD)
    done = program("test", str(directory / "w.lt"))
    assert (done.returncode, done.stderr) == (1, "")
