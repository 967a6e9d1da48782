"""Texts of ftrace, trace-cmd, perf and babeltrace2: samples of a real kernel, in forms that must agree."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltrules.errors import InputError
from ltrules.traces import Need, TraceEvent
from trace_support import SAMPLES, assert_sound, needs, read

EVENTS = """sched:sched_switch sched:sched_wakeup sched:sched_waking sched:sched_wakeup_new irq:irq_handler_entry
irq:irq_handler_exit irq:softirq_entry irq:softirq_exit irq:softirq_raise block:block_rq_issue block:block_rq_insert
block:block_rq_complete raw_syscalls:sys_enter raw_syscalls:sys_exit syscalls:sys_enter_openat syscalls:sys_exit_openat
workqueue:workqueue_queue_work workqueue:workqueue_execute_start workqueue:workqueue_execute_end timer:hrtimer_start
signal:signal_generate""".split()
ALL = needs(*EVENTS, context=("tid", "comm"))
TEXTS = sorted(path.name for path in SAMPLES.glob("*.txt"))
#: ftrace prints a hash in the place of an address; the hash of one address is always the same.
HASHED = frozenset(("work", "hrtimer"))


def sample(name: str) -> list[TraceEvent]:
    events, trace = read(SAMPLES / name, ALL)
    assert trace.troubles.malformed == trace.troubles.late == trace.troubles.lost_marks == 0
    assert not trace.troubles.unknown_events and not trace.troubles.absent
    assert trace.progress() == ((SAMPLES / name).stat().st_size,) * 2
    assert_sound(events, trace.troubles, ALL)
    return events


def lacking(name: str) -> dict[str, set[str]]:
    """Return what a text does not tell, by event."""
    found: dict[str, set[str]] = {}
    for event, field in read(SAMPLES / name, ALL)[1].troubles.lacking:
        found.setdefault(event.partition(":")[2], set()).add(field)
    return found


def same(one: TraceEvent, other: TraceEvent, resolution: int, hashed: frozenset[str]) -> None:
    """Compare what both tell: all but what one of the texts lacks."""
    assert abs(one.time_ns - other.time_ns) < resolution
    assert (one.name, one.cpu) == (other.name, other.cpu)
    for mine, theirs in ((one.fields, other.fields), (one.context, other.context)):
        common = (mine.keys() & theirs.keys()) - hashed
        assert {name: mine[name] for name in common} == {name: theirs[name] for name in common}, one.name


@pytest.mark.parametrize(
    ("name", "resolution"), [("trace-cmd-report.txt", 1000), ("trace-cmd-report-N.txt", 1), ("ftrace.txt", 1000)]
)
def test_the_texts_of_one_recording_agree(name: str, resolution: int) -> None:
    raw, other = sample("trace-cmd-report-R.txt"), sample(name)
    # In whole microseconds some are at the same time, and stand as their CPUs were merged.
    ordered = [sorted(events, key=lambda e: ((e.time_ns + 500) // 1000, e.cpu)) for events in (raw, other)]
    assert len(raw) == len(other) == 96
    told = 0
    for one, two in zip(*ordered, strict=True):
        same(one, two, resolution, HASHED if name == "ftrace.txt" else frozenset())
        told += len(one.fields.keys() & two.fields.keys())
    assert told > 350


def test_perf_and_its_ctf_agree() -> None:
    script, ctf = sample("perf-script.txt"), sample("babeltrace2.txt")
    assert len(script) == len(ctf) == 95
    for one, two in zip(script, ctf, strict=True):
        same(one, two, 1, frozenset())


def test_what_each_text_lacks_is_told_by_name() -> None:
    function = {
        name: {"function"} for name in ("workqueue_queue_work", "workqueue_execute_start", "workqueue_execute_end")
    }
    number = {"sys_enter_openat": {"__syscall_nr"}, "sys_exit_openat": {"__syscall_nr"}}
    handled = {"irq_handler_exit": {"ret"}}
    assert lacking("trace-cmd-report-R.txt") == {**function, "hrtimer_start": {"function"}}
    ioprio = {name: {"ioprio"} for name in ("block_rq_insert", "block_rq_issue", "block_rq_complete")}
    assert lacking("trace-cmd-report-N.txt") == {**function, **number, **handled, "hrtimer_start": {"function"}}
    assert lacking("trace-cmd-report.txt") == {
        **function, **number, **handled, "sched_switch": {"prev_state"},
        "hrtimer_start": {"function", "mode", "was_armed"},
    }  # fmt: skip
    assert lacking("ftrace.txt") == {
        **function, **number, **handled, **ioprio, "hrtimer_start": {"function", "mode"}
    }  # fmt: skip
    assert lacking("perf-script.txt") == {**function, **number, **handled, "hrtimer_start": {"function"}}
    assert lacking("babeltrace2.txt") == {name.partition(":")[2]: {"task.comm"} for name in EVENTS}


def test_sentences_name_the_event_and_the_field() -> None:
    _, trace = read(SAMPLES / "trace-cmd-report.txt", ALL)
    assert "sched:sched_switch came 12 times without prev_state, which the rules read" in trace.troubles.sentences()


def first(name: str, event: str) -> TraceEvent:
    return next(each for each in sample(name) if each.name == event)


def test_values_are_those_that_rules_see() -> None:
    switch = next(e for e in sample("ftrace.txt") if e.name == "sched:sched_switch" and e.fields["prev_state"] == 256)
    assert switch.fields["prev_comm"] == "perf" and switch.fields["next_comm"] == "rcu_preempt"
    assert switch.context == {"tid": 29596, "tgid": 29596, "comm": "perf"}
    issue = first("perf-script.txt", "block:block_rq_issue")
    assert issue.fields["dev"] == 254 << 20
    assert issue.fields["rwbs"] in ("RA", "RM", "WS", "R", "WFS")
    opened = first("ftrace.txt", "syscalls:sys_enter_openat").fields
    assert (opened["dfd"], opened["flags"], opened["mode"]) == (0xFFFFFF9C, 0x80000, 0)
    assert first("ftrace.txt", "syscalls:sys_exit_openat").fields == {"ret": 3}
    assert first("trace-cmd-report-R.txt", "raw_syscalls:sys_enter").fields["args[5]"] == 0x7F8A47D64D10


HEAD = "          <idle>-0       [001] d..2.  1289.411378: "
WAKEUP = needs("sched_wakeup", context=("tid", "tgid", "comm"))
PAYLOAD = "comm=a b pid=7 prio=120 target_cpu=001"


def wakeup(line: str) -> TraceEvent:
    (event,), trace = read(f"{line}\n", WAKEUP)
    assert not trace.troubles.malformed
    assert event.fields == {"comm": "a b", "pid": 7, "prio": 120, "target_cpu": 1}
    return event


@pytest.mark.parametrize(
    ("head", "tid", "tgid", "comm"),
    [
        ("          <idle>-0       [001] d..2.  1289.411378: sched_wakeup: ", 0, None, "swapper/1"),
        ("          <idle>-0     [001]  1289.411378: sched_wakeup:         ", 0, None, "swapper/1"),
        ("           <...>-12    [001]  1289.411378: sched_wakeup: ", 12, None, None),
        ("  my program-12-3456   [001] d..2.  1289.411378: sched_wakeup: ", 3456, None, "my program-12"),
        ("guest: my program-12   [001] d..2.  1289.411378: sched_wakeup: ", 12, None, "my program"),
        ("   a [000] b-7-3456    [001] .....  1289.411378: sched_wakeup: ", 3456, None, "a [000] b-7"),
        ("              sh-12    (-------) [001] d..2.  1289.411378: sched_wakeup: ", 12, None, "sh"),
        ("              sh-12    (     11) [001] d..2.  1289.411378: sched_wakeup: ", 12, 11, "sh"),
        ("              sh-12    [001] dN.2   1289.411378: sched_wakeup: ", 12, None, "sh"),
        ("              sh-12    [001] 1289.411378000: sched_wakeup: ", 12, None, "sh"),
        ("         swapper     0 [001]  1289.411378: sched:sched_wakeup: ", 0, None, "swapper/1"),
        ("              sh 11/12 [001]  1289.411378000: sched:sched_wakeup: ", 12, 11, "sh"),
        ("my program 12  11/12   [001]  1289.411378:      1   sched:sched_wakeup: ", 12, 11, "my program 12"),
        ("             :-1    -1 [001]  1289.411378: sched:sched_wakeup: ", None, None, None),
    ],
)
def test_heads_of_lines(head: str, tid: int | None, tgid: int | None, comm: str | None) -> None:
    for end in ("", "\r"):
        event = wakeup(head + PAYLOAD + end)
        assert (event.time_ns, event.cpu) == (1289411378000, 1)
        assert [event.context.get(name) for name in ("tid", "tgid", "comm")] == [tid, tgid, comm]


@pytest.mark.parametrize(
    "payload",
    [
        "comm=a b pid=7 prio=120 success=1 target_cpu=001",  # before Linux 4.14
        "comm=a b pid=7 prio=120 target_cpu=001 Latency: 101.244 usecs",  # trace-cmd report -w
        "a b:7 [120] CPU:001",
        "pid=7 comm=a b target_cpu=0x1 prio=120",
    ],
)
def test_other_ways_to_print_an_event(payload: str) -> None:
    wakeup(f"{HEAD}sched_wakeup: {payload}")


def test_a_name_that_looks_like_a_field_is_not_taken_for_it() -> None:
    line = f"{HEAD}sched_wakeup: comm=x pid=1 pid=7 prio=120 target_cpu=001\n"
    (event,), _ = read(line, WAKEUP)
    assert event.fields == {"comm": "x pid=1", "pid": 7, "prio": 120, "target_cpu": 1}
    (event,), trace = read(line.replace("prio=120", "prio=120 success=1"), WAKEUP)
    assert event.fields == {"comm": "x", "prio": 120, "target_cpu": 1}
    assert trace.troubles.lacking["sched:sched_wakeup", "pid"] == 1


@pytest.mark.parametrize(
    ("mark", "lost"),
    [
        ("CPU:1 [LOST 12 EVENTS]", 12),
        ("CPU:1 [LOST EVENTS]", 0),
        ("CPU:0 [12 EVENTS DROPPED]", 12),
        ("guest: CPU:0 [EVENTS DROPPED]", 0),
        ("# entries-in-buffer/entries-written: 10/22   #P:2", 12),
    ],
)
def test_marks_of_lost_events(mark: str, lost: int) -> None:
    events, trace = read(f"{HEAD}sched_wakeup: {PAYLOAD}\n{mark}\n", WAKEUP)
    assert len(events) == 1
    assert (trace.troubles.lost_marks, trace.troubles.lost, trace.troubles.malformed) == (1, lost, 0)


def test_what_tracers_write_beside_events_is_no_trouble() -> None:
    text = f"""cpus=2
{HEAD}sched_wakeup: {PAYLOAD}
{HEAD}kernel_stack: <stack trace >
 => schedule (ffffffff8107e4b0)
{HEAD}tracing_mark_write: B|1|x
{HEAD}print: 0xffffffff81000000s: hello
{HEAD}function:             do_sys_open <-- sys_open
{HEAD}do_sys_open <-sys_open
"""
    events, trace = read(text, needs("sched_wakeup"))
    assert len(events) == 1
    assert not trace.troubles, list(trace.troubles.sentences())
    _, trace = read(f"{HEAD}sched_wakeup: {PAYLOAD}\n{HEAD}of_a_module: x=1\n", WAKEUP)
    assert trace.troubles.unknown_events == {"of_a_module": 1}


def test_marks_of_perf_and_stacks() -> None:
    line = f"  sh 11/12 [001]  1289.411378000: sched:sched_wakeup: {PAYLOAD}\n"
    stack = "\tffffffff81415391 __traceiter_sys_exit+0x41 ([kernel.kallsyms])\n\n"
    lost = "  sh 11/12 [001]  1289.5: PERF_RECORD_LOST lost 12\n  sh 11/12 [001]  1289.5: PERF_RECORD_EXIT(1:1):(1:1)\n"
    events, trace = read(line + stack + lost + line, WAKEUP)
    assert len(events) == 2
    assert (trace.troubles.lost_marks, trace.troubles.lost, trace.troubles.malformed) == (1, 12, 0)


@pytest.mark.parametrize(
    "text",
    [
        "nonsense\n",
        "  sh-1 [0] x\n",
        "x" * 300_000 + "\n",
        f"{HEAD}sched_wakeup\n",
        f"{HEAD[:-10]}99999999999999: sched_wakeup: \n",
    ],
)
def test_lines_that_are_no_events_are_counted(text: str) -> None:
    good = f"{HEAD}sched_wakeup: {PAYLOAD}\n"
    events, trace = read(good + text + good, WAKEUP)
    assert (len(events), trace.troubles.malformed) == (2, 1)


@pytest.mark.parametrize("end", [1, 30, 60, 80, 95])
def test_a_half_line_at_the_end_is_counted(end: int) -> None:
    line = f"{HEAD}sched_wakeup: {PAYLOAD}"
    events, trace = read(f"{line}\n{line[:end]}", WAKEUP)
    assert (len(events), trace.troubles.malformed) == (1, 1)


def test_a_name_with_the_end_of_a_line_in_it_is_not_told() -> None:
    (event,), trace = read(f"{HEAD}sched_wakeup: comm=a\nb pid=7 prio=120 target_cpu=001\n", WAKEUP)
    assert event.fields == {}
    assert trace.troubles.malformed == 1


LTTNG = """[1571261795.523067504] (+?.?????????) host sched_waking: { cpu_id = 3 }, { comm = "a \\"b\\" }", tid = 31407, prio = 20, target_cpu = 2 }
[1571261795.523071732] (+0.000001557) host sched_switch: { cpu_id = 2 }, { tid = 0, pid = 0, procname = "swapper/2" }, { prev_comm = "swapper/2", prev_tid = 0, prev_prio = 20, prev_state = ( "TASK_RUNNING" : container = 0 ), next_comm = "x", next_tid = 31407, next_prio = -100 }
[1571261795.523071800] host irq_softirq_entry: { cpu_id = 2 }, { vec = 1 }
[1571261795.523071900] host syscall_entry_openat: { cpu_id = 2 }, { dfd = -100, filename = "/etc/passwd", flags = ( "O_RDONLY" : container = 0 ), mode = 0 }
"""  # noqa: E501


def test_the_names_of_lttng() -> None:
    wanted = needs("sched_waking", "sched_switch", "softirq_entry", "sys_enter_openat", context=("tid", "tgid", "comm"))
    (waking, switch, softirq, opened), trace = read(LTTNG, wanted)
    assert trace.description == "text of babeltrace2"
    assert waking[:3] == (1571261795523067504, "sched:sched_waking", 3)
    assert waking.fields == {"comm": 'a "b" }', "pid": 31407, "prio": 120, "target_cpu": 2}
    assert waking.context == {}
    assert switch.fields == {
        "prev_comm": "swapper/2", "prev_pid": 0, "prev_prio": 120, "prev_state": 0,
        "next_comm": "x", "next_pid": 31407, "next_prio": 0,
    }  # fmt: skip
    assert switch.context == {"tid": 0, "tgid": 0, "comm": "swapper/2"}
    assert softirq.fields == {"vec": 1}
    assert opened.name == "syscalls:sys_enter_openat"
    assert {name: opened.fields.get(name) for name in ("dfd", "filename", "mode")} == {
        "dfd": (1 << 64) - 100, "filename": None, "mode": 0
    }  # fmt: skip


@pytest.mark.parametrize("content", ["", "\n", "hello\n" * 99, "{}", '{"t": 1}\n', "\0" * 4096, "\x1f\x8b", "<html>"])
def test_what_is_no_trace_is_refused(content: str) -> None:
    with pytest.raises(InputError, match=r"is empty|is no trace that ltrules can read"):
        read(content, WAKEUP)


def test_whole_microseconds_are_told() -> None:
    assert (
        read(SAMPLES / "ftrace.txt", ALL)[1].description == "text of ftrace or trace-cmd, times in whole microseconds"
    )
    assert read(SAMPLES / "perf-script.txt", ALL)[1].description == "text of perf script"


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", Path("a\0b")):
        with pytest.raises(InputError, match="cannot read"):
            read(path, WAKEUP)


@pytest.mark.parametrize("name", TEXTS)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_damaged_texts_are_read_or_counted(name: str, data: st.DataObject) -> None:
    whole = bytearray((SAMPLES / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 12))):
        at = data.draw(st.integers(2000, len(whole)))
        noise = data.draw(
            st.binary(max_size=9)
            | st.sampled_from([b"9" * 30, b" pid=1", b"\n", b": ", b'", ', b"0x", b"{ ", b"00", b" = 09"])
        )
        whole[at : at + data.draw(st.integers(0, 9))] = noise
    wanted: dict[str, Need] = ALL
    events, trace = read(bytes(whole), wanted)
    assert_sound(events, trace.troubles, wanted)
    assert len(events) > 50
