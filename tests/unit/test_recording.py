"""Recordings as they are written: what of each event, in which order, how names are hidden, and into which file."""

from __future__ import annotations

import gzip
import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpf_codegen import render
from ltrules.errors import InputError
from ltrules.recording import recorded_plan
from ltrules.traces import Need
from ltrules.traces.anonymise import Anonymiser, known_texts
from ltrules.traces.output import recording_file
from ltrules.traces.writer import HOLD_NS, Column, Columns, Row, Sort, TraceWriter
from ltrules.types import INT, UNSIGNED, string
from support import good_rules, plan_of
from trace_support import read

RULES = """
rule wakes {
  in  sched_wakeup key pid where prio < 120 capture (comm, by = task.comm, at = time.mono)
  out sched_switch key next_pid where next_pid != 0 and latency > 1us capture cpu.id
  cancel sched_switch key prev_pid
  thresh 5us
}
rule other { at sched_switch took next_prio * 1us thresh 5us }
"""
SWITCH = Columns(
    "sched:sched_switch",
    (
        Column("tid", context=True),
        Column("comm", Sort.TEXT, context=True),
        Column("prev_comm", Sort.TEXT),
        Column("next_pid"),
        Column("args[1]", Sort.ADDRESS),
    ),
)
EMPTY = Columns("irq:softirq_raise", ())
NEEDS = {
    "sched:sched_switch": Need(
        {"prev_comm": string(16), "next_pid": INT, "args[1]": UNSIGNED}, {"tid": INT, "comm": string(16)}
    ),
    "irq:softirq_raise": Need({}, {"cpu": INT, "mono": INT}),
}


def written(*batches: tuple[list[Row], int], end: int = 10**12, anonymiser: Anonymiser | None = None) -> str:
    """Return a recording of some batches of rows, each with the time up to which it is complete."""
    out = io.BytesIO()
    writer = TraceWriter(out, "a file", (SWITCH, EMPTY), anonymiser)
    writer.header({"kernel": "6.18"})
    for rows, reached in batches:
        writer.events(rows)
        writer.release(reached)
    writer.end(end, {})
    return out.getvalue().decode()


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# ------------------------------------------------------------------------------------- plans
def test_all_that_any_rule_reads_of_an_event_is_recorded_once() -> None:
    recorded = recorded_plan(plan_of(RULES), 1 << 20, rules=True)
    found = {p.event: [(type(v).__name__, v.name) for v in p.recorded or ()] for p in recorded.programs}
    assert found == {
        "sched_switch": [
            ("FieldValue", "next_pid"),
            ("FieldValue", "prev_pid"),
            ("FieldValue", "next_prio"),
        ],
        "sched_wakeup": [
            ("Context", "comm"),
            ("FieldValue", "pid"),
            ("FieldValue", "prio"),
            ("FieldValue", "comm"),
        ],
    }
    assert recorded.event_bytes == 1 << 20


def test_rules_are_at_work_beside_or_not() -> None:
    planned = plan_of(RULES)
    both = recorded_plan(planned, 4096, rules=True)
    assert both.rules == planned.rules
    assert [p.handlers for p in both.programs] == [p.handlers for p in planned.programs]
    alone = recorded_plan(planned, 4096, rules=False)
    assert alone.rules == alone.parameters == ()
    assert [(p.name, p.access, p.arguments) for p in alone.programs] == [
        (p.name, p.access, p.arguments) for p in planned.programs
    ]
    assert not any(p.handlers for p in alone.programs)


def test_conditions_keep_no_event_out() -> None:
    code = render(recorded_plan(plan_of(RULES), 4096, rules=False))
    assert "if (!event)" in code
    assert "120LL" not in code


def test_without_a_recording_nothing_of_it_is_generated() -> None:
    planned = plan_of(RULES)
    assert all(p.recorded is None for p in planned.programs)
    code = render(planned)
    assert "unrecorded" not in code and "} events" not in code


def test_rules_may_have_the_names_of_what_records() -> None:
    names = ("event", "events", "unrecorded", "on_sched_switch", "on_sched_switch_event")
    rule = "rule {} {{ in sched_wakeup key pid out sched_switch key next_pid thresh 1us }}\n"
    recorded = recorded_plan(plan_of("".join(map(rule.format, names))), 4096, rules=True)
    assert not {r.name for r in recorded.rules} & {"event", "events", "unrecorded"}
    assert not {r.name for r in recorded.rules} & {p.name for p in recorded.programs}
    assert "struct event head;" in render(recorded)


# ------------------------------------------------------------------------------------- lines
def test_what_is_written_is_what_is_read() -> None:
    rows: list[Row] = [(5, 0, 1, 17, "a b", 'x"\\\n', -1, (1 << 64) - 1), (7, 1, 0)]
    text = written((rows, 9))
    events, trace = read(text, NEEDS)
    assert [e[:3] for e in events] == [(5, "sched:sched_switch", 1), (7, "irq:softirq_raise", 0)]
    assert events[0].fields == {"prev_comm": 'x"\\\n', "next_pid": -1, "args[1]": (1 << 64) - 1}
    assert (events[0].context["tid"], events[0].context["comm"]) == (17, "a b")
    assert trace.end_ns == 10**12
    assert not trace.troubles, list(trace.troubles.sentences())
    header, *_, last = lines(text)
    assert header == {
        "ltrules_trace": 1,
        "kernel": "6.18",
        "events": {
            "sched:sched_switch": {"context": ["tid", "comm"], "fields": ["prev_comm", "next_pid", "args[1]"]},
            "irq:softirq_raise": {"context": [], "fields": []},
        },
    }
    assert last == {"end": 10**12, "recorded": {"sched:sched_switch": 1, "irq:softirq_raise": 1}}


@given(st.lists(st.lists(st.integers(0, 4 * HOLD_NS), max_size=20), max_size=6))
def test_events_are_written_in_order_if_none_is_too_late(batches: list[list[int]]) -> None:
    made, reached = [], 0
    for times in batches:
        made.append(([(max(t, reached - HOLD_NS + 1), 1, i) for i, t in enumerate(times)], reached))
        reached += HOLD_NS // 2
    found = [line["t"] for line in lines(written(*made)) if "t" in line]
    assert found == sorted(row[0] for rows, _ in made for row in rows)


def test_events_are_held_back_until_none_can_come_before_them() -> None:
    out = io.BytesIO()
    writer = TraceWriter(out, "a file", (EMPTY,))
    writer.events([(3, 0, 0), (1, 0, 0)])
    writer.release(HOLD_NS)
    assert out.getvalue() == b""
    writer.events([(HOLD_NS, 0, 0)])
    writer.release(HOLD_NS + 3)
    assert [line["t"] for line in lines(out.getvalue().decode())] == [1, 3]
    assert writer.counts == [3]


def test_losses_stand_where_they_were_noticed_and_are_counted_by_the_reader() -> None:
    out = io.BytesIO()
    writer = TraceWriter(out, "a file", (EMPTY,))
    writer.header({})
    writer.events([(5, 0, 0)])
    writer.lost("irq:softirq_raise", 12, 6)
    writer.events([(7, 0, 0)])
    writer.end(8, {})
    assert [list(line) for line in lines(out.getvalue().decode())[1:]] == [
        ["t", "e", "cpu", "f"],
        ["lost", "event", "at"],
        ["t", "e", "cpu", "f"],
        ["end", "recorded"],
    ]
    events, trace = read(out.getvalue(), NEEDS)
    assert len(events) == 2
    assert (trace.troubles.lost_marks, trace.troubles.lost) == (1, 12)


class Full(io.BytesIO):
    """A disk without room."""

    def write(self, data: Any) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_disk_is_said_in_words() -> None:
    writer = TraceWriter(Full(), "trace.jsonl", (EMPTY,))
    with pytest.raises(InputError, match=r"^cannot write trace.jsonl: No space left on device$"):
        writer.header({})


# ---------------------------------------------------------------------------------- names
def test_equal_names_stay_equal_and_are_not_told() -> None:
    rows: list[Row] = [
        (1, 0, 0, 1, "secret", "other", 0, 77),
        (2, 0, 0, 2, "other", "", 0, 0),
        (3, 0, 0, 3, "fio", "secret", 0, 77),
    ]
    text = written((rows, 9), anonymiser=Anonymiser({"fio"}))
    assert "secret" not in text and "other" not in text
    first, second, third = (e for e in lines(text) if "t" in e)
    assert first["comm"] == third["f"]["prev_comm"]
    assert first["f"]["prev_comm"] == second["comm"]
    assert first["comm"] != second["comm"]
    assert (third["comm"], second["f"]["prev_comm"]) == ("fio", "")
    assert first["f"]["args[1]"] == third["f"]["args[1]"] not in (0, 77)
    assert second["f"]["args[1]"] == 0
    assert [e["tid"] for e in (first, second, third)] == [1, 2, 3]
    events, trace = read(text, NEEDS)
    assert len(events) == 3 and not trace.troubles


@given(st.text(max_size=80), st.integers(-(1 << 63), (1 << 64) - 1))
def test_each_recording_has_hashes_of_its_own(text: str, address: int) -> None:
    first, second = Anonymiser(), Anonymiser()
    assert first.text(text) == first.text(text)
    assert len(first.text(text)) == (13 if text else 0)
    assert 0 <= first.address(address) < 1 << 63
    assert first.address(address) == first.address(address)
    if text and address:
        assert (first.text(text), first.address(address)) != (second.text(text), second.address(address))


def test_names_that_rules_compare_with_are_known() -> None:
    rules = good_rules(
        'param who: string = "dd"\n'
        'rule r { in sched_wakeup key pid where comm == "fio" or comm == who capture (comm)\n'
        '  out sched_switch key next_pid where in.comm != "ssh" when in.comm != "make"\n'
        '  thresh 1us message "of {in.comm}" }'
    )
    assert known_texts(rules) == {"fio", "dd", "ssh", "make"}


# ------------------------------------------------------------------------------------- files
def test_a_recording_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with recording_file(str(tmp_path / "trace.jsonl")) as out:
            out.write(b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "trace.jsonl").stat().st_mode) == 0o600


def test_a_file_that_is_there_is_replaced_and_not_written_to(tmp_path: Path) -> None:
    path, other = tmp_path / "trace.jsonl", tmp_path / "other"
    path.write_text("old")
    path.chmod(0o644)
    other.hardlink_to(path)
    with recording_file(str(path)) as out:
        out.write(b"new")
    assert (path.read_text(), other.read_text()) == ("new", "old")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_name_in_gz_is_compressed(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl.gz"
    with recording_file(str(path)) as out:
        for _ in range(1000):
            out.write(b"the same again\n")
            out.flush()
    assert gzip.decompress(path.read_bytes()) == b"the same again\n" * 1000
    assert path.stat().st_size < 500
    assert b"trace" not in path.read_bytes()


@pytest.mark.parametrize("make", ["link", "dangling", "pipe", "directory"])
def test_what_is_no_plain_file_is_refused(make: str, tmp_path: Path) -> None:
    path, target = tmp_path / "trace.jsonl", tmp_path / "target"
    match make:
        case "link":
            target.write_text("kept")
            path.symlink_to(target)
        case "dangling":
            path.symlink_to(target)
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
    with pytest.raises(InputError, match="is there already, and is not a plain file"), recording_file(str(path)):
        pass
    assert target.exists() == (make == "link")


def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    path = tmp_path / "trace.jsonl"
    path.write_text("theirs")
    os.chown(path, 65534, 65534)
    with pytest.raises(InputError, match="is there already, and belongs to another user"), recording_file(str(path)):
        pass
    assert path.read_text() == "theirs"


def test_a_directory_that_is_not_there_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no/trace.jsonl: No such file or directory$"):  # noqa: SIM117
        with recording_file(str(tmp_path / "no" / "trace.jsonl")):
            pass
