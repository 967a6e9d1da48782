"""Tests in rule files: what they may say, and every mistake at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from ltrules import syntax
from ltrules.cases import Case
from ltrules.catalog.events import Event, Field, Shape
from ltrules.catalog.machine import shipped_catalog
from ltrules.catalog.saved import save_catalog
from ltrules.check import check
from ltrules.check.problems import NAMES
from ltrules.check.tests import check_tests
from ltrules.diagnostics import Diagnostic, Severity
from ltrules.parse import parse
from ltrules.raw import struct_paths
from ltrules.source import Source, read_source
from support import FixedCatalog

STRANGE = Event(
    "odd",
    "strange",
    {
        "name": Field("name", "char[4]", Shape.STRING, 8, 4),
        "text": Field("text", "__data_loc char[]", Shape.DYNAMIC_STRING, 12, 4),
        "args": Field("args", "u16[3]", Shape.OTHER, 16, 6, element_size=2),
        "blob": Field("blob", "struct x", Shape.OTHER, 24, 12),
        "small": Field("small", "s8", Shape.INT, 36, 1, signed=True),
        "large": Field("large", "u64", Shape.INT, 40, 8),
    },
)
TWINS = (Event("a", "twin", {}), Event("b", "twin", {}))
CATALOG = FixedCatalog(STRANGE, *TWINS)
RULES = """
const CPU = 3
param shared: int = 1
rule wake {
  param limit: duration = 5us range 1us to 1s
  in sched_wakeup key pid where prio < 140 capture (prio, waker = task.comm)
  out sched_switch key next_pid where prev_prio >= 0 as on_cpu capture comm = next_comm
  out sched_process_exit key pid as gone
  thresh limit
  timeout 1ms
}
rule soft {
  in softirq_raise key (cpu = cpu.id, vec) as raised capture vector = vec
  out softirq_entry key (cpu = cpu.id, vec)
  thresh 1us
}
rule long = wake(limit = 1ms)
"""
ONE_LINE = "in sched_wakeup key pid, out sched_switch key next_pid, thresh 1us\n"


def check_block(text: str, directory: Path, name: str = "x_test.lt") -> tuple[tuple[Case, ...], list[Diagnostic]]:
    """Check a file of tests in a directory, where `x.lt` holds RULES."""
    (directory / "x.lt").write_text(RULES)
    found: list[Diagnostic] = []

    def read(path: Path) -> syntax.File:
        file, mistakes = parse(read_source(path))
        found.extend(mistakes)
        return file

    file, mistakes = parse(Source(str(directory / name), text))
    suite, more = check_tests(file, CATALOG, read)
    return suite.cases, [*mistakes, *found, *more]


def good(text: str, directory: Path, name: str = "x_test.lt") -> Case:
    (case,), found = check_block(text, directory, name)
    assert not found, [(d.code, d.message) for d in found]
    return case


# ------------------------------------------------------------------------------------- right
def test_a_test_becomes_a_case(tmp_path: Path) -> None:
    case = good(
        'test "late" for wake { param limit = 7us '
        'at 1us sched_wakeup { pid = 42, task.comm = "w", cpu.id = 2, prio = 1 } until 9us '
        'expect 2 alerts { key = 42, in.waker = "w", latency = 8us, late = false } expect no pending }',
        tmp_path,
    )
    assert (case.title, case.todo, case.trace, case.until_ns) == ("late", False, None, 9000)
    (rule,) = case.rules.rules
    assert rule.name == "wake"
    assert {p.name: p.value for p in case.rules.params} == {
        "wake.shared": 1,
        "wake.limit": 7000,
        "wake.timeout": 1_000_000,
    }
    (event,) = case.events
    assert (event.time_ns, event.name, event.cpu) == (1000, "sched:sched_wakeup", 2)
    assert (event.context["comm"], event.context["tid"], event.context["cpu"]) == ("w", 0, 2)
    assert event.fields == {"comm": "", "pid": 42, "prio": 1, "target_cpu": 0}
    alerts, pending = case.expectations
    assert (alerts.kind, alerts.count, alerts.of_reports) == ("alert", 2, True)
    assert [(w.where, w.name, w.value) for w in alerts.wanted["wake"]] == [
        ("key", "pid", 42),
        ("in", "waker", "w"),
        ("", "latency", 8000),
        ("", "late", 0),
    ]
    assert (pending.kind, pending.count, pending.wanted) == ("pending", 0, {"wake": ()})


def test_events_are_given_whole(tmp_path: Path) -> None:
    case = good(
        'test "t" { at 0us odd:strange { args[1] = 7, name = "abc", ev.small = -1, text = "x" } expect no alerts }',
        tmp_path,
    )
    assert case.events[0].fields == {
        "name": "abc", "text": "x", "args[0]": 0, "args[1]": 7, "args[2]": 0, "small": -1, "large": 0,
    }  # fmt: skip


def test_values_are_constants_of_any_form(tmp_path: Path) -> None:
    case = good(
        'import "x.lt" as y\nconst MINE = 2 macro twice(n) = n * 2\n'
        'test "t" for soft { at 0us softirq_raise { vec = NET_RX, cpu.id = x.CPU }'
        ' at 1us softirq_entry { vec = twice(MINE) } at 2us raw_syscalls:sys_enter { id = syscall("read") }'
        " expect alert { key.vec = NET_RX, in.vector = y.CPU, raised.vector = 3, key.cpu = 1 + 1 } }",
        tmp_path,
    )
    assert [e.fields.get("vec", e.fields.get("id")) for e in case.events] == [3, 4, 0]
    assert case.events[0].cpu == 3
    assert [(w.where, w.name, w.value) for w in case.expectations[0].wanted["soft"]] == [
        ("key", "vec", 3),
        ("in", "vector", 3),
        ("in", "vector", 3),
        ("key", "cpu", 2),
    ]


def test_rules_of_a_file_without_a_name_of_tests(tmp_path: Path) -> None:
    text = RULES + ONE_LINE + 'test "t" { at 0us sched_wakeup { } expect no alerts }'
    case = good(text, tmp_path, "all.lt")
    line = text[: text.index(ONE_LINE)].count("\n") + 1
    assert [r.name for r in case.rules.rules] == ["wake", "soft", "long", f"all:{line}"]
    assert list(case.expectations[0].wanted) == [r.name for r in case.rules.rules]


def test_rules_of_imported_files_keep_their_names_apart(tmp_path: Path) -> None:
    (tmp_path / "lib.lt").write_text("rule wake { in sched_wakeup key pid out sched_switch key next_pid thresh 1us }")
    case = good(
        'import "lib.lt" as far test "t" for far.wake { at 0us sched_switch { } expect no alerts for wake '
        "expect 1 alert for long expect unmatched for far.wake }",
        tmp_path,
    )
    assert [r.name for r in case.rules.rules] == ["wake", "x.wake", "long"]
    assert [list(e.wanted) for e in case.expectations] == [["x.wake"], ["long"], ["wake"]]


def test_a_value_is_asked_of_the_rules_that_know_it(tmp_path: Path) -> None:
    case = good('test "t" { at 0us sched_wakeup { } expect no alerts { in.waker = "x" } }', tmp_path)
    assert [r.name for r in case.rules.rules] == ["wake", "soft", "long"]
    assert list(case.expectations[0].wanted) == ["wake", "long"]


def test_only_rules_that_are_meant_take_part(tmp_path: Path) -> None:
    case = good('test "t" for soft { at 0us softirq_raise { } expect 1 alert for long expect no alerts }', tmp_path)
    assert [r.name for r in case.rules.rules] == ["soft", "long"]
    assert [list(e.wanted) for e in case.expectations] == [["long"], ["soft"]]


@pytest.mark.parametrize(
    ("above", "todo"),
    [
        ("# ltrules: todo\n", True),
        ("# ltrules: todo: not done\n# more words\n", True),
        ("#ltrules:todo\n", True),
        ("# ltrules: todo\n\n", False),
        ("# todo\n", False),
        ("# ltrules: todos\n", False),
        ("", False),
    ],
)
def test_a_comment_says_what_is_known_to_fail(above: str, todo: bool, tmp_path: Path) -> None:
    text = f'# first\n{above}test "t" for soft {{ at 0us softirq_raise {{ }} expect no alerts }}'
    assert good(text, tmp_path).todo is todo


def test_files_of_a_test(tmp_path: Path) -> None:
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces" / "a.jsonl").write_text("")
    save_catalog(shipped_catalog(), tmp_path / "events.json", struct_paths())
    case = good('test "t" for soft { catalog "events.json" replay "traces/a.jsonl" expect no alerts }', tmp_path)
    assert case.trace == tmp_path / "traces" / "a.jsonl"
    assert case.catalog is not CATALOG
    assert case.rules.kernel == case.catalog.description
    (tmp_path / "events.json").write_text("{")
    _, (found,) = check_block(
        'test "t" for soft { catalog "events.json" replay "traces/a.jsonl" expect no alerts }', tmp_path
    )
    assert (found.code, found.span.text) == ("LT252", '"events.json"')
    assert str(tmp_path) not in found.message


def test_a_rule_with_a_mistake_is_reported_where_it_is(tmp_path: Path) -> None:
    text = "rule bad { in sched_wakup key pid out sched_switch key next_pid thresh 1us }\n"
    cases, found = check_block(text + 'test "a" for bad { at 0us sched_wakeup { } expect no alerts }', tmp_path)
    assert not cases
    assert [(d.code, d.span.text) for d in found] == [("LT201", "sched_wakup")]


def test_checking_rules_passes_over_tests(tmp_path: Path) -> None:
    file, _ = parse(Source("a.lt", RULES + 'test "t" for nobody { expect nothing }'.replace("nothing", "no alerts")))
    rules, found = check([file], CATALOG, lambda path: file)
    assert len(rules.rules) == 3
    assert not found


# ------------------------------------------------------------------------------------ wrong
#: A test with one mistake: its code, and the text, in which « » stand around what the caret must mark.
EVENT = "at 0us sched_wakeup { }"
MISTAKES = {
    "rule": ("LT203", 'test "t" for «wakee» { EVENT expect no alerts }'),
    "rule like nothing": ("LT203", 'test "t" for «zzz» { EVENT expect no alerts }'),
    "rule of an import": ("LT203", 'test "t" for x.«wakee» { EVENT expect no alerts }'),
    "rule of an expectation": ("LT203", 'test "t" for wake { EVENT expect no alerts for «wakee» }'),
    "title twice": ("LT210", 'test "t" for wake { EVENT expect alert } test «"t"» for wake { EVENT expect alert }'),
    "nothing happens": ("LT251", 'test «"t"» for wake { expect no alerts }'),
    "two ways": ("LT251", 'test "t" for wake { replay "x.lt" «EVENT» expect no alerts }'),
    "uncertain event": ("LT251", 'test "t" for wake { at 0us «sched_wakeup?» { } expect no alerts }'),
    "values of a counter": ("LT251", 'test "t" for wake { EVENT expect 1 cancelled { «key = 1» } }'),
    "two replays": ("LT210", 'test "t" for wake { replay "x.lt" «replay "x.lt"» expect no alerts }'),
    "two ends": ("LT210", 'test "t" for wake { EVENT until 1s «until 2s» expect no alerts }'),
    "early end": ("LT244", 'test "t" for wake { at 2us sched_switch { } «until 1us» expect no alerts }'),
    "no expectation": ("LT241", 'test «"t"» for wake { EVENT }'),
    "clock": ("LT253", 'test "t" for wake { at 2us sched_switch { } «EVENT» expect no alerts }'),
    "no trace": ("LT252", 'test "t" for wake { replay «"none.jsonl"» expect no alerts }'),
    "directory": ("LT252", 'test "t" for wake { replay «"."» expect no alerts }'),
    "path upwards": ("LT252", 'test "t" for wake { replay «"../none.jsonl"» expect no alerts }'),
    "absolute path": ("LT252", 'test "t" for wake { replay «"/etc/passwd"» expect no alerts }'),
    "long path": ("LT252", f'test "t" for wake {{ replay «"{"a" * 5000}"» expect no alerts }}'),
    "catalog": ("LT252", 'test "t" for wake { catalog «"x.lt"» EVENT expect no alerts }'),
    "param": ("LT203", 'test "t" for wake { param «limt» = 5us EVENT expect no alerts }'),
    "param of no rule": ("LT203", 'test "t" for soft { param «limit» = 5us EVENT expect no alerts }'),
    "param twice": ("LT210", 'test "t" for wake { param limit = 5us «param limit = 6us» EVENT expect no alerts }'),
    "param without unit": ("LT103", 'test "t" for wake { param limit = «5» EVENT expect no alerts }'),
    "param out of range": ("LT244", 'test "t" for wake { param limit = «5s» EVENT expect no alerts }'),
    "param of a list": ("LT211", 'test "t" for wake { param limit = «[1]» EVENT expect no alerts }'),
    "event": ("LT201", 'test "t" for wake { at 0us «sched_wakup» { } expect no alerts }'),
    "ambiguous event": ("LT207", 'test "t" for wake { at 0us «twin» { } expect no alerts }'),
    "kind of event": ("LT111", 'test "t" for wake { at 0us «kprobe:vfs_read» { } expect no alerts }'),
    "field": ("LT202", 'test "t" for wake { at 0us sched_wakeup { «pidd» = 1 } expect no alerts }'),
    "field twice": ("LT210", 'test "t" for wake { at 0us sched_wakeup { pid = 1, «ev.pid = 2» } expect no alerts }'),
    "context": ("LT203", 'test "t" for wake { at 0us sched_wakeup { «task.tidd» = 1 } expect no alerts }'),
    "task.pid": ("LT205", 'test "t" for wake { at 0us sched_wakeup { «task.pid» = 1 } expect no alerts }'),
    "clock of an event": ("LT203", 'test "t" for wake { at 0us sched_wakeup { «time.mono» = 1 } expect no alerts }'),
    "key of an event": ("LT203", 'test "t" for wake { at 0us sched_wakeup { «key» = 1 } expect no alerts }'),
    "no array": ("LT211", 'test "t" for wake { at 0us sched_wakeup { «pid»[0] = 1 } expect no alerts }'),
    "no element": ("LT211", 'test "t" for wake { at 0us strange { args[«3»] = 1 } expect no alerts }'),
    "unreadable field": ("LT211", 'test "t" for wake { at 0us strange { «blob» = 1 } expect no alerts }'),
    "number for text": ("LT211", 'test "t" for wake { at 0us sched_wakeup { comm = «5» } expect no alerts }'),
    "text for number": ("LT211", 'test "t" for wake { at 0us sched_wakeup { pid = «"x"» } expect no alerts }'),
    "duration for number": ("LT211", 'test "t" for wake { at 0us sched_wakeup { pid = «5us» } expect no alerts }'),
    "list for number": ("LT211", 'test "t" for wake { at 0us sched_wakeup { pid = «[5]» } expect no alerts }'),
    "unknown value": ("LT203", 'test "t" for wake { at 0us sched_wakeup { pid = «prio» } expect no alerts }'),
    "symbol": ("LT203", 'test "t" for wake { at 0us softirq_raise { vec = «NETRX» } expect no alerts }'),
    "too large": ("LT244", 'test "t" for wake { at 0us strange { small = «128» } expect no alerts }'),
    "negative": ("LT244", 'test "t" for wake { at 0us strange { large = «-1» } expect no alerts }'),
    "long text": ("LT244", 'test "t" for wake { at 0us strange { name = «"abcd"» } expect no alerts }'),
    "long comm": ("LT244", 'test "t" for wake { at 0us strange { task.comm = «"abcdefghijklmnop"» } expect alert }'),
    "long dynamic text": ("LT244", f'test "t" for wake {{ at 0us strange {{ text = «"{"a" * 64}"» }} expect alert }}'),
    "capture": ("LT203", 'test "t" for wake { EVENT expect alert { in.«wakr» = "x" } }'),
    "bare capture": ("LT203", 'test "t" for wake { EVENT expect alert { «waker» = "x" } }'),
    "value of a report": ("LT203", 'test "t" for wake { EVENT expect alert { «latncy» = 5us } }'),
    "part of the key": ("LT203", 'test "t" for soft { EVENT expect alert { key.«vecc» = 1 } }'),
    "whole key": ("LT203", 'test "t" for soft { EVENT expect alert { «key» = 1 } }'),
    "out of a timeout": ("LT203", 'test "t" for wake { EVENT expect timeout { «out.comm» = "x" } }'),
    "outcome of a timeout": ("LT203", 'test "t" for wake { EVENT expect timeout { «outcome» = "gone" } }'),
    "overdue of an alert": ("LT203", 'test "t" for wake { EVENT expect alert { «overdue» = 1us } }'),
    "array of a report": ("LT203", 'test "t" for wake { EVENT expect alert { «key[0] = 1» } }'),
    "context of a report": ("LT203", 'test "t" for wake { EVENT expect alert { «task.tid» = 1 } }'),
    "outcome": ("LT203", 'test "t" for wake { EVENT expect alert { outcome = "«gon»" } }'),
    "severity": ("LT203", 'test "t" for wake { EVENT expect alert { severity = "«bad»" } }'),
    "latency without unit": ("LT103", 'test "t" for wake { EVENT expect alert { latency = «5» } }'),
    "late": ("LT211", 'test "t" for wake { EVENT expect alert { late = «1» } }'),
    "key out of range": ("LT244", 'test "t" for wake { EVENT expect alert { key = «1 << 40» } }'),
    "value twice": ("LT210", 'test "t" for wake { EVENT expect alert { key = 1, «key = 2» } }'),
    "captured by none": ("LT203", 'test "t" { EVENT expect alert { in.«wakr» = "x" } }'),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_reported_alone_and_in_its_place(name: str, tmp_path: Path) -> None:
    code, text = MISTAKES[name]
    text = text.replace("EVENT", EVENT)
    start, end = text.index("«"), text.index("»") - 1
    cases, (found,) = check_block(text.replace("«", "").replace("»", ""), tmp_path)
    assert (found.code, found.name) == (code, NAMES[code])
    assert (found.span.start, found.span.end) == (start, end), (found.span.text, found.message)
    assert found.message and not found.message.endswith(".")
    assert str(tmp_path) not in found.message
    fatal = found.severity is Severity.ERROR
    assert len(cases) == (not fatal) + (name == "title twice")


def test_every_code_of_tests_has_a_mistake() -> None:
    assert {c for c in NAMES if c.startswith("LT25")} <= {c for c, _ in MISTAKES.values()}


def test_a_test_without_rules(tmp_path: Path) -> None:
    text = 'test "t" { at 0us sched_wakeup { } expect no alerts }'
    _, (found,) = check_block(text, tmp_path, "y_test.lt")
    assert (found.code, found.span.text) == ("LT208", '"t"')
    assert "y.lt" in found.helps[0]
    _, (found,) = check_block(text.replace("{", "for wake {", 1), tmp_path, "y_test.lt")
    assert (found.code, found.span.text) == ("LT203", "wake")
    assert found.notes == ("there is no y.lt beside this file",)
    _, (found,) = check_block(text, tmp_path, "_test.lt")
    assert found.code == "LT208"


def test_a_link_out_of_the_directory_is_not_followed(tmp_path: Path) -> None:
    outside, inside = tmp_path / "out", tmp_path / "in"
    outside.mkdir(), inside.mkdir()
    (outside / "z.lt").write_text(RULES)
    (outside / "t.jsonl").write_text("")
    (inside / "z.lt").symlink_to(outside / "z.lt")
    (inside / "t.jsonl").symlink_to(outside / "t.jsonl")
    _, (found,) = check_block('test "t" for wake { at 0us sched_wakeup { } expect no alerts }', inside, "z_test.lt")
    assert (found.code, found.span.text) == ("LT203", "wake")
    _, (found,) = check_block('test "t" for wake { replay "t.jsonl" expect no alerts }', inside)
    assert found.code == "LT252"


def test_going_back_in_time_is_no_mistake_where_it_is_meant(tmp_path: Path) -> None:
    case = good('test "t" for wake { at 2us sched_wakeup { } at 1us sched_switch { } expect 1 clock_skew }', tmp_path)
    assert [e.time_ns for e in case.events] == [2000, 1000]


def test_mistakes_of_one_test_are_reported_together(tmp_path: Path) -> None:
    _, found = check_block(
        'test "t" for wake { at 0us sched_wakeup { pidd = 1, prio = "x" } at 1us nosuchevent { }'
        " expect alert { in.x = 1 } expect 1 kept { key = 1 } }",
        tmp_path,
    )
    assert [d.code for d in found] == ["LT202", "LT211", "LT201", "LT203", "LT251"]
