"""Compare what some rules made with what a test expects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ltrules.alert import Alert, Scalar, Stats
from ltrules.cases import Case, Expectation, Wanted


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one expectation: `made` reports matched it, or that is what its counter says.

    `nearest` is the report that has most of what was wanted, where none had all, and `differences` what it has instead.
    """

    expectation: Expectation
    made: int
    nearest: Alert | None = None
    differences: tuple[tuple[Wanted, Scalar | None], ...] = ()

    @property
    def passed(self) -> bool:
        count = self.expectation.count
        return self.made > 0 if count is None else self.made == count


def judge(case: Case, reports: tuple[Alert, ...], stats: Stats, start_ns: int) -> tuple[Verdict, ...]:
    """Return a verdict for each expectation; times are counted from `start_ns`."""
    return tuple(
        _of_reports(expectation, reports, start_ns) if expectation.of_reports else _of_counter(expectation, stats)
        for expectation in case.expectations
    )


def value_of(report: Alert, wanted: Wanted, start_ns: int) -> Scalar | None:
    """Return what a report has where a value is wanted; None if there is nothing of that name."""
    if wanted.where == "key":
        return report.key.get(wanted.name)
    if wanted.where:
        return report.captured.get(wanted.where, {}).get(wanted.name)
    return own_values(report, start_ns)[wanted.name]


def own_values(report: Alert, start_ns: int) -> dict[str, Scalar]:
    """Return what a report knows of itself, by the names that tests use."""
    return {
        "at": report.closed_ns - start_ns,
        "opened": report.opened_ns - start_ns,
        "latency": report.latency_ns,
        "overdue": report.overdue_ns,
        "late": int(report.late),
        "suppressed": report.suppressed,
        "outcome": report.outcome,
        "cpu": report.cpu,
        "severity": report.severity,
        "message": report.message,
    }


def _of_counter(expectation: Expectation, stats: Stats) -> Verdict:
    return Verdict(
        expectation, sum(rule.counters[expectation.kind] for rule in stats.rules if rule.rule in expectation.wanted)
    )


def _of_reports(expectation: Expectation, reports: tuple[Alert, ...], start_ns: int) -> Verdict:
    meant = [r for r in reports if r.kind == expectation.kind and r.rule in expectation.wanted]
    differing = [tuple(_differences(expectation, report, start_ns)) for report in meant]
    made = differing.count(())
    if made or not meant or expectation.count == 0:
        return Verdict(expectation, made)
    # One of another key is a report of something else, however much it has in common.
    nearest = min(range(len(meant)), key=lambda i: (any(w.where == "key" for w, _ in differing[i]), len(differing[i])))
    return Verdict(expectation, made, meant[nearest], differing[nearest])


def _differences(expectation: Expectation, report: Alert, start_ns: int) -> Iterator[tuple[Wanted, Scalar | None]]:
    for wanted in expectation.wanted[report.rule]:
        value = value_of(report, wanted, start_ns)
        if value != wanted.value:
            yield wanted, value
