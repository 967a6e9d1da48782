"""Check one rule: its events, its limits, what it counts and what it says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

from ltrules import model, syntax, units
from ltrules.check.clauses import Clauses
from ltrules.check.events import EventFinder
from ltrules.check.expressions import Typer
from ltrules.check.handlers import EventChecker, Events
from ltrules.check.measures import MeasureChecker
from ltrules.check.params import Given, ParamReader
from ltrules.check.problems import Mistake, Problems
from ltrules.check.scope import Place, Scope
from ltrules.diagnostics import Severity
from ltrules.evaluate import Constants, evaluate
from ltrules.types import DURATION, INT

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: Room for pending measurements, and the alerts let through, where a rule says nothing.
DEFAULT_INFLIGHT = 10_240
MOST_INFLIGHT = 1 << 22
DEFAULT_RATE = (100, 1_000_000_000)
DEFAULT_EXPIRE_NS = 60_000_000_000
SEVERITIES = ("info", "warning", "critical")


class RuleChecker:
    """Checks rules one by one."""

    def __init__(self, finder: EventFinder, typer: Typer, problems: Problems, param_reader: ParamReader) -> None:
        self.finder = finder
        self.typer = typer
        self.problems = problems
        self.param_reader = param_reader
        #: Parameters that the rule at hand has without saying so, by short name.
        self.implied: dict[str, model.Param] = {}
        self._given: Given = {}

    def check(
        self, rule: syntax.Rule, name: str, scope: Scope, params: Mapping[str, model.Param], given: Given
    ) -> model.Rule:
        """Return the checked rule, and leave the parameters that it implies in `implied`; `given` are values for those.

        Raises Mistake when it has noted what keeps the rule from running.
        """
        self.implied, self._given = {}, given
        before = self.problems.errors
        clauses = Clauses(rule, self.problems)
        clauses.require()
        base = Place(scope, "this rule", params)
        events = EventChecker(clauses, base, self.finder, self.typer, self.problems).check()
        after = dataclasses.replace(
            base,
            key=events.key,
            opened=events.opened,
            closed=events.closed,
            labels=events.labels,
            broken=events.failed,
            measured=frozenset({"latency", "outcome"}),
        )
        checked = self._assemble(rule, name, clauses, base, after, events)
        if self.problems.errors > before:
            raise Mistake
        if not (checked.thresh or checked.timeout or checked.histograms or checked.statistics):
            self.problems.note(
                "LT241",
                f"{name} reports nothing",
                rule.name_span,
                "it has no `thresh`, `timeout`, `hist` or `stat`",
                severity=Severity.WARNING,
            )
        return checked

    def _assemble(
        self, rule: syntax.Rule, name: str, clauses: Clauses, base: Place, after: Place, events: Events
    ) -> model.Rule:
        when = clauses.one(syntax.When, "when")
        thresh = clauses.one(syntax.Thresh, "thresh")
        duplicate = clauses.one(syntax.Duplicate, "duplicate")
        measures = MeasureChecker(self.typer, self.problems, base.params)
        timeout = self._timeout(clauses, name, base)
        return model.Rule(
            name=name,
            title=rule.title or name,
            doc=rule.doc,
            span=rule.span,
            meta=self._meta(clauses),
            handlers=events.handlers,
            key=events.key,
            opened=events.opened,
            closed=events.closed,
            outcomes=events.outcomes,
            when=None if when is None else self._try(self.typer.condition, when.condition, _at(after, "`when`")),
            thresh=None if thresh is None else self._settable("thresh", name, thresh.limit, after),
            timeout=timeout,
            expire=self._expire(clauses, name, base, timeout),
            inflight=self._inflight(clauses, base),
            evict=any(c.mode == "evict" for c in clauses.all(syntax.Inflight)),
            keep_first=duplicate is not None and duplicate.mode == "keep",
            rate=self._rate(clauses, base, after),
            histograms=tuple(measures.histograms(clauses.all(syntax.Hist), after)),
            statistics=tuple(measures.statistics(clauses.all(syntax.Stat), after)),
            message=measures.message(clauses.one(syntax.Message, "message"), after),
        )

    def _try(self, method: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> _T | None:
        """Return what a check returns, or None when it noted a mistake: the other clauses are still worth a look."""
        try:
            return method(*arguments, **named)
        except Mistake:
            return None

    def _limit(self, node: syntax.Expr, place: Place, least: int = 0) -> model.Expr | None:
        """Return a duration of at least `least` ns, as far as that is known before the rule runs."""
        expr = self._try(self.typer.duration, node, place)
        if expr is None or any(isinstance(e, model.Captured | model.Measured) for e in model.walk(expr)):
            return expr
        value = self._constant(expr, place)
        if value < least:
            self.problems.note(
                "LT244",
                f"{place.what} is at least {units.format_duration(least)}",
                node.span,
                f"this is {units.format_duration(value)}",
            )
        return expr

    def _settable(self, word: str, rule: str, node: syntax.Expr, place: Place) -> model.Expr | None:
        """Return a limit; a constant one is a param of the rule, named like its clause, unless that name is taken."""
        expr = self._limit(node, _at(place, f"`{word}`"))
        if not isinstance(expr, model.Constant) or word in place.params:
            return expr
        param = self._try(self.param_reader.limit, word, rule, expr, node.span, self._given.get(word))
        if param is None:
            return expr
        self.implied[word] = param
        return model.Parameter(DURATION, param.name)

    def _timeout(self, clauses: Clauses, name: str, base: Place) -> model.Timeout | None:
        clause = clauses.one(syntax.Timeout, "timeout")
        if clause is None:
            return None
        limit = self._settable("timeout", name, clause.limit, base)
        slack = None
        if clause.slack is not None:
            expr = self._limit(clause.slack, _at(base, "`slack`"))
            slack = None if expr is None else self._constant(expr, base)
        return None if limit is None else model.Timeout(limit, clause.mode == "drop", slack)

    def _expire(self, clauses: Clauses, name: str, base: Place, timeout: model.Timeout | None) -> model.Expr | None:
        clause = clauses.one(syntax.Expire, "expire")
        if clauses.roles("at"):
            return None
        if clause is None:
            default = model.Constant(DURATION, DEFAULT_EXPIRE_NS)
            if timeout is None:
                return default
            # At least ten times the timeout, whatever value it is given while the rule runs.
            tenfold = model.Operation(DURATION, "*", (timeout.limit, model.Constant(INT, 10)))
            longer = model.Operation(INT, ">", (tenfold, default))
            return model.Operation(DURATION, "if", (longer, tenfold, default))
        limit = self._settable("expire", name, clause.limit, base)
        if limit is None or timeout is None:
            return limit
        if self._constant(limit, base) < self._constant(timeout.limit, base):
            first = clauses.all(syntax.Timeout)[0]
            self.problems.note(
                "LT243",
                "`expire` drops what `timeout` would report",
                clause.span,
                "shorter than the timeout",
                related=[(first.span, "the timeout")],
            )
        return limit

    def _inflight(self, clauses: Clauses, base: Place) -> int:
        clause = clauses.one(syntax.Inflight, "inflight")
        if clause is None:
            return DEFAULT_INFLIGHT
        expr = self._try(self.typer.integer, clause.room, _at(base, "`inflight`"))
        if expr is None:
            return DEFAULT_INFLIGHT
        room = self._constant(expr, base)
        if not 1 <= room <= MOST_INFLIGHT:
            self.problems.note("LT244", f"`inflight` is between 1 and {MOST_INFLIGHT}", clause.room.span)
            return DEFAULT_INFLIGHT
        return room

    def _rate(self, clauses: Clauses, base: Place, after: Place) -> model.Rate:
        nodes = [c for c in clauses.all(syntax.Rate) if c.word == "rate"]
        clause = clauses.single(nodes, "`rate`")
        if clause is None:
            count, period = DEFAULT_RATE
            return model.Rate(model.Constant(INT, count), model.Constant(DURATION, period), ())
        count_expr = self._try(self.typer.integer, clause.count, _at(base, "`rate`"))
        period_expr = self._limit(clause.period, _at(base, "the period of `rate`"), least=1)
        if isinstance(count_expr, model.Constant) and int(count_expr.value) < 1:
            self.problems.note("LT244", "`rate` lets at least 1 alert through", clause.count.span)
        # A timeout has no closing event: what groups alerts must be known of every measurement.
        known = dataclasses.replace(after, closed=None, measured=frozenset(), what="`by` of `rate`")
        by = [self._try(self.typer.expr, item.expr, known) for item in clause.by]
        groups = tuple(expr for expr in by if expr is not None)
        if count_expr is None or period_expr is None or len(groups) < len(by):
            # A mistake was noted, so that the rule will not run: any rate will do.
            return model.Rate(model.Constant(INT, 1), model.Constant(DURATION, 1), ())
        return model.Rate(count_expr, period_expr, groups)

    def _constant(self, expr: model.Expr, base: Place) -> int:
        """Return the value that an expression of parameters has when the rules are loaded."""
        params = (*base.params.values(), *self.implied.values())
        return int(evaluate(expr, Constants({p.name: p.value for p in params})))

    def _meta(self, clauses: Clauses) -> dict[str, str | int | bool | tuple[str, ...]]:
        meta: dict[str, str | int | bool | tuple[str, ...]] = {}
        for block in clauses.all(syntax.Meta):
            for item in block.items:
                if item.name in meta:
                    self.problems.note("LT210", f"`{item.name}` is given twice in `meta`", item.span)
                if item.name == "severity" and item.value not in SEVERITIES:
                    self.problems.note("LT211", f"a severity is one of {', '.join(SEVERITIES)}", item.span)
                meta[item.name] = item.value
        return meta


def _at(place: Place, what: str) -> Place:
    return dataclasses.replace(place, what=what)
