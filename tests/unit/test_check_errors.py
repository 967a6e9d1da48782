"""Every mistake in a rule is reported at the exact place, and the fix that is offered mends it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from golden import CASES
from ltrules import check as check_package
from ltrules import syntax
from ltrules.catalog.events import Event
from ltrules.check.problems import NAMES
from ltrules.diagnostics import Diagnostic, Fix, Severity
from ltrules.errors import InputError
from support import FixedCatalog, check_text

#: A rule with one mistake: its code, and the text, in which « » stand around what the caret must mark.
MISTAKES = {
    "thresh without unit": ("LT103", "in W key pid, out S key next_pid, thresh «5»"),
    "timeout without unit": ("LT103", "in W key pid, out S key next_pid, timeout «10»"),
    "slack without unit": ("LT103", "in W key pid, out S key next_pid, timeout 10us slack «5»"),
    "expire without unit": ("LT103", "in W key pid, out S key next_pid, thresh 1us, expire «10»"),
    "rate without unit": ("LT103", "in W key pid, out S key next_pid, thresh 5us, rate 1 per «1»"),
    "param without unit": ("LT103", "rule r { param p: duration = «5» in W key pid out S key next_pid thresh p }"),
    "event": ("LT201", "in «sched_wakup» key pid, out S key next_pid, thresh 5us"),
    "event of a category": ("LT201", "in W key pid, out «sched:sched_swich» key next_pid, thresh 5us"),
    "event like nothing": ("LT201", "in W key pid, out «zzzzzzzzz» key pid, thresh 5us"),
    "event of three parts": ("LT201", "in «sched:x:y» key pid, out S key next_pid, thresh 5us"),
    "no event of in": ("LT201", "in «nothing? or never?» key pid, out S key next_pid, thresh 5us"),
    "no event of out": ("LT201", "in W key pid, out «nothing?» key next_pid, thresh 5us"),
    "no column": ("LT201", "in no_a else «no_b» key pid, out S key next_pid, thresh 5us"),
    "field": ("LT202", "in W key «pidd», out S key next_pid, thresh 5us"),
    "field by ev": ("LT202", "in W key pid where «ev.x» > 1, out S key next_pid, thresh 5us"),
    "field of one alternative": ("LT202", "in W or sched_switch key «pid», out S key next_pid, thresh 5us"),
    "key of in read at out": ("LT202", "in W key «pid», out S, thresh 5us"),
    "name in a clause": ("LT203", "in W key pid, out S key next_pid, thresh «limit»"),
    "capture": ("LT203", "in W key pid capture prio, out S key next_pid, thresh 1us, hist in.«pri»"),
    "capture of out": ("LT203", "in W key pid, out S key next_pid, thresh 1us, hist latency by «out.x»"),
    "part of the key": ("LT203", "in W key pid, out S key next_pid, thresh 1us, hist latency by «key.tid»"),
    "symbol": ("LT203", "in softirq_entry key cpu.id where vec == «NET_RXX», out softirq_exit key cpu.id, thresh 1ms"),
    "function": ("LT203", "in W key pid where «blockd»(prio), out S key next_pid, thresh 1us"),
    "context": ("LT203", "in W key pid where «task.tidd» > 1, out S key next_pid, thresh 1us"),
    "list": ("LT203", "in W key pid where prio one of «LIST», out S key next_pid, thresh 1us"),
    "base of a derived rule": ("LT203", "rule r = «other»()"),
    "param of a derived rule": (
        "LT203",
        "rule b { param limit: duration = 1us in W key pid out S key next_pid thresh limit } rule r = b(«limt = 1us»)",
    ),
    "system call": (
        "LT203",
        'in raw_syscalls:sys_enter key task.tid where id == syscall("«nanoslep»"), '
        "out raw_syscalls:sys_exit key task.tid, thresh 1us",
    ),
    "measurement too soon": ("LT203", "in W key pid where «key» > 1, out S key next_pid, thresh 1us"),
    "field in a clause": ("LT204", "in W key pid capture prio, out S key next_pid, thresh 1us, hist «prio»"),
    "context in a clause": ("LT204", "in W key pid, out S key next_pid, thresh 1us, hist latency by «cpu.id»"),
    "field by ev in a clause": ("LT204", "in W key pid, out S key next_pid, thresh 1us, hist «ev.pid»"),
    "task.pid": ("LT205", "in W key «task.pid», out S key next_pid, thresh 1us"),
    "shadowing": ("LT206", "rule r { param prio: int = 1 in W key «prio» out S key next_prio stat count }"),
    "ambiguous event": ("LT207", "in «twin» key x, out S key next_pid, thresh 1us"),
    "no out": ("LT208", "«in W key pid», thresh 5us"),
    "no in": ("LT208", "rule «r» { out S key next_pid thresh 5us }"),
    "in and at": ("LT208", "in W key pid, «at nmi_handler took delta_ns * 1ns», thresh 5us"),
    "at and out": ("LT208", "at nmi_handler took delta_ns * 1ns, «out S key next_pid», thresh 5us"),
    "at and timeout": ("LT208", "at nmi_handler took delta_ns * 1ns, «timeout 5us»"),
    "at and inflight": ("LT208", "at nmi_handler took delta_ns * 1ns, thresh 1us, «inflight 5»"),
    "no key": ("LT208", "«in W», out S key next_pid, thresh 5us"),
    "cancel captures": ("LT208", "in W key pid, out S key next_pid, cancel W key pid capture «prio», thresh 5us"),
    "import of nothing": ("LT209", 'import «"nothing.lt"»\nin W key pid, out S key next_pid, thresh 5us'),
    "import from above": ("LT209", 'import «"../x.lt"»\nin W key pid, out S key next_pid, thresh 5us'),
    "import of std": ("LT209", 'import «"std:x.lt"»\nin W key pid, out S key next_pid, thresh 5us'),
    "const of itself": ("LT209", "const A = «A» + 1"),
    "macro of itself": ("LT209", "macro f(x) = «f(x)»\nin W key pid where f(pid) > 0, out S key next_pid, thresh 5us"),
    "rule of itself": ("LT209", "rule r = «r»()"),
    "rules of the same name": (
        "LT210",
        "r: in W key pid, out S key next_pid, thresh 5us; «r»: in W key pid, out S key next_pid, thresh 5us",
    ),
    "consts of the same name": ("LT210", "const A = 1 const «A» = 2"),
    "params of the same name": (
        "LT210",
        "rule r { param p: int = 1 param «p»: int = 2 in W key pid out S key next_pid thresh 1us }",
    ),
    "two thresh": ("LT210", "in W key pid, out S key next_pid, thresh 5us, «thresh 6us»"),
    "two keys": ("LT210", "in W key pid «key prio», out S key next_pid, thresh 5us"),
    "two wheres": ("LT210", "in W key pid where prio > 1 «where pid > 1», out S key next_pid, thresh 5us"),
    "captured twice": ("LT210", "in W key pid capture (prio, «prio = pid»), out S key next_pid, thresh 5us"),
    "two parts of one name": ("LT210", "in W key (pid, «pid»), out S key (next_pid, next_pid), thresh 5us"),
    "label of both sides": ("LT210", "in W key pid as x, out S key next_pid «as x», thresh 5us"),
    "histograms of the same name": ("LT210", "in W key pid, out S key next_pid, hist latency, «hist latency»"),
    "severity": ("LT211", "rule r { meta { «severity = awful» } in W key pid out S key next_pid thresh 1us }"),
    "duration and number": ("LT211", "in W key pid, out S key next_pid, thresh 5us, when latency > «5»"),
    "sum of kinds": ("LT211", "in W key pid, out S key next_pid, thresh 5us + «1»"),
    "number as condition": ("LT211", "in W key pid where «prio», out S key next_pid, thresh 5us"),
    "number as duration": ("LT211", "in W key pid capture prio, out S key next_pid, thresh «in.prio»"),
    "order of strings": ("LT211", 'in W key pid where comm < «"a"», out S key next_pid, thresh 5us'),
    "string and number": ("LT211", "in W key pid where comm == «5», out S key next_pid, thresh 5us"),
    "bits of a duration": ("LT211", "in W key pid where «time.mono» & 1 == 0, out S key next_pid, thresh 5us"),
    "arguments": ("LT211", "in W key pid where «blocked(1, 2)», out S key next_pid, thresh 5us"),
    "unreadable field": ("LT211", "in W key pid, out inet_sock_set_state key «saddr», thresh 5us"),
    "element": (
        "LT211",
        "in raw_syscalls:sys_enter key args[«6»], out raw_syscalls:sys_exit key task.tid, thresh 5us",
    ),
    "kinds of a capture": ("LT211", "in W key pid capture x = 1, in W key pid capture «x = comm», out S key next_pid"),
    "condition as key": ("LT211", "in W key «pid > 1», out S key next_pid, thresh 5us"),
    "histogram of a string": ("LT211", "in W key pid capture comm, out S key next_pid, hist «in.comm»"),
    "bounds of a histogram": ("LT211", "in W key pid, out S key next_pid, hist latency linear(«0», 5us, 1us)"),
    "type of a param": ("LT211", "rule r { param p: int = «5us» in W key pid out S key next_pid thresh 1us }"),
    "element of a number": ("LT211", "in W key pid where «prio»[0] > 1, out S key next_pid, thresh 1us"),
    "formatter in where": ("LT213", "in W key pid where «errno(prio)» == 1, out S key next_pid, thresh 1us"),
    "formatter in key": ("LT213", "in block_rq_issue key «disk(dev)», out block_rq_complete key dev, thresh 1us"),
    "formatter in hist": ("LT213", "in W key pid capture prio, out S key next_pid, hist «errno(in.prio)»"),
    "formatter inside a group": (
        "LT213",
        "in W key pid capture prio, out S key next_pid, hist latency by «errno(in.prio) + 1»",
    ),
    "else columns": ("LT214", "in W else sched_waking key pid, out «S else S else S» key next_pid, thresh 1us"),
    "parts of keys": ("LT231", "in W key pid, out S key («next_pid, next_prio»), thresh 1us"),
    "kinds of keys": ("LT231", "in block_rq_issue key dev, out block_rq_complete key «task.tid», thresh 1us"),
    "string and number as keys": ("LT231", "in W key comm, out S key «next_pid», thresh 1us"),
    "nothing reported": ("LT241", "rule «r» { in W key pid out S key next_pid }"),
    "expire before timeout": ("LT243", "in W key pid, out S key next_pid, timeout 5s, «expire 1s»"),
    "no room": ("LT244", "in W key pid, out S key next_pid, thresh 1us, inflight «0»"),
    "too much room": ("LT244", "in W key pid, out S key next_pid, thresh 1us, inflight «1 << 40»"),
    "empty histogram": ("LT244", "in W key pid, out S key next_pid, hist latency «linear(1us, 1us, 1us)»"),
    "histogram too fine": ("LT244", "in W key pid, out S key next_pid, hist latency «linear(0us, 1s, 1us)»"),
    "default out of range": (
        "LT244",
        "rule r { param p: int = «5» range 1 to 3 in W key pid out S key next_pid thresh 1us }",
    ),
    "negative thresh": ("LT244", "in W key pid, out S key next_pid, thresh «-5us»"),
    "negative timeout": ("LT244", "in W key pid, out S key next_pid, timeout «1us - 2us»"),
    "no period": ("LT244", "in W key pid, out S key next_pid, thresh 1us, rate 1 per «0s»"),
    "no alerts": ("LT244", "in W key pid, out S key next_pid, thresh 1us, rate «0» per 1s"),
}  # fmt: skip
#: Constructs that parse, and whose meaning comes in a later version.
LATER = {
    "step": "in W key pid, «step sched_waking key pid», out S key next_pid, thresh 1us",
    "during": "in W key pid, «during sched_waking key pid», out S key next_pid, thresh 1us",
    "then": "in W «key pid then prio», out S key next_pid, thresh 1us",
    "from": "in W key pid, out S key next_pid «from in», thresh 1us",
    "within": "in W key pid, out S key next_pid «within 5us», thresh 1us",
    "fork": "in W key pid «fork», out S key next_pid, thresh 1us",
    "optional": "in W key pid, out S key next_pid «optional», thresh 1us",
    "once": "in W key pid, out S key next_pid «once», thresh 1us",
    "ratchet": "in W key pid, out S key next_pid, «thresh 1us ratchet»",
    "duplicate nest": "in W key pid, out S key next_pid, thresh 1us, «duplicate nest 2»",
    "duplicate queue": "in W key pid, out S key next_pid, thresh 1us, «duplicate queue 2»",
    "duplicate all": "in W key pid, out S key next_pid, thresh 1us, «duplicate all 2»",
    "after": "in W key pid, out S key next_pid, thresh 1us, «after 3 per 1s»",
    "sample": "in W key pid, out S key next_pid, thresh 1us, «sample 1 of 10»",
    "on alert": "in W key pid, out S key next_pid, thresh 1us, «on alert print»",
    "on timeout": 'in W key pid, out S key next_pid, thresh 1us, «on timeout { exec ["a", "b"], stop }»',
    "requires": "«requires kernel >= 5.15»\nin W key pid, out S key next_pid, thresh 1us",
    "requires of a rule": "rule r { «requires feature ringbuf» in W key pid out S key next_pid thresh 1us }",
    "importing from a pack": 'import «"pack:a/b.lt"»\nin W key pid, out S key next_pid, thresh 1us',
    "ints": "rule r { «param p: ints = [1, 2]» in W key pid out S key next_pid thresh 1us }",
    "strings": 'rule r { «param p: strings = ["a"]» in W key pid out S key next_pid thresh 1us }',
    "=~": 'in W key pid where «comm =~ "x*"», out S key next_pid, thresh 1us',
    "!~": 'in W key pid where «comm !~ "x*"», out S key next_pid, thresh 1us',
    "time.wall": "in W key pid capture «time.wall», out S key next_pid, thresh 1us",
    "legs": "in W key pid, out S key next_pid as x, thresh 1us, hist «latency.x»",
    "breakdown": 'in W key pid, out S key next_pid, thresh 1us, message "{«breakdown»}"',
    "pointers": "in W key pid where «ev.pid.x» > 1, out S key next_pid, thresh 1us",
    "bare pointers": "in W key pid where «pid.x» > 1, out S key next_pid, thresh 1us",
    "pointers of elements": (
        "in raw_syscalls:sys_enter key task.tid where «args[0].x» > 0, out raw_syscalls:sys_exit key 1, thresh 1us"
    ),
    **{
        f"`{kind}`": f"in «{kind}:something» key task.tid, out S key next_pid, thresh 1us"
        for kind in ("raw", "rawtp", "kprobe", "kretprobe", "fentry", "fexit", "uprobe", "uretprobe", "usdt")
    },
    **{
        f"`{name}`": f"in W key pid capture x = «{name}(prio)», out S key next_pid, thresh 1us"
        for name in "str ustr kstack ustack kstack_of ksym usym ip count sum max min last".split()
    },
}

TWINS = (Event("a", "twin", {}), Event("b", "twin", {}))
CATALOG = FixedCatalog(*TWINS)


def marked(text: str) -> tuple[str, int, int]:
    """Return a text without its marks, and the range that they enclosed. W and S stand for the two usual events."""
    text = (
        text.replace("W", "sched_wakeup").replace("out S ", "out sched_switch ").replace("out S,", "out sched_switch,")
    )
    text = text.replace("S else S else S", "sched_switch else sched_switch else sched_switch")
    start = text.index("«")
    end = text.index("»") - 1
    return text.replace("«", "").replace("»", ""), start, end


def mistakes(text: str) -> tuple[Diagnostic, ...]:
    return check_text(text, catalog=CATALOG)[1]


def apply(fix: Fix, text: str) -> str:
    for edit in sorted(fix.edits, key=lambda e: -e.span.start):
        text = text[: edit.span.start] + edit.text + text[edit.span.end :]
    return text


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_reported_alone_and_in_its_place(name: str) -> None:
    code, written = MISTAKES[name]
    text, start, end = marked(written)
    (found,) = mistakes(text)
    assert found.code == code
    assert found.name == NAMES[code]
    assert (found.span.start, found.span.end) == (start, end), found.span.text
    assert found.message
    assert not found.message.endswith(".")
    for fix in found.fixes:
        mended = apply(fix, text)
        assert mended != text
        assert code not in {d.code for d in mistakes(mended)}, mended


@pytest.mark.parametrize("code", NAMES)
def test_every_code_has_a_mistake(code: str) -> None:
    # LT25* are about tests: see test_check_tests.py.
    assert code in {c for c, _ in MISTAKES.values()} | {"LT111", "LT218"} or code.startswith("LT25")


FIXED = ("thresh without unit", "event", "event of a category", "field", "capture", "symbol", "function", "context",
         "field in a clause", "task.pid", "duration and number", "sum of kinds", "system call")  # fmt: skip


@pytest.mark.parametrize("name", FIXED)
def test_a_fix_is_offered_where_one_is_known(name: str) -> None:
    text, _, _ = marked(MISTAKES[name][1])
    (found,) = mistakes(text)
    assert found.fixes
    assert not mistakes(apply(found.fixes[0], text))


@pytest.mark.parametrize("name", LATER)
def test_what_comes_later_is_refused_by_name(name: str) -> None:
    text, start, end = marked(LATER[name])
    (found,) = mistakes(text)
    assert found.code == "LT111"
    assert found.severity is Severity.ERROR
    assert found.message.endswith("is not available yet")
    assert (found.span.start, found.span.end) == (start, end), found.span.text


def test_setting_that_cannot_be_read_is_reported_where_its_param_is_defined() -> None:
    text = "rule r { param p: duration = 1us in sched_wakeup key pid out sched_switch key next_pid thresh p }"
    _, (found,) = check_text(text, {"p": "5"})
    assert (found.code, found.span.text) == ("LT218", "param p: duration = 1us")
    assert "unit" in found.message
    ranged = text.replace("1us in", "1us range 1us to 5us in")
    _, (outside,) = check_text(ranged, {"r.p": "6us"})
    assert outside.code == "LT244"


def test_setting_that_no_rule_has_is_an_error_of_input() -> None:
    text = "rule r { param limit: duration = 1us in sched_wakeup key pid out sched_switch key next_pid thresh limit }"
    with pytest.raises(InputError, match="did you mean `limit`"):
        check_text(text, {"limt": "5us"})


def test_mistakes_of_a_file_and_of_a_rule_are_reported_together() -> None:
    text = (
        "a: in sched_wakup key pid, out sched_switch key next_pidd, thresh 5\n"
        "rule b { in sched_wakeup key pid out sched_switch key next_pid where comm == 1 timeout 5 "
        "hist latency linear(1us, 0us, 1us) }\n"
        "const X = 1us + 1\n"
        "good: in sched_wakeup key pid, out sched_switch key next_pid, thresh 5us\n"
    )
    rules, found = check_text(text)
    assert [r.name for r in rules.rules] == ["good"]
    assert [(d.span.line, d.code) for d in found] == [
        (1, "LT201"),
        (1, "LT202"),
        (1, "LT103"),
        (2, "LT202"),
        (2, "LT103"),
        (2, "LT244"),
        (3, "LT211"),
    ]


def test_an_import_cycle_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.lt").write_text('import "b.lt"\nconst X = 1\n')
    (tmp_path / "b.lt").write_text('import "a.lt"\nconst X = 1\n')
    _, found = check_text('import "a.lt"\n')
    assert [d.code for d in found] == ["LT209"]
    assert "a.lt -> b.lt -> a.lt" in found[0].message


def test_every_kind_of_syntax_is_used_or_refused() -> None:
    """A node that no pass of the checker names, or a part that none reads, would be ignored silently."""
    checker = "".join(path.read_text() for path in Path(check_package.__file__).parent.glob("*.py"))
    bases = {"Node", "Expr", "Modifier", "Clause"}
    refused = {"Action", "On", "Requires", "From", "Within", "Sample"}  # as a whole
    reached = {"Argument", "Events", "Item", "MetaItem"}  # as parts of another node, by attribute
    nodes = {
        name: value
        for name, value in vars(syntax).items()
        if isinstance(value, type) and issubclass(value, syntax.Node) and dataclasses.is_dataclass(value)
    }
    assert len(nodes) > 40
    for name, node in nodes.items():
        if name not in bases | reached | {"Action"}:
            assert f"syntax.{name}" in checker, f"{name} is neither used nor refused"
        if name not in bases | refused:
            for part in dataclasses.fields(node):
                assert re.search(rf"\.{part.name}\b|\b{part.name}=", checker), f"{name}.{part.name} is never read"


CORPUS = [path.read_text() for path in sorted(CASES.glob("*/rule.lt"))]
WORDS = ["pid", "5us", "5", "key", "in.prio", "latency", "cpu.id", "task.pid", "(", ")", ",", "}", "{", '"x"', "not",
         "-1", "0", "[1, 2]", "sched_switch", "thresh", "hist", "1 << 70", "disk(1)", "*", "/ 0", "as in",
         "?", "if(true, 1, 2)"]  # fmt: skip


@given(
    st.sampled_from(CORPUS),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 3), st.sampled_from(WORDS)), min_size=1, max_size=4),
)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_text_makes_the_checker_fail(text: str, edits: list[tuple[int, int, str]]) -> None:
    for place, cut, word in edits:
        tokens = text.split(" ")
        at = place % len(tokens)
        text = " ".join([*tokens[:at], word, *tokens[at + cut :]])
    _, found = check_text(text)
    for d in found:
        assert 0 <= d.span.start <= d.span.end <= len(d.span.source.text)
