"""Read the numbers of rules from their maps: counters, what is pending, histograms, statistics."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from bpf_codegen import layout, plan
from bpf_codegen.scope import RuleScope, rule_scopes
from ltrules import model
from ltrules.alert import Distribution, HistogramStats, RuleStats, StatisticStats
from ltrules.engines import decode
from ltrules.engines.programs import Programs

_NUMBER = struct.Struct("=I")


class Numbers:
    """The numbers of all rules of a session."""

    def __init__(self, rules: model.RuleSet, planned: plan.Plan, programs: Programs) -> None:
        self.rules = rules.rules
        self.scopes = rule_scopes(planned)
        self.programs = programs
        self._counters = struct.Struct(layout.counters_format())

    def read(self, delivered: Sequence[int]) -> tuple[RuleStats, ...]:
        """Return the numbers of each rule; `delivered` are the reports that arrived. Raises OSError."""
        pending = self._pending()
        return tuple(
            self._rule(rule, scope, {"pending": pending[i], "delivered": delivered[i]})
            for i, (rule, scope) in enumerate(zip(self.rules, self.scopes, strict=True))
        )

    def _rule(self, rule: model.Rule, scope: RuleScope, more: Mapping[str, int]) -> RuleStats:
        data = self.programs.lookup("counters", _NUMBER.pack(scope.index)) or b""
        rows = list(decode.per_cpu(self._counters, data))
        counters = {name: sum(row[i] for row in rows) for i, name in enumerate(plan.COUNTERS)}
        counters.update(more)
        planned = {h.name: h for h in scope.rule.histograms}
        latency = self._groups(scope, planned["latency"], (), rule)
        histograms = tuple(
            HistogramStats(
                h.name,
                h.unit,
                bool(h.step),
                h.by_names,
                self._groups(scope, planned[f"hist{i}"], h.by, rule),
            )
            for i, h in enumerate(rule.histograms, 1)
        )
        statistics = tuple(
            StatisticStats(
                s.name,
                s.function,
                s.unit,
                s.by_names,
                self._statistic(scope, scope.rule.statistics[i], s, rule),
            )
            for i, s in enumerate(rule.statistics)
        )
        total = latency[0] if latency else Distribution((), (), 0, 0, 0)
        return RuleStats(rule.name, counters, total, histograms, statistics)

    def _pending(self) -> tuple[int, ...]:
        """Let the kernel sweep, and return how many measurements of each rule were in flight then."""
        if not self.programs.has_program("sweep"):
            return (0,) * len(self.rules)
        self.programs.run("sweep")
        data = self.programs.lookup(".bss", _NUMBER.pack(0)) or b""
        return struct.unpack_from(f"={len(self.rules)}Q", data, layout.PENDING_OFFSET)

    def _names(
        self, scope: RuleScope, group: plan.Group, by: tuple[model.Expr, ...], rule: model.Rule
    ) -> dict[int, tuple[str, ...]]:
        if not group.values:
            return {0: ()}
        return decode.group_names(group, by, rule.outcomes, self.programs.items(scope.group_map(group)))

    def _groups(
        self, scope: RuleScope, histogram: plan.Histogram, by: tuple[model.Expr, ...], rule: model.Rule
    ) -> tuple[Distribution, ...]:
        place = scope.places.histograms[scope.index, histogram.name]
        found = []
        for number, name in self._names(scope, histogram.group, by, rule).items():
            data = self.programs.lookup(place.map, _NUMBER.pack(place.base + number))
            one = decode.distribution(histogram, name, data or b"")
            if one.count:
                found.append(one)
        return tuple(sorted(found, key=lambda d: (-d.count, d.group)))

    def _statistic(
        self, scope: RuleScope, statistic: plan.Statistic, source: model.Statistic, rule: model.Rule
    ) -> tuple[tuple[tuple[str, ...], int], ...]:
        place = scope.places.statistics[scope.index, statistic.name]
        found = []
        for number, name in self._names(scope, statistic.group, source.by, rule).items():
            data = self.programs.lookup(place.map, _NUMBER.pack(place.base + number))
            value = decode.statistic_value(source.function, data or b"", statistic.unsigned)
            if value is not None:
                found.append((name, value))
        return tuple(sorted(found, key=lambda pair: (-pair[1], pair[0])))
