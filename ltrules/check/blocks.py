"""Check one test: the rules that it is about, what happens, and what is expected."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TypeVar

from ltrules import cases, model, syntax
from ltrules.catalog.events import Event
from ltrules.check.making import RuleMaker
from ltrules.check.params import Given
from ltrules.check.problems import Mistake
from ltrules.check.scope import Scope
from ltrules.check.tested import Item, TestedScope
from ltrules.check.values import ValueChecker
from ltrules.diagnostics import Diagnostic, Severity
from ltrules.source import Span
from ltrules.traces.event import TraceEvent

_S = TypeVar("_S", bound=syntax.TestStep)

#: A comment above a test that is known to fail.
_TODO = re.compile(r"#\s*ltrules:\s*todo\b")


class BlockChecker:
    """Checks one test."""

    def __init__(self, tested: TestedScope, block: syntax.TestBlock) -> None:
        self.tested = tested
        self.block = block
        self.problems = tested.problems
        self.rules: dict[str, model.Rule] = {}
        self.params: dict[str, model.Param] = {}
        self._names: dict[int, str] = {}
        self._labels: dict[str, dict[str, str]] = {}

    def case(self) -> cases.Case:
        """Return the test. Raises Mistake."""
        block = self.block
        trace, until = self._one(syntax.TestReplay, "replay"), self._one(syntax.TestUntil, "until")
        catalog, maker = self.tested.maker(self._one(syntax.TestCatalog, "catalog"))
        events = self._all(syntax.TestEvent)
        self._look_at_steps(events, trace, until)
        values = ValueChecker(self.tested.scope, maker.typer, self.problems)
        # Before the rules: what is wrong with those says nothing about the events.
        happened = [self._event(step, maker, values) for step in events]
        self._make_rules(maker)
        expected = [self._expectation(step, values) for step in self._all(syntax.TestExpect)]
        return cases.Case(
            title=block.title.value,
            span=block.span,
            todo=_is_todo(block.span),
            rules=model.RuleSet(
                tuple(self.rules.values()), tuple(self.params.values()), catalog.description, catalog.machine
            ),
            catalog=catalog,
            events=tuple(e for e in happened if e),
            trace=None if trace is None else self.tested.file(trace.path),
            until_ns=None if until is None else until.time_ns,
            expectations=tuple(e for e in expected if e),
        )

    def _all(self, sort: type[_S]) -> list[_S]:
        return [step for step in self.block.steps if isinstance(step, sort)]

    def _one(self, sort: type[_S], word: str) -> _S | None:
        found = self._all(sort)
        for other in found[1:]:
            self.problems.note(
                "LT210", f"two `{word}` in one test", other.span, related=[(found[0].span, "the first one is here")]
            )
        return found[0] if found else None

    def _look_at_steps(
        self, events: list[syntax.TestEvent], trace: syntax.TestReplay | None, until: syntax.TestUntil | None
    ) -> None:
        """Note what makes no sense whatever the rules are."""
        if trace is not None and events:
            self.problems.note(
                "LT251",
                "a test has events of its own or replays a trace",
                events[0].span,
                related=[(trace.span, "the trace")],
            )
        if trace is None and not events:
            self.problems.note(
                "LT251", "nothing happens in this test", self.block.title.span, "it has neither `at` nor `replay`"
            )
        if not self._all(syntax.TestExpect):
            self.problems.note(
                "LT241",
                "this test expects nothing",
                self.block.title.span,
                "it cannot fail",
                severity=Severity.WARNING,
                helps=["`ltrules test --update` writes what a replayed trace gives"] if trace else [],
            )
        last = events[-1] if events else None
        if until and last and until.time_ns < last.time_ns:
            self.problems.note(
                "LT244", "the test ends before its last event", until.span, related=[(last.span, "the last event")]
            )
        self._look_at_times(events)

    def _look_at_times(self, events: list[syntax.TestEvent]) -> None:
        """Warn of an event that is earlier than the one above, unless the test is about that."""
        if any(step.kind == "clock_skew" for step in self._all(syntax.TestExpect)):
            return
        for before, step in pairwise(events):
            if step.time_ns < before.time_ns:
                self.problems.note(
                    "LT253",
                    "the clock goes back here",
                    step.span,
                    "events happen in the order of the text",
                    severity=Severity.WARNING,
                    related=[(before.span, "this is later")],
                )

    # --------------------------------------------------------------------------------- rules
    def _make_rules(self, maker: RuleMaker) -> None:
        """Make the rules that the test names, or all, with the params that it gives. Raises Mistake."""
        found: list[tuple[syntax.Name | None, Item, Scope]] = []
        if self.block.rule is None:
            found += [(None, *each) for each in self.tested.items()]
        named = [self.block.rule, *(step.rule for step in self._all(syntax.TestExpect))]
        found += [(name, *self.tested.find(name)) for name in named if name is not None]
        if not found:
            tested = self.tested.scope.tested_name or "this file"
            raise self.problems.note(
                "LT208",
                "there is no rule to test",
                self.block.title.span,
                helps=[f"put the rules in {tested}, or import a file and write `for NAME.RULE`"],
            )
        given = self._given()
        known: set[str] = set()
        for name, item, scope in found:
            if id(item) in self._names:
                continue
            rule, params = maker.make(item, self._name(name, item, scope), scope, given)
            self._names[id(item)] = rule.name
            self._labels[rule.name] = _labels(maker.base(item, scope)[0])
            self.rules[rule.name] = rule
            self.params.update((p.name, p) for p in params.values())
            known.update(params)
        for step in self._all(syntax.TestParam):
            if step.name not in known:
                names = ", ".join(f"`{name}`" for name in self.rules)
                raise self.problems.unknown(
                    "LT203", f"{names} has no param `{step.name}`", step.name_span, step.name, known
                )

    def _given(self) -> Given:
        given: dict[str, tuple[syntax.Expr, Scope]] = {}
        for step in self._all(syntax.TestParam):
            if step.name in given:
                self.problems.note("LT210", f"the param `{step.name}` is given twice", step.span)
            given[step.name] = step.value, self.tested.scope
        return given

    def _name(self, name: syntax.Name | None, item: Item, scope: Scope) -> str:
        """Return what a rule is called in the results: as others call it; with a prefix if that is taken."""
        own = scope.name_of(item)
        choices = own, str(name or own), f"{scope.stem}.{own}"
        return next((choice for choice in choices if choice not in self.rules), f"{choices[-1]}'")

    # --------------------------------------------------------------------------------- steps
    def _event(self, step: syntax.TestEvent, maker: RuleMaker, values: ValueChecker) -> TraceEvent | None:
        try:
            return values.event(step, self._known(step.probe, maker))
        except Mistake:
            return None

    def _known(self, probe: syntax.Probe, maker: RuleMaker) -> Event:
        if probe.optional:
            raise self.problems.note("LT251", "what happens in a test is certain", probe.span, "remove the `?`")
        return maker.finder.one(probe)

    def _expectation(self, step: syntax.TestExpect, values: ValueChecker) -> cases.Expectation | None:
        kind = step.kind.removesuffix("s") if step.kind in ("alerts", "timeouts") else step.kind
        rules = list(self.rules.values())
        if step.rule is not None:
            rules = [self.rules[self._names[id(self.tested.find(step.rule)[0])]]]
        elif self.block.rule is not None:
            rules = [self.rules[self._names[id(self.tested.find(self.block.rule)[0])]]]
        if kind not in cases.REPORTS and step.bindings:
            self.problems.note(
                "LT251",
                f"`{kind}` is a counter of the rule: it has no values",
                step.bindings[0].span,
                "only alerts and timeouts have values",
            )
            return None
        wanted = self._wanted(step, kind, rules, values)
        if not wanted:
            return None
        return cases.Expectation(kind, step.count, wanted, step.span, step.count_span, step.kind_span)

    def _wanted(
        self, step: syntax.TestExpect, kind: str, rules: list[model.Rule], values: ValueChecker
    ) -> dict[str, tuple[cases.Wanted, ...]]:
        """Return what is wanted of each rule that knows the values; if there is none, what is wrong is noted."""
        wanted: dict[str, tuple[cases.Wanted, ...]] = {}
        noted: list[Diagnostic] = []
        for rule in rules:
            before = len(self.problems.found)
            try:
                wanted[rule.name] = values.wanted(step, kind, rule, self._labels[rule.name])
            except Mistake:
                noted = noted or self.problems.found[before:]
                del self.problems.found[before:]
        if not wanted:
            self.problems.found += noted
        return wanted


def _labels(rule: syntax.Rule) -> dict[str, str]:
    """Return the side of each label of a rule, as captured values know it."""
    return {
        modifier.name: "in" if clause.role == "in" else "out"
        for clause in rule.clauses
        if isinstance(clause, syntax.EventClause)
        for modifier in clause.modifiers
        if isinstance(modifier, syntax.Label)
    }


def _is_todo(span: Span) -> bool:
    """Tell whether a comment right above a test says that it is known to fail."""
    number = span.line - 1
    while number and (text := span.source.line(number).strip()).startswith("#"):
        if _TODO.match(text):
            return True
        number -= 1
    return False
