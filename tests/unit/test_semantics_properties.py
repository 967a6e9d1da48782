"""What holds for all rules and all events: random ones, beside a plain account of every measurement's life."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from ltrules.alert import Alert, Stats
from ltrules.semantics import Reference
from ltrules.traces import TraceEvent
from support import good_rules

WAKEUP, SWITCH, EXIT = "sched:sched_wakeup", "sched:sched_switch", "sched:sched_process_exit"


@dataclass(frozen=True)
class Spec:
    """A rule in which all that pairs events may occur. Times are in us; None stands for a clause that is not there."""

    in_below: int | None  # in … where prio < N
    second_in: bool
    out_below: int | None  # out … where next_prio < N
    out_late: int | None  # … and in.prio + N > next_prio
    second_out: int | None  # another out at the same event, where latency > N
    cancel_after: int | None  # cancel … where latency >= N
    when_below: int | None
    thresh: int | None
    timeout: int | None
    drop: bool
    expire: int
    inflight: int
    evict: bool
    keep: bool

    def text(self, name: str = "r") -> str:
        """Return the rule."""

        def clause(form: str, value: int | None) -> str:
            return "" if value is None else form.format(value)

        wheres = [clause("next_prio < {}", self.out_below), clause("in.prio + {} > next_prio", self.out_late)]
        where = " and ".join(filter(None, wheres))
        return f"""rule {name} {{
          in sched_wakeup key pid {clause("where prio < {}", self.in_below)} capture prio
          {"in sched_switch key prev_pid where prev_state == 0 capture prio = prev_prio" if self.second_in else ""}
          out sched_switch key next_pid {f"where {where}" if where else ""} as first
          {clause("out sched_switch key next_pid where latency > {}us as second", self.second_out)}
          cancel sched_process_exit key pid {clause("where latency >= {}us", self.cancel_after)}
          {clause("when latency < {}us", self.when_below)}
          {clause("thresh {}us", self.thresh)}
          {clause("timeout {}us" + (" drop" if self.drop else ""), self.timeout)}
          expire {self.expire}us
          inflight {self.inflight} {"evict" if self.evict else ""}
          duplicate {"keep" if self.keep else "replace"}
          rate 1000000 per 1h
          hist latency
        }}
        """

    @property
    def lifetime(self) -> int:
        """Return how many ns a measurement may live."""
        return 1000 * (self.timeout if self.timeout is not None and self.drop else self.expire)


def few(low: int, high: int) -> st.SearchStrategy[int | None]:
    return st.none() | st.integers(low, high)


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    timeout = draw(few(0, 12))
    return Spec(
        in_below=draw(few(1, 4)),
        second_in=draw(st.booleans()),
        out_below=draw(few(1, 4)),
        out_late=draw(few(0, 3)),
        second_out=draw(few(0, 6)),
        cancel_after=draw(few(0, 6)),
        when_below=draw(few(1, 15)),
        thresh=draw(few(0, 10)),
        timeout=timeout,
        drop=draw(st.booleans()),
        expire=draw(st.integers(timeout or 1, 30)),
        inflight=draw(st.sampled_from([1, 2, 3, 100])),
        evict=draw(st.booleans()),
        keep=draw(st.booleans()),
    )


_GAPS = (0, 0, 1, 1, 1000, 1000, 2000, 4000)
_NAMES = (WAKEUP, WAKEUP, WAKEUP, SWITCH, SWITCH, SWITCH, SWITCH, EXIT)


@st.composite
def streams(draw: st.DrawFn) -> list[TraceEvent]:
    """Events in the order of time, often at one time or exactly at a limit; each is made of the bits of a number."""
    events, now = [], 0
    for bits in draw(st.lists(st.integers(0, (1 << 15) - 1), min_size=30, max_size=80)):
        gap, name, state = _GAPS[bits & 7], _NAMES[bits >> 3 & 7], bits >> 6 & 1
        pid, prio, other, other_prio = (bits >> shift & 3 for shift in (7, 9, 11, 13))
        now += gap
        fields = {"pid": pid, "prio": prio}
        if name == SWITCH:
            fields = {"next_pid": pid, "next_prio": prio, "prev_pid": other, "prev_prio": other_prio}
            fields["prev_state"] = state
        events.append(TraceEvent(now, name, state, {}, fields))
    return events


# ------------------------------------------------------------------------------------- the account
@dataclass(eq=False)
class Life:
    """One measurement: when it began, and when and how it ended, if it did."""

    key: int
    prio: int
    began: int
    ended: int | None = None


Report = tuple[str, int, int, int, int, str, bool]


def account(spec: Spec, events: Sequence[TraceEvent]) -> tuple[list[Report], Counter[str]]:
    """Return what is to be reported, and counted: lives first, and the timeouts as their definition has them."""
    lives: list[Life] = []
    counts: Counter[str] = Counter()
    reports: list[Report] = []
    now = 0

    def alive() -> list[Life]:
        return [life for life in lives if life.ended is None]

    def of(key: int) -> Life | None:
        return next((life for life in alive() if life.key == key), None)

    def end(life: Life, why: str) -> None:
        life.ended = now
        counts[why] += 1

    def close(life: Life, outcome: str) -> None:
        end(life, "closed")
        latency = now - life.began
        if spec.when_below is not None and latency >= 1000 * spec.when_below:
            return
        counts["measured"] += 1
        if spec.thresh is not None and latency > 1000 * spec.thresh:
            late = spec.timeout is not None and latency > 1000 * spec.timeout
            reports.append(("alert", life.key, life.began, now, latency, outcome, late))

    def out(fields: dict[str, int]) -> None:
        life = of(fields["next_pid"])
        if spec.out_below is None or fields["next_prio"] < spec.out_below:
            if life is None:
                counts["unmatched"] += 1
            elif spec.out_late is None or life.prio + spec.out_late > fields["next_prio"]:
                close(life, "first")
        if spec.second_out is not None:
            life = of(fields["next_pid"])
            if life is None:
                counts["unmatched"] += 1
            elif now - life.began > 1000 * spec.second_out:
                close(life, "second")

    def begin(key: int, prio: int) -> None:
        old = of(key)
        if old is not None and spec.keep:
            counts["kept"] += 1
            return
        counts["opened"] += 1
        if old is not None:
            end(old, "replaced")
        elif len(alive()) >= spec.inflight:
            if not spec.evict:
                counts["refused"] += 1
                return
            end(alive()[0], "refused")
        lives.append(Life(key, prio, now))

    for event in events:
        now = event.time_ns
        fields = {k: int(v) for k, v in event.fields.items()}
        for life in alive():
            if now - life.began > spec.lifetime:
                end(life, "expired")
        if event.name == SWITCH:
            out(fields)
            if spec.second_in and fields["prev_state"] == 0:
                begin(fields["prev_pid"], fields["prev_prio"])
        elif event.name == WAKEUP and (spec.in_below is None or fields["prio"] < spec.in_below):
            begin(fields["pid"], fields["prio"])
        elif event.name == EXIT:
            found = of(fields["pid"])
            if found is not None and now - found.began >= 1000 * (spec.cancel_after or 0):
                end(found, "cancelled")
    if spec.timeout is not None:
        limit = 1000 * spec.timeout
        for life in lives:
            if (now if life.ended is None else life.ended) - life.began > limit:
                reports.append(("timeout", life.key, life.began, life.began + limit, limit, "", False))
    counts["pending"] = len(alive())
    return sorted(reports), +counts


def report_of(alert: Alert) -> Report:
    (key,) = alert.key.values()
    return (
        alert.kind, int(key), alert.opened_ns, alert.closed_ns, alert.latency_ns, alert.outcome, alert.late
    )  # fmt: skip


def run(text: str, events: Sequence[TraceEvent]) -> tuple[list[Alert], Stats]:
    reference = Reference(good_rules(text))
    alerts = [alert for event in events for alert in reference.feed(event)] + reference.finish()
    return alerts, reference.stats()


# -------------------------------------------------------------------------------------- properties
@settings(max_examples=150, deadline=None)
@given(specs(), streams())
def test_reports_and_counters_are_those_of_the_account(spec: Spec, events: list[TraceEvent]) -> None:
    alerts, stats = run(spec.text(), events)
    reports, counts = account(spec, events)
    assert sorted(map(report_of, alerts)) == reports
    (rule,) = stats.rules
    measured = counts.pop("measured", 0)
    assert {k: n for k, n in rule.counters.items() if n and k not in ("alerts", "timeouts", "delivered")} == counts
    assert rule.latency.count == rule.histograms[0].groups[0].count if measured else not rule.histograms[0].groups
    assert rule.latency.count == measured
    assert rule.balanced


@settings(max_examples=80, deadline=None)
@given(specs(), streams())
def test_no_report_breaks_its_promise(spec: Spec, events: list[TraceEvent]) -> None:
    """Nothing at or under the threshold, one timeout at most for each measurement, all in the order of time."""
    alerts, stats = run(spec.text(), events)
    (rule,) = stats.rules
    c = rule.counters
    assert c["opened"] == sum(c[k] for k in ("closed", "cancelled", "replaced", "expired", "refused", "pending"))
    assert c["alerts"] + c["timeouts"] == c["delivered"] + c["lost"] == len(alerts)
    assert all(a.latency_ns > a.limit_ns for a in alerts if a.kind == "alert")
    assert all(a.latency_ns == a.closed_ns - a.opened_ns for a in alerts)
    # A key may be opened twice at one time: the first of the two lived for no time.
    timeouts = Counter(a.id for a in alerts if a.kind == "timeout")
    assert not timeouts or max(timeouts.values()) == 1 or spec.timeout == 0
    assert all(a.id in timeouts for a in alerts if a.kind == "alert" and a.late)
    times = [a.closed_ns for a in alerts]
    assert times == sorted(times)


@settings(max_examples=50, deadline=None)
@given(st.lists(specs(), min_size=2, max_size=4), streams())
def test_rules_do_not_influence_each_other(several: list[Spec], events: list[TraceEvent]) -> None:
    texts = [spec.text(f"r{i}") for i, spec in enumerate(several)]
    together, stats = run("".join(texts), events)
    for i, text in enumerate(texts):
        alone, own = run(text, events)
        assert [a for a in together if a.rule == f"r{i}"] == alone
        assert stats.rules[i] == own.rules[0]


@settings(max_examples=80, deadline=None)
@given(specs(), streams(), st.data())
def test_when_the_clock_is_looked_at_makes_no_difference(
    spec: Spec, events: list[TraceEvent], data: st.DataObject
) -> None:
    """Neither looking at it between two events, nor reading the numbers there, changes anything."""
    whole, stats = run(spec.text(), events)
    reference = Reference(good_rules(spec.text()))
    alerts: list[Alert] = []
    now = 0
    for event in events:
        for _ in range(data.draw(st.integers(0, 2))):
            alerts += reference.advance(data.draw(st.integers(now, event.time_ns)))
            reference.stats()
        now = event.time_ns
        alerts += reference.feed(event)
    alerts += reference.finish()
    assert alerts == whole
    assert reference.stats() == stats


@settings(max_examples=80, deadline=None)
@given(specs(), streams())
def test_events_in_the_wrong_order_are_accounted_for_too(spec: Spec, events: list[TraceEvent]) -> None:
    """Exact it cannot be then: but nothing is lost, and no timeout is told twice."""
    shuffled = [event for pair in zip(events[1::2], events[::2], strict=False) for event in pair]
    alerts, stats = run(spec.text(), shuffled)
    (rule,) = stats.rules
    assert rule.balanced
    assert all(a.latency_ns > a.limit_ns for a in alerts if a.kind == "alert")
    assert all(a.latency_ns >= a.limit_ns for a in alerts)


@settings(max_examples=50, deadline=None)
@given(specs(), streams(), st.integers(0, 3), st.integers(1, 12))
def test_rate_holds_back_and_says_how_many(spec: Spec, events: list[TraceEvent], most: int, period_us: int) -> None:
    text = spec.text().replace("rate 1000000 per 1h", f"param most: int = {most} rate most per {period_us}us")
    free, _ = run(spec.text(), events)
    held, stats = run(text, events)
    (rule,) = stats.rules
    assert set(map(report_of, held)) <= set(map(report_of, free))
    assert len(held) + rule.counters["suppressed"] == len(free)
    through = Counter(a.closed_ns // (1000 * period_us) for a in held)
    wanted = Counter(a.closed_ns // (1000 * period_us) for a in free)
    assert through == +Counter({period: min(count, most) for period, count in wanted.items()})
    assert sum(a.suppressed for a in held) <= rule.counters["suppressed"]
