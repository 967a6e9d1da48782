"""Checked tests: what happens to some rules, and what they are expected to make of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ltrules.alert import Scalar
from ltrules.catalog.events import Catalog
from ltrules.model import Rule, RuleSet
from ltrules.source import Span
from ltrules.traces.event import TraceEvent
from ltrules.types import Type

#: Kinds of report; every other kind that can be expected is a counter of a rule.
REPORTS = ("alert", "timeout")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One value that a report must have.

    `where` is "key", "in", "out" or "at" for what was captured, and "" for what a report knows of itself: "at" (when it
    was made, since the start), "opened", "latency", "overdue", "late", "suppressed", "outcome", "cpu", "severity" and
    "message". `span` is the place of the value.
    """

    where: str
    name: str
    type: Type
    symbols: Mapping[int, str]
    value: Scalar
    span: Span


@dataclass(frozen=True, slots=True)
class Expectation:
    """`expect N KIND { … }`: `count` is None for "at least one"; `count_span` is where it stands, if it does.

    `wanted` holds, for each rule that is meant, what a report of it must hold.
    """

    kind: str  # alert, timeout, or the name of a counter
    count: int | None
    wanted: Mapping[str, tuple[Wanted, ...]]
    span: Span
    count_span: Span | None
    kind_span: Span

    @property
    def of_reports(self) -> bool:
        return self.kind in REPORTS


@dataclass(frozen=True, slots=True)
class Case:
    """One test. It has `events`, by hand, or a `trace`; its time ends at `until_ns`, or else with the last event.

    `todo` tells that it is known to fail.
    """

    title: str
    span: Span
    todo: bool
    rules: RuleSet
    catalog: Catalog
    events: tuple[TraceEvent, ...]
    trace: Path | None
    until_ns: int | None
    expectations: tuple[Expectation, ...]


@dataclass(frozen=True, slots=True)
class Suite:
    """The tests of one file that check; `rules` are those of it and of the file beside it, tested or not."""

    cases: tuple[Case, ...]
    rules: tuple[Rule, ...]

    @property
    def every_rule(self) -> Iterator[Rule]:
        """Iterate over these rules and those that the tests are about, some of them more than once."""
        yield from self.rules
        for case in self.cases:
            yield from case.rules.rules
