"""Recordings in JSON Lines: what is read, what is counted, and that nothing makes the reader fail."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltrules.errors import InputError
from ltrules.traces import Need, needs_of
from ltrules.types import INT, string
from support import good_rules
from trace_support import assert_sound, read

HEADER = '{"ltrules_trace": 1, "kernel": "6.18.44", "arch": "x86_64", "x": [1]}\n'
SWITCH = Need({"prev_comm": string(16), "next_pid": INT}, {"tid": INT, "comm": string(16), "cpu": INT, "mono": INT})
NEEDS = {"sched:sched_switch": SWITCH}
FIELDS = {"prev_comm": "a", "next_pid": 7, "prev_prio": 120}


def line(t: Any = 5, e: Any = "sched:sched_switch", f: Any = FIELDS, **more: Any) -> str:
    return json.dumps({"t": t, "e": e, "cpu": 1, "tid": 3, "comm": "b", **more, "f": f}) + "\n"


def test_an_event_is_read_with_all_that_the_line_has() -> None:
    (event,), trace = read(HEADER + line(uid=1000), NEEDS)
    assert event[:3] == (5, "sched:sched_switch", 1)
    assert event.fields == FIELDS
    assert (event.context["tid"], event.context["comm"], event.context["uid"]) == (3, "b", 1000)
    assert trace.header == {"kernel": "6.18.44", "arch": "x86_64"}
    assert trace.description == "recording of ltrules, kernel 6.18.44"
    assert not trace.troubles
    assert trace.seen == {"sched:sched_switch": 1}
    assert trace.end_ns == 5


def test_needs_are_those_of_the_rules() -> None:
    rules = good_rules(
        "rule r {\n in sched_wakeup key pid where prio < 100 capture (task.comm, a = time.boot)\n"
        " cancel raw_syscalls:sys_enter key args[1] where cpu.id == 1\n"
        " out sched_switch key next_pid capture next_comm\n thresh 5us\n}"
    )
    found = needs_of(rules)
    assert {name: (set(need.fields), set(need.context)) for name, need in found.items()} == {
        "sched:sched_wakeup": ({"pid", "prio"}, {"comm", "boot"}),
        "raw_syscalls:sys_enter": ({"args[1]"}, {"cpu"}),
        "sched:sched_switch": ({"next_pid", "next_comm"}, set()),
    }
    assert found["sched:sched_switch"].fields["next_comm"] == string(16)


def test_events_that_are_not_wanted_are_no_trouble() -> None:
    events, trace = read(HEADER + line(e="sched:sched_wakeup") + line(), NEEDS)
    assert len(events) == 1
    assert not trace.troubles


def test_a_bare_name_is_found_in_the_catalog() -> None:
    events, _ = read(HEADER + line(e="sched_switch"), NEEDS)
    assert [event.name for event in events] == ["sched:sched_switch"]


def test_the_order_of_keys_and_spaces_do_not_matter() -> None:
    compact = json.dumps(
        {"t": 5, "e": "sched:sched_switch", "cpu": 1, "tid": 3, "comm": "b", "f": FIELDS}, separators=(",", ":")
    )
    turned = json.dumps({"f": FIELDS, "comm": "b", "e": "sched:sched_switch", "tid": 3, "cpu": 1, "t": 5})
    events, trace = read(f"{HEADER}{compact}\n{turned}\r\n  {compact}  \n\n", NEEDS)
    assert len(events) == 3
    assert {tuple(event[:3]) for event in events} == {(5, "sched:sched_switch", 1)}
    assert not trace.troubles


@pytest.mark.parametrize(
    "text",
    [
        '{"t": 5, "e": "sched:sched_switch", "cpu": 1, "tid": 3, "comm": "b", "f": {"prev_comm": "a", "next_p',
        line()[:-1] + line(),
        line(t=-5),
        line(t=1 << 64),
        line(t=5.5),
        line(t="5"),
        line(t=None),
        line(t=True),
        line(e=""),
        line(e=7),
        line(e=["sched:sched_switch"]),
        line(f=[1]),
        line(f=None),
        line(cpu=-1),
        line(cpu=1 << 40),
        line(cpu="0"),
        line(cpu=0.0),
        line(cpu=None),
        '{"t": 5, "e": "sched:sched_switch"}\n',
        '{"lost": -1}\n',
        '{"lost": "many"}\n',
        '{"end": 1e5}\n',
        "{}\n",
        "[]\n",
        "7\n",
        "NaN\n",
        "nonsense\n",
        "\0\0\0\n",
        "\udcff\udcfe\n",
        "[" * 100_000 + "\n",
        '{"t": 5, "e": "sched:sched_switch", "cpu": 1, "f": ' + "[" * 100_000 + "\n",
        '{"t": 5, "e": "sched:sched_switch", "cpu": 1, "f": {"next_pid": ' + "9" * 5000 + "}}\n",
        '{"ltrules_trace": 2}\n',
        "x" * (1 << 18) + "\n",
    ],
)
def test_what_is_no_event_is_counted_and_left_out(text: str) -> None:
    events, trace = read(HEADER + line() + text, NEEDS)
    if trace.troubles.unknown_events:
        assert trace.troubles.malformed == 0
    else:
        assert trace.troubles.malformed == 1, list(trace.troubles.sentences())
    assert len(events) == 1
    events, _ = read(HEADER + text.rstrip("\n") + "\n" + line(), NEEDS)
    assert len(events) == 1, "what follows is read"


@pytest.mark.parametrize("value", [None, "7", 7.0, True, [], {}, 1 << 64, -(1 << 63) - 1])
def test_a_value_that_cannot_be_one_is_missing_and_counted(value: Any) -> None:
    (event,), trace = read(HEADER + line(f={**FIELDS, "next_pid": value}, comm=value), NEEDS)
    assert dict(event.fields) == {"prev_comm": "a", "prev_prio": 120}
    expected = {("sched:sched_switch", "next_pid"): 1}
    if value == "7":
        assert event.context["comm"] == "7"
    else:
        assert "comm" not in event.context
        expected["sched:sched_switch", "task.comm"] = 1
    assert trace.troubles.lacking == expected
    assert "sched:sched_switch came 1 time without next_pid, which the rules read" in list(trace.troubles.sentences())


def test_losses_and_the_end_are_told() -> None:
    _, trace = read(HEADER + line() + '{"lost": 12, "t": 6}\n{"lost": 0}\n{"lost": 3}\n{"end": 99}\n', NEEDS)
    assert (trace.troubles.lost_marks, trace.troubles.lost, trace.end_ns) == (3, 15, 99)
    assert list(trace.troubles.sentences()) == ["the tracer lost events at 3 places, 15 of them counted"]


def test_events_that_are_not_wanted_tell_the_time_too() -> None:
    _, trace = read(HEADER + line() + line(t=77, e="sched:sched_wakeup"), NEEDS)
    assert trace.end_ns == 77
    _, trace = read(HEADER + line() + '{"t": 5, "e": "sched:sc', NEEDS)
    assert trace.end_ns == 5
    _, trace = read(HEADER, NEEDS)
    assert trace.end_ns is None


def test_recordings_can_be_joined() -> None:
    events, trace = read((HEADER + line()) * 3, NEEDS)
    assert len(events) == 3
    assert not trace.troubles


def test_events_that_never_come_are_told() -> None:
    _, trace = read(HEADER + line(), {**NEEDS, "sched:sched_wakeup": SWITCH, "irq:softirq_entry": SWITCH})
    assert trace.troubles.absent == ("irq:softirq_entry", "sched:sched_wakeup")
    assert list(trace.troubles.sentences()) == ["the trace has no irq:softirq_entry and no sched:sched_wakeup"]


def test_events_that_no_catalog_has_are_told_and_their_names_do_not_fill_memory() -> None:
    lines = [line(e=f"a:b{number % 5000}") for number in range(10_000)]
    _, trace = read(HEADER + line() + "".join(lines), NEEDS)
    assert sum(trace.troubles.unknown_events.values()) == 10_000
    assert len(trace.troubles.unknown_events) <= 1001
    (sentence,) = trace.troubles.sentences()
    assert sentence.startswith("events that the catalog does not have: (others) (")


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_version_is_refused(version: Any) -> None:
    with pytest.raises(InputError, match="this ltrules reads version 1"):
        read(json.dumps({"ltrules_trace": version}) + "\n" + line(), NEEDS)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
)
KEYS = st.sampled_from(["t", "e", "cpu", "tid", "comm", "f", "lost", "end", "ltrules_trace", "next_pid", "x"])
NAMES = st.sampled_from(["sched:sched_switch", "sched_switch", "sched:sched_wakeup", "a:b", "../../x", ""])
EVENTS = st.fixed_dictionaries(
    {
        "t": st.integers() | VALUES,
        "e": NAMES | VALUES,
        "cpu": st.integers(0, 3) | VALUES,
        "f": VALUES | st.just(FIELDS),
    },
    optional={"tid": VALUES, "comm": VALUES},
)


@given(st.lists(EVENTS | st.dictionaries(KEYS, VALUES, max_size=8), max_size=20))
@settings(max_examples=150, deadline=None)
def test_any_json_is_read_or_counted(contents: list[Any]) -> None:
    text = HEADER + "".join(json.dumps(content) + "\n" for content in contents)
    events, trace = read(text, NEEDS)
    assert_sound(events, trace.troubles, NEEDS)
    counted = trace.troubles.malformed + trace.troubles.lost_marks + sum(trace.troubles.unknown_events.values())
    assert len(events) + counted <= len(contents)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_bytes_are_read_or_counted(data: st.DataObject) -> None:
    whole = bytearray((HEADER + line() * 5 + line(e="x:y") + '{"lost": 5}\n' + line(t=2)).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(len(HEADER), len(whole)))
        whole[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    events, trace = read(bytes(whole), NEEDS)
    assert_sound(events, trace.troubles, NEEDS)
