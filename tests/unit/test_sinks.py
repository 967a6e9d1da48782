"""What runs print: lines for people, records for programs, the numbers at the end, and losses in words."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltrules.alert import (
    Alert,
    Column,
    Distribution,
    Heading,
    HistogramStats,
    RuleStats,
    Scalar,
    StatisticStats,
    Stats,
)
from ltrules.sinks import FORMATS, JsonlSink, TextSink, make_sink
from ltrules.sinks.jsonl import summary_record
from ltrules.sinks.summary import loss_sentences, octaves, summary_lines

FIELDS: dict[str, Any] = {
    "opened_ns": 1_000_000, "closed_ns": 3_500_000, "wall_ns": 1_700_000_000_123_456_789, "latency_ns": 2_500_000,
    "limit_ns": 1_000_000, "outcome": "out", "late": False, "cpu": 1, "suppressed": 0, "message": "",
}  # fmt: skip


def alert(
    rule: str = "wakeup",
    kind: str = "alert",
    severity: str = "warning",
    key: Mapping[str, Scalar] = {"pid": 42},
    captured: Mapping[str, Mapping[str, Scalar]] = {"in": {"prio": 120}, "out": {"comm": "fio"}},
    symbols: Mapping[str, Mapping[int, str]] = {},
    **changes: Any,
) -> Alert:
    """Return an alert of some values by name; `symbols` maps "key.pid" to the names of its values."""
    scopes = {"key": key, **captured}
    columns = tuple(
        Column(scope, name, isinstance(value, str), symbols.get(f"{scope}.{name}", {}))
        for scope, values in scopes.items()
        for name, value in values.items()
    )
    row = tuple(value for values in scopes.values() for value in values.values())
    return Alert(heading=Heading(rule, kind, severity, columns), values=row, **FIELDS | changes)


ALERT = alert()
COUNTERS = {
    "opened": 10, "closed": 4, "cancelled": 1, "replaced": 2, "expired": 1, "refused": 0, "pending": 2, "kept": 0,
    "unmatched": 3, "clock_skew": 0, "alerts": 3, "timeouts": 1, "suppressed": 0, "lost": 0, "delivered": 4,
}  # fmt: skip
LATENCY = Distribution((), ((1000, 1100, 2), (4000, 4500, 1), (70_000, 80_000, 1)), 4, 78_100, 72_000)
EMPTY = Distribution((), (), 0, 0, 0)


@pytest.fixture(autouse=True)
def utc() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def rule(**changes: int) -> RuleStats:
    return RuleStats("wakeup", COUNTERS | changes, LATENCY, (), ())


def stats(*rules: RuleStats, missed: dict[str, int] | None = None) -> Stats:
    return Stats("libbpf", rules or (rule(),), missed or {})


def lines(*alerts: Alert, color: bool = False, quiet: bool = True) -> list[str]:
    out, err = io.StringIO(), io.StringIO()
    TextSink(out, err, color=color, quiet=quiet).alerts(alerts)
    assert err.getvalue() == ""
    return out.getvalue().splitlines()


# --------------------------------------------------------------------------- alerts as text
def test_an_alert_is_a_line() -> None:
    assert lines(ALERT, quiet=False) == [
        "TIME            RULE       LATENCY  KEY AND CAPTURES",
        "22:13:20.123456 wakeup       2.5ms  pid=42 prio=120 comm=fio",
    ]


def test_the_head_comes_once_and_never_when_quiet() -> None:
    out = io.StringIO()
    sink = TextSink(out, io.StringIO(), color=False, quiet=False)
    sink.alerts([])
    assert out.getvalue() == ""
    sink.alerts([ALERT])
    sink.alerts([ALERT, ALERT])
    assert [line.startswith("TIME") for line in out.getvalue().splitlines()] == [True, False, False, False]
    assert len(lines(ALERT)) == 1


def test_columns_stay_aligned_for_long_names_and_latencies() -> None:
    rows = lines(ALERT, alert(rule="rt_wakeup_latency", latency_ns=999), alert(rule="x", latency_ns=123_456_789_012))
    assert [row.index("pid=42") for row in rows] == [45, 45, 45]
    assert [row[34:43] for row in rows] == ["    2.5ms", "    999ns", "    2.06m"]


def test_ordinary_alerts_are_under_100_columns() -> None:
    captured = {"in": {"prio": 139}, "out": {"comm": "kworker/u256:31"}}
    late = alert(rule="rt_wakeup", key={"pid": 4194304}, captured=captured, late=True)
    assert len(lines(late)[0]) < 100
    message = "kworker/u256:31/4194304 prio 139 waited for cpu 127"
    assert len(lines(alert(message=message, rule="rt_wakeup"))[0]) < 100


def test_a_message_takes_the_place_of_key_and_captures() -> None:
    assert lines(alert(message="fio waited {for} cpu"))[0].endswith("2.5ms  fio waited {for} cpu")


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"kind": "timeout"}, "   >2.5ms  pid=42 prio=120 comm=fio  (still open)"),
        ({"kind": "timeout", "late": True}, "   >2.5ms  pid=42 prio=120 comm=fio  (ended after its timeout)"),
        ({"late": True}, "    2.5ms  pid=42 prio=120 comm=fio  (late)"),
        ({"suppressed": 3}, "    2.5ms  pid=42 prio=120 comm=fio  (3 more not shown)"),
        ({"late": True, "suppressed": 3}, "  (late, 3 more not shown)"),
        ({"outcome": "gone"}, "    2.5ms  pid=42 prio=120 comm=fio [gone]"),
        ({"outcome": "at"}, "    2.5ms  pid=42 prio=120 comm=fio"),
        ({"symbols": {"key.pid": {42: "fio/42"}, "in.prio": {1: "x"}}}, "    2.5ms  pid=fio/42 prio=120 comm=fio"),
        ({"captured": {"in": {"cpu": 0}, "out": {"cpu": 1}}}, "    2.5ms  pid=42 in.cpu=0 out.cpu=1"),
        ({"captured": {"in": {"pid": 7}}}, "    2.5ms  pid=42 in.pid=7"),
        ({"captured": {}}, "    2.5ms  pid=42"),
    ],
)
def test_what_is_said_of_an_alert(changes: dict[str, Any], wanted: str) -> None:
    assert lines(alert(**changes))[0].endswith(wanted)


@pytest.mark.parametrize("evil", ["\x1b[31mred", "a\nb", "a\rb", "\x00", "\x9b2J", "\u202eabc", "\u2028"])
def test_names_of_processes_cannot_play_tricks(evil: str) -> None:
    for found in (
        alert(captured={"out": {"comm": evil}}),
        alert(message=f"by {evil}"),
        alert(key={"comm": evil}),
        alert(symbols={"key.pid": {42: evil}}),
    ):
        for color in (False, True):
            (line,) = lines(found, color=color)
            assert line.replace("\x1b[33m", "").replace("\x1b[0m", "").isprintable()


def test_colour_by_severity() -> None:
    assert "\x1b" not in lines(ALERT)[0]
    assert "\x1b[33m    2.5ms\x1b[0m" in lines(ALERT, color=True)[0]
    assert "\x1b[31m" in lines(alert(severity="critical"), color=True)[0]


# --------------------------------------------------------------------------- alerts as JSON
def record_of(alert: Alert) -> Any:
    """Return the record of the line that an alert is written as."""
    out = io.StringIO()
    JsonlSink(out, io.StringIO(), quiet=True).alerts([alert])
    return json.loads(out.getvalue())


def test_a_record_has_the_names_of_the_documentation() -> None:
    assert record_of(ALERT) == {
        "type": "alert", "id": "wakeup-f4240-42", "rule": "wakeup", "kind": "alert", "severity": "warning",
        "time": "2023-11-14T22:13:20.123456789Z", "opened": 1_000_000, "closed": 3_500_000, "latency_ns": 2_500_000,
        "thresh_ns": 1_000_000, "outcome": "out", "late": False, "cpu": 1, "key": {"pid": 42},
        "captured": {"in": {"prio": 120}, "out": {"comm": "fio"}}, "suppressed": 0, "message": "",
    }  # fmt: skip


def test_a_timeout_names_its_limit() -> None:
    record = record_of(alert(kind="timeout"))
    assert record["timeout_ns"] == 1_000_000
    assert "thresh_ns" not in record


def test_every_alert_is_one_line_of_json() -> None:
    out, err = io.StringIO(), io.StringIO()
    sink = make_sink("json", out, err, color=True, quiet=False)
    evil = alert(message='a\nb"\x1b\u2028', key={"comm": "\x1b[2J"})
    sink.alerts([])
    sink.alerts([ALERT, evil])
    sink.summary(stats())
    rows = [json.loads(row) for row in out.getvalue().split("\n")[:-1]]
    assert [row["type"] for row in rows] == ["alert", "alert", "summary"]
    assert rows[1]["message"] == 'a\nb"\x1b\u2028'
    assert "\x1b" not in out.getvalue()
    assert err.getvalue() == ""


TEXTS = st.text(st.characters(codec=None) | st.sampled_from('%"\\\x1b\x7f\u2028\udcff'), max_size=12)
TEXTS |= st.sampled_from(['"%d"', "%d", "%s", "%%"])
NUMBERS = st.integers(-(2**63), 2**64 - 1)


@st.composite
def any_alerts(draw: st.DrawFn) -> Alert:
    """Draw alerts with the wildest names and values."""
    values = st.dictionaries(TEXTS, TEXTS | NUMBERS, max_size=4)
    fields = {
        "opened_ns": draw(st.integers(0, 2**63)), "closed_ns": draw(NUMBERS), "latency_ns": draw(NUMBERS),
        "limit_ns": draw(NUMBERS), "outcome": draw(TEXTS), "late": draw(st.booleans()), "cpu": draw(NUMBERS),
        "suppressed": draw(NUMBERS), "message": draw(TEXTS), "wall_ns": draw(st.integers(0, 2**63)),
    }  # fmt: skip
    captured = {scope: some for scope in ("in", "out", "at") if (some := draw(values))}
    kind, severity = draw(st.sampled_from(["alert", "timeout"])), draw(TEXTS)
    return alert(draw(TEXTS), kind, severity, draw(values), captured, **fields)


@given(st.lists(any_alerts(), min_size=1, max_size=3))
def test_lines_are_what_the_json_library_writes(alerts: list[Alert]) -> None:
    out = io.StringIO()
    JsonlSink(out, io.StringIO(), quiet=True).alerts(alerts)
    assert out.getvalue() == "".join(json.dumps(as_record(a), ensure_ascii=False) + "\n" for a in alerts)


def as_record(alert: Alert) -> dict[str, Any]:
    seconds, ns = divmod(alert.wall_ns, 10**9)
    limit = "thresh_ns" if alert.kind == "alert" else "timeout_ns"
    return {
        "type": "alert", "id": alert.id, "rule": alert.rule, "kind": alert.kind, "severity": alert.severity,
        "time": f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%S}.{ns:09}Z",
        "opened": alert.opened_ns, "closed": alert.closed_ns, "latency_ns": alert.latency_ns, limit: alert.limit_ns,
        "outcome": alert.outcome, "late": alert.late, "cpu": alert.cpu, "key": alert.key, "captured": alert.captured,
        "suppressed": alert.suppressed, "message": alert.message,
    }  # fmt: skip


def test_each_batch_is_flushed() -> None:
    class Counting(io.StringIO):
        flushes = 0

        def flush(self) -> None:
            self.flushes += 1

    for sink_of in (TextSink, JsonlSink):
        out = Counting()
        if sink_of is TextSink:
            TextSink(out, out, color=False, quiet=True).alerts([ALERT])
        else:
            JsonlSink(out, out, quiet=True).alerts([ALERT])
        assert out.flushes == 1


def test_formats() -> None:
    made = [make_sink(form, io.StringIO(), io.StringIO(), color=False, quiet=False) for form in FORMATS]
    assert [type(sink) for sink in made] == [TextSink, JsonlSink]


# ---------------------------------------------------------------------------------- summary
def test_summary_record() -> None:
    histogram = HistogramStats("waits", "duration", False, ("prio",), (dataclasses.replace(LATENCY, group=("120",)),))
    statistic = StatisticStats("runs", "count", "int", ("comm",), ((("fio",), 3), (("",), 1)))
    one = dataclasses.replace(rule(), histograms=(histogram,), statistics=(statistic,))
    numbers = {"count": 4, "sum": 78_100, "p50": 1049, "p90": 72_000, "p99": 72_000, "max": 72_000}
    record = json.loads(json.dumps(summary_record(stats(one, missed={"sched:x": 2}))))
    assert record == {
        "type": "summary",
        "engine": "libbpf",
        "rules": {
            "wakeup": {
                "counters": COUNTERS,
                "balanced": True,
                "latency_ns": numbers,
                "histograms": {
                    "waits": {
                        "unit": "duration", "by": ["prio"],
                        "groups": [
                            {
                                "group": ["120"], **numbers,
                                "buckets": [[1000, 1100, 2], [4000, 4500, 1], [70_000, 80_000, 1]],
                            }
                        ],
                    }
                },
                "stats": {
                    "runs": {
                        "function": "count", "unit": "int", "by": ["comm"],
                        "groups": [{"group": ["fio"], "value": 3}, {"group": [""], "value": 1}],
                    }
                },
            }
        },
        "missed": {"sched:x": 2},
        "losses": ["sched:x: 2 events missed, another program ran on that CPU"],
    }  # fmt: skip


def test_summary_for_people() -> None:
    assert summary_lines(stats()) == [
        "",
        "wakeup: 10 opened = 4 closed + 1 cancelled + 2 replaced + 1 expired + 2 pending",
        "  3 alerts, 1 timeout; 3 unmatched",
        "  latency: p50 1.05us  p90 72us  p99 72us  max 72us  (4 measured)",
        "",
        "  latency  (4; p50 1.05us, p99 72us, max 72us)",
        "         512ns - 1.02us         2 |########################################|",
        "        1.02us - 2.05us         0 |                                        |",
        "         2.05us - 4.1us         1 |####################                    |",
        "         4.1us - 8.19us         0 |                                        |",
        "        8.19us - 16.4us         0 |                                        |",
        "        16.4us - 32.8us         0 |                                        |",
        "        32.8us - 65.5us         0 |                                        |",
        "         65.5us - 131us         1 |####################                    |",
        "",
        "Nothing was lost.",
    ]


def test_a_brief_summary_draws_nothing() -> None:
    assert [line for line in summary_lines(stats(), brief=True) if "|" in line] == []


def test_summary_of_nothing() -> None:
    idle = RuleStats("idle", dict.fromkeys(COUNTERS, 0), EMPTY, (), ())
    assert summary_lines(stats(idle)) == ["", "idle: 0 opened = 0", "  0 alerts, 0 timeouts", "", "Nothing was lost."]


def test_histograms_and_statistics_for_people() -> None:
    linear = HistogramStats(
        "depth", "int", True, (), (Distribution((), ((0, 10, 1), (10, 20, 0), (20, 30, 40)), 41, 900, 29),)
    )
    sizes = HistogramStats(
        "bytes", "size", False, ("dev",),
        tuple(Distribution((f"d{i}",), ((4096, 8192, 1),), 1, 4096, 4096) for i in range(10)),
    )  # fmt: skip
    statistic = StatisticStats("worst", "max", "duration", (), (((), 1_500_000),))
    groups = StatisticStats("n", "count", "int", ("x",), tuple(((str(i),), 100 - i) for i in range(20)))
    one = dataclasses.replace(rule(), histograms=(linear, sizes), statistics=(statistic, groups))
    text = summary_lines(stats(one))
    assert "                 0 - 10         1 |#                                       |" in text
    assert "                20 - 30        40 |########################################|" in text
    assert "  bytes: d0  (1; p50 4KiB, p99 4KiB, max 4KiB)" in text
    assert "  … and 2 more groups with 2 measurements" in text
    assert "    all                                   1.5ms" in text
    assert "    … and 4 more groups" in text
    assert max(map(len, text)) < 100


def test_groups_in_the_summary_cannot_play_tricks() -> None:
    group = dataclasses.replace(LATENCY, group=("\x1b[31m",))
    one = dataclasses.replace(
        rule(),
        histograms=(HistogramStats("h", "duration", False, ("comm",), (group,)),),
        statistics=(StatisticStats("s", "count", "int", ("comm",), ((("a\x1bb\n",), 1),)),),
    )
    assert all(line.isprintable() for line in summary_lines(stats(one)))


@pytest.mark.parametrize(
    ("buckets", "wanted"),
    [
        ((), []),
        (((0, 1, 2),), [(0, 1, 2)]),
        (((1, 2, 1), (2, 3, 2), (3, 4, 3)), [(1, 2, 1), (2, 4, 5)]),
        (((1, 2, 1), (8, 9, 2)), [(1, 2, 1), (2, 4, 0), (4, 8, 0), (8, 16, 2)]),
    ],
)
def test_octaves(buckets: Any, wanted: Any) -> None:
    assert octaves(buckets) == wanted


@pytest.mark.parametrize(
    ("counters", "wanted"),
    [
        ({}, []),
        (
            {"refused": 1, "opened": 11},
            ["wakeup: 1 measurement refused for want of room; raise `inflight`"],
        ),
        (
            {"lost": 2, "delivered": 2},
            ["wakeup: 2 alerts lost, made faster than they were read"],
        ),
        ({"delivered": 3}, ["wakeup: 1 alert made but not delivered"]),
        ({"opened": 11}, ["wakeup: the numbers do not add up; this is a bug in ltrules"]),
    ],
)
def test_losses_are_said_in_words(counters: dict[str, int], wanted: list[str]) -> None:
    found = stats(rule(**counters))
    assert loss_sentences(found) == wanted
    assert summary_lines(found)[-1] == (f"warning: {wanted[-1]}" if wanted else "Nothing was lost.")
    err = io.StringIO()
    JsonlSink(io.StringIO(), err, quiet=False).summary(found)
    assert err.getvalue() == "".join(f"ltrules: {sentence}\n" for sentence in wanted)


def test_the_summary_goes_beside_the_alerts() -> None:
    out, err = io.StringIO(), io.StringIO()
    TextSink(out, err, color=False, quiet=False).summary(stats())
    assert out.getvalue() == ""
    assert err.getvalue().splitlines() == summary_lines(stats())
