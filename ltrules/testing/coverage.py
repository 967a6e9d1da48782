"""What no test reached: clauses that never did anything, and conditions that came out one way only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ltrules import model
from ltrules.alert import RuleStats
from ltrules.semantics.watching import Did
from ltrules.source import Span
from ltrules.testing.running import Trial


@dataclass(frozen=True, slots=True)
class Point:
    """Something that a test can reach, and what is to be said if none did."""

    span: Span
    said: str
    reached: bool


@dataclass(frozen=True, slots=True)
class RuleCoverage:
    """The points of one rule as written; `names` are those of all rules that are made of it."""

    names: tuple[str, ...]
    span: Span
    points: tuple[Point, ...]

    @property
    def reached(self) -> int:
        return sum(point.reached for point in self.points)

    @property
    def missed(self) -> tuple[Point, ...]:
        return tuple(point for point in self.points if not point.reached)


class Coverage:
    """Collects what tests reach. Rules that are derived from one another share its clauses, and so what is reached."""

    def __init__(self) -> None:
        self._clauses: set[tuple[str, int, str, Did]] = set()
        self._rules: set[tuple[str, int, str]] = set()

    def watch(self, rule: model.Rule, handler: model.Handler, did: Did) -> None:
        """Take note of what a clause did."""
        self._clauses.add((*_place(handler.span), handler.event.full_name, did))

    def add(self, rules: model.RuleSet, trial: Trial) -> None:
        """Take note of the numbers that a test ended with."""
        for rule, stats in zip(rules.rules, trial.stats.rules, strict=True):
            self._rules.update((*_place(rule.span), word) for word in _branches(stats))

    def of(self, rules: Iterable[model.Rule]) -> list[RuleCoverage]:
        """Return the coverage of some rules, in the order of the text."""
        texts: dict[tuple[str, int], list[model.Rule]] = {}
        for rule in rules:
            same = texts.setdefault(_place(rule.span), [])
            if rule.name not in [r.name for r in same]:
                same.append(rule)
        return [
            RuleCoverage(tuple(r.name for r in same), same[0].span, tuple(self._points(same[0])))
            for _, same in sorted(texts.items())
        ]

    def _points(self, rule: model.Rule) -> Iterator[Point]:
        for handler in sorted(rule.handlers, key=lambda h: h.span.start):
            place = (*_place(handler.span), handler.event.full_name)
            what = f"`{handler.role.value}` at {handler.event.full_name}"
            acted = (*place, Did.ACTED) in self._clauses
            yield Point(handler.span, f"{what} never did anything", acted)
            if handler.where is not None:
                ruled_out = (*place, Did.RULED_OUT) in self._clauses
                yield Point(handler.span, f"{what} was never ruled out by its `where`", ruled_out)
        if rule.when is not None:
            yield self._branch(rule, "when", "`when` never held")
            yield self._branch(rule, "not when", "`when` always held")
        if rule.thresh is not None:
            yield self._branch(rule, "alert", "nothing took longer than `thresh`")
            yield self._branch(rule, "no alert", "everything took longer than `thresh`")
        if rule.timeout is not None:
            yield self._branch(rule, "timeout", "nothing outlived `timeout`")

    def _branch(self, rule: model.Rule, word: str, said: str) -> Point:
        return Point(rule.span, said, (*_place(rule.span), word) in self._rules)


def _branches(stats: RuleStats) -> Iterator[str]:
    counters, measured = stats.counters, stats.latency.count
    if measured:
        yield "when"
    if counters["closed"] > measured:
        yield "not when"
    if counters["alerts"]:
        yield "alert"
    if measured > counters["alerts"] + counters["suppressed"]:
        yield "no alert"
    if counters["timeouts"]:
        yield "timeout"


def _place(span: Span) -> tuple[str, int]:
    return span.source.name, span.start


def coverage_lines(found: Sequence[RuleCoverage]) -> Iterator[str]:
    """Iterate over what is to be said of some rules."""
    yield "coverage:"
    for rule in found:
        names = ", ".join(rule.names)
        yield f"  {rule.span.source.name}:{rule.span.line}: {names}: {rule.reached} of {len(rule.points)}"
        yield from (f"    {point.span.line}:{point.span.column}: {point.said}" for point in rule.missed)
