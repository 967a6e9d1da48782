"""Bytes of the kernel to alerts, distributions and statistics."""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from bpf_codegen import layout, plan
from ltrules import model
from ltrules.alert import Alert, Distribution
from ltrules.engines.decode import RecordDecoder, bucket_bounds, distribution, group_names, statistic_value
from ltrules.evaluate import wrap
from ltrules.lower import lower
from ltrules.types import Kind, Type
from ltrules.units import format_duration
from support import CATALOG, good_rules

RULE = """
rule read "Slow" {
  meta { severity = critical }
  param limit: duration = 2ms
  in  sys_enter_read key (task.tid, comm = task.comm) capture (fd, prio = 3)
  out sys_exit_read key (task.tid, task.comm) as done capture (ret, ratio = 1ms)
  out sys_exit_write key (task.tid, task.comm) as odd
  thresh limit
  timeout 5ms
  message "{key.comm}: {in.fd} {errno(out.ret)} {outcome} {latency} {late} {limit} {{}} {overdue} {suppressed}"
}
"""


def decoded(kind: int, flags: int, *, fd: int = 7, ret: int = -11, comm: bytes = b"cat", tid: int = 42) -> Alert:
    """Return the alert of one record of RULE."""
    rules = good_rules(RULE)
    planned = lower(rules, CATALOG)
    decoder = RecordDecoder(rules.rules[0], planned.rules[0], {"read.limit": 2_000_000})
    values = (0, kind, 1_000, 3_001_000, 3_000_000, 2_000_000, 4, 1, flags)
    data = struct.pack(layout.record_format(planned.rules[0]), *values, tid, comm, fd, 3, ret, 1_000_000)
    assert decoder.size == len(data)
    return decoder.decode(data, 10**18)


def test_alert_of_a_record() -> None:
    alert = decoded(layout.KIND_ALERT, 0)
    assert (alert.rule, alert.kind, alert.severity, alert.outcome) == ("read", "alert", "critical", "done")
    assert (alert.opened_ns, alert.closed_ns, alert.wall_ns) == (1_000, 3_001_000, 10**18 + 3_001_000)
    assert (alert.latency_ns, alert.limit_ns, alert.suppressed, alert.cpu) == (3_000_000, 2_000_000, 4, 1)
    assert alert.key == {"tid": 42, "comm": "cat"}
    assert alert.captured == {"in": {"fd": 7, "prio": 3}, "out": {"ret": -11, "ratio": 1_000_000}}
    assert alert.message == "cat: 7 EAGAIN done 3ms false 2ms {} 0ns 4"
    assert not alert.late


def test_late_alert_of_the_second_outcome() -> None:
    alert = decoded(layout.KIND_ALERT, layout.FLAG_LATE | 1 << layout.OUTCOME_SHIFT)
    assert alert.late
    assert alert.outcome == "odd"


def test_timeout_has_no_outcome_and_nothing_captured_at_out() -> None:
    alert = decoded(layout.KIND_TIMEOUT, 0)
    assert (alert.kind, alert.outcome, alert.overdue_ns) == ("timeout", "", 1_000_000)
    assert "out" not in alert.captured
    assert " timeout " in alert.message
    assert " 1ms 4" in alert.message


def test_records_of_one_measurement_share_an_id() -> None:
    assert decoded(layout.KIND_ALERT, 0).id == decoded(layout.KIND_TIMEOUT, 0).id
    assert decoded(layout.KIND_ALERT, 0).id != decoded(layout.KIND_ALERT, 0, tid=43).id


def test_text_need_not_be_utf8_or_end() -> None:
    assert decoded(layout.KIND_ALERT, 0, comm=b"\xff" * 16).key["comm"] == "\\xff" * 16


def test_narrow_signed_key_finds_its_sign() -> None:
    rules = good_rules("r: in irq_handler_entry key irq, out irq_handler_exit key irq, thresh 1us")
    planned = lower(rules, CATALOG)
    (irq,) = rules.rules[0].key
    signed = model.Value(irq.name, type(irq.type)(irq.type.kind, True, 4), {})
    narrow = rules.rules[0].__class__(
        **{name: getattr(rules.rules[0], name) for name in rules.rules[0].__slots__} | {"key": (signed,)}
    )
    decoder = RecordDecoder(narrow, planned.rules[0], {})
    data = struct.pack(layout.record_format(planned.rules[0]), 0, 0, 1, 2, 1, 0, 0, 0, 0, 0xFFFF_FFFF)
    assert decoder.decode(data, 0).key == {"irq": -1}


#: Keys and captures of every width, a rule that pairs nothing, and messages that compute.
SHAPES = """
rule wide { in sched_wakeup key (pid, comm, cpu = cpu.id) capture (prio, group = cgroup.id, at = time.mono)
            out sched_switch key (next_pid, next_comm, cpu.id) capture (prev_comm, prev_state) thresh 1us timeout 2us
            message "{in.prio * 2 + key.pid} of {key.comm}, {if(late, 1ms, latency)} {in.at} 100%" }
rule narrow { at irq_handler_entry took 1us key (cpu.id, irq) capture name thresh 1us message "%s {at.name}" }
"""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A record, the rule that it is of, and the values that the kernel put into it."""

    rule: model.Rule
    planned: plan.Rule
    timeout: bool
    key: dict[str, int | str]
    opened: dict[str, int | str]
    closed: dict[str, int | str]
    data: bytes


@st.composite
def any_records(draw: st.DrawFn) -> Drawn:
    rules = good_rules(SHAPES)
    index = draw(st.integers(0, len(rules.rules) - 1))
    rule, planned = rules.rules[index], lower(rules, CATALOG).rules[index]
    packed: list[int | bytes] = []

    def values(parts: tuple[model.Value, ...], extended: bool = True) -> dict[str, int | str]:
        return {part.name: value(part.type, extended) for part in parts}

    def value(sort: Type, extended: bool) -> int | str:
        if sort.kind is Kind.STRING:
            text = draw(st.binary(max_size=sort.size - 1).filter(lambda data: 0 not in data))
            rest = draw(st.sampled_from([b"", b"\0what stood here before"]))
            packed.append((text + rest)[: sort.size])
            return text.decode("utf-8", "backslashreplace")
        bits = 8 * sort.size
        low = -(1 << bits - 1) if sort.signed else 0
        number = draw(st.integers(low, low + (1 << bits) - 1))
        packed.append(number if extended or bits == 64 else number & (1 << bits) - 1)
        return number

    key, opened, closed = values(rule.key, extended=False), values(rule.opened), values(rule.closed)
    timeout = draw(st.booleans())
    kind = layout.KIND_TIMEOUT if timeout else layout.KIND_ALERT
    data = struct.pack(layout.record_format(planned), index, kind, 10, 5_010, 5_000, 1_000, 0, 3, 1, *packed)
    return Drawn(rule, planned, timeout, key, opened, closed, data)


@given(any_records())
def test_values_come_out_as_they_went_in(drawn: Drawn) -> None:
    found = RecordDecoder(drawn.rule, drawn.planned, {}).decode(drawn.data, 10**18)
    assert found.kind == ("timeout" if drawn.timeout else "alert")
    assert found.key == drawn.key
    ends = {"in": drawn.opened, "out" if drawn.rule.pairs else "at": {} if drawn.timeout else drawn.closed}
    assert found.captured == {end: values for end, values in ends.items() if values}
    if drawn.rule.name == "narrow":
        assert found.message == f"%s {drawn.closed['name']}"
    else:
        total = wrap(2 * int(drawn.opened["prio"]) + int(drawn.key["pid"]))
        at = format_duration(int(drawn.opened["at"]))
        assert found.message == f"{total} of {drawn.key['comm']}, 1ms {at} 100%"


def test_an_outcome_beyond_those_of_the_rule_is_none() -> None:
    assert decoded(layout.KIND_ALERT, 7 << layout.OUTCOME_SHIFT).outcome == ""


# ------------------------------------------------------------------------------- the numbers
LOG2 = plan.Histogram("latency", plan.Latency(), plan.Group("all", (), ()), unsigned=True)
STARTS = [bucket_bounds(LOG2, i)[0] for i in range(plan.BUCKETS)]


def of_values(values: list[int], cpus: int = 3) -> Distribution:
    """Return the distribution of values that came in turn on some CPUs."""
    rows = [[0] * plan.BUCKETS + [0, 0] for _ in range(cpus)]
    for i, value in enumerate(values):
        row = rows[i % cpus]
        row[bisect_right(STARTS, value) - 1] += 1
        row[-2] += value
        row[-1] = max(row[-1], value)
    fmt = layout.histogram_format(LOG2)
    return distribution(LOG2, (), b"".join(struct.pack(fmt, *row) for row in rows))


@given(st.lists(st.integers(0, 10**12) | st.integers(0, 10**6), min_size=1, max_size=300), st.floats(0, 100))
def test_percentiles_are_less_than_5_percent_off(values: list[int], percent: float) -> None:
    found = of_values(values).percentile(percent)
    exact = sorted(values)[max(1, -int(-len(values) * percent // 100)) - 1]
    assert abs(found - exact) <= exact * 0.05


@given(st.lists(st.integers(0, 10**12), max_size=100))
def test_totals_are_exact(values: list[int]) -> None:
    found = of_values(values)
    assert (found.count, found.total, found.greatest) == (len(values), sum(values), max(values, default=0))
    assert sum(n for _, _, n in found.buckets) == len(values)
    assert found.percentile(100) <= found.greatest
    assert [b[0] for b in found.buckets] == sorted(b[0] for b in found.buckets)


def test_percentile_of_nothing_is_zero() -> None:
    assert of_values([]).percentile(50) == 0


def test_statistics_over_all_cpus() -> None:
    half, whole = 1 << 63, 1 << 64
    rows = [(2, whole - 7, half - 9, half + 2), (0, 0, 0, 0), (3, 30, half + 5, half + 20)]
    data = b"".join(struct.pack(layout.STATISTIC, *row) for row in rows)
    found = {f: statistic_value(f, data) for f in ("count", "sum", "avg", "min", "max")}
    assert found == {"count": 5, "sum": 23, "avg": 4, "min": -9, "max": 20}
    found = {f: statistic_value(f, data, unsigned=True) for f in ("sum", "min", "max")}
    assert found == {"sum": 23, "min": half - 9, "max": half + 20}
    assert statistic_value("min", struct.pack(layout.STATISTIC, 0, 0, 0, 0)) is None


def test_names_of_groups() -> None:
    text = "r: in sys_enter_read key task.tid capture fd, out sys_exit_read key task.tid capture ret as done," \
           " hist latency by (task = task_comm, outcome)"  # fmt: skip
    text = text.replace("task = task_comm", "errno(out.ret), in.fd")
    rules = good_rules(text)
    (histogram,) = rules.rules[0].histograms
    group = lower(rules, CATALOG).rules[0].groups[0]
    key = struct.pack("=" + layout.member_format(group.members), -2, 9, 0)
    names = group_names(group, histogram.by, rules.rules[0].outcomes, iter([(key, struct.pack("=I", 1))]))
    assert names == {0: ("(other)",) * 3, 1: ("ENOENT", "9", "done")}
