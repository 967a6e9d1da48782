"""The libbpf engine: clang compiles the generated C, libbpf loads it, records and counters come back."""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from dataclasses import replace

from bpf_codegen import layout, measures, plan, render
from bpf_codegen.measures import map_name
from ltrules import model
from ltrules.alert import Alert, Distribution, HistogramStats, RuleStats, Scalar, StatisticStats, Stats
from ltrules.catalog import Catalog
from ltrules.catalog.tracefs import mount_tracefs
from ltrules.engines import decode
from ltrules.engines.compiler import compile_object
from ltrules.engines.features import require_engine
from ltrules.engines.programs import Programs
from ltrules.engines.recording import RecordedEvents
from ltrules.errors import EngineUnavailable, LoadError
from ltrules.evaluate import Constants, evaluate
from ltrules.lower import lower
from ltrules.recording import recorded_plan

#: A sweep from user space is a system call and a walk over the tables: not more often than this.
LEAST_SWEEP_NS = 10_000_000
#: Rules that only expire measurements need no more than this.
MOST_SWEEP_NS = 1_000_000_000
#: MAX_USED_MAPS of include/linux/bpf_verifier.h.
MOST_MAPS = 64
_SHARED_MAPS = 3  # control, alerts, counters
_PROGRAM_NAME = 15  # BPF_OBJ_NAME_LEN, less the NUL


class LibbpfEngine:
    """Runs rules on kernels with BTF."""

    name = "libbpf"

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    def unavailable(self) -> str | None:
        """Return why it cannot run here, in one sentence; None if it can."""
        try:
            require_engine()
        except EngineUnavailable as reason:
            return str(reason)
        return None

    def open(self, rules: model.RuleSet, event_bytes: int = 0) -> LibbpfSession:
        """Compile, load and attach. Raises EngineError.

        With `event_bytes`, a power of two, their events are recorded too, through a ring buffer of that size.
        """
        require_engine()
        planned = lower(rules, self.catalog)
        refuse_too_many_maps(planned)
        if event_bytes:
            planned = recorded_plan(planned, event_bytes, rules=True)
        return LibbpfSession(rules, planned)

    def record(self, rules: model.RuleSet, event_bytes: int) -> LibbpfSession:
        """Compile, load and attach what records the events of some rules, and nothing else. Raises EngineError."""
        require_engine()
        planned = recorded_plan(lower(rules, self.catalog), event_bytes, rules=False)
        return LibbpfSession(replace(rules, rules=(), params=()), planned)


def refuse_too_many_maps(planned: plan.Plan) -> None:
    """Raise LoadError if a program would use more maps than the kernel allows."""
    for program in planned.programs:
        used = {handler.rule for handler in program.handlers}
        maps = _SHARED_MAPS + sum(measures.count_maps(planned.rules[i]) for i in used)
        if maps > MOST_MAPS:
            raise LoadError(
                f"{len(used)} rules at {program.category}:{program.event} need {maps} maps, and the kernel allows"
                f" a program {MOST_MAPS}: run fewer of them at once, or with fewer `hist` and `stat`"
            )


def sweep_period_ns(rules: model.RuleSet) -> int | None:
    """Return how often overdue measurements are looked for, in ns; None if no rule needs it."""
    periods = []
    values = Constants({p.name: p.value for p in rules.params})
    for rule in rules.rules:
        if not rule.pairs:
            continue
        periods.append(MOST_SWEEP_NS)
        if rule.timeout:
            limit = int(evaluate(rule.timeout.limit, values))
            slack = rule.timeout.slack_ns if rule.timeout.slack_ns is not None else limit // 10
            periods.append(max(min(slack, MOST_SWEEP_NS), LEAST_SWEEP_NS))
        if rule.expire:
            periods.append(max(min(int(evaluate(rule.expire, values)) // 8, MOST_SWEEP_NS), LEAST_SWEEP_NS))
    return min(periods, default=None)


class LibbpfSession:
    """Rules at work in the kernel; a context manager that detaches everything when it is left."""

    def __init__(self, rules: model.RuleSet, planned: plan.Plan) -> None:
        self.rules = rules
        self.plan = planned
        self.params: dict[str, Scalar] = {p.name: p.value for p in rules.params}
        self._decoders = [
            decode.RecordDecoder(rule, p, self.params) for rule, p in zip(rules.rules, planned.rules, strict=True)
        ]
        self._delivered = [0] * len(rules.rules)
        self._offset_ns = decode.wall_offset()
        self._stopped = False
        self.stopped_ns = 0
        if any(p.access is not plan.Access.RAW for p in planned.programs):
            mount_tracefs()
        self._programs = Programs.load(compile_object(render(planned)))
        try:
            self._write_control()
            self._programs.attach()
            self.started_ns = time.monotonic_ns()
            self._enable(True)
        except BaseException:
            self._programs.close()
            raise
        self.sweep_ns = sweep_period_ns(rules) if self._programs.has_program("sweep") else None
        self._next_sweep = time.monotonic_ns()
        self.recorded = RecordedEvents(self._programs, planned) if planned.event_bytes else None

    def __enter__(self) -> LibbpfSession:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopped = True
        self._programs.close()

    @property
    def probes(self) -> tuple[str, ...]:
        """Return what is attached, with how."""
        return tuple(f"{p.category}:{p.event} ({p.access.value.split()[0]})" for p in self.plan.programs)

    # ------------------------------------------------------------------------------ control
    def _write_control(self) -> None:
        offsets = layout.control_offsets(self.plan)
        for parameter in self.plan.parameters:
            self._programs.write_control(offsets[parameter.member.name], _bytes(parameter.member, parameter.value))

    def _enable(self, on: bool) -> None:
        """Open or shut the gate that all programs look at: attaching and detaching one by one must not show."""
        self._programs.write_control(0, struct.pack("=Q", int(on)))

    # ------------------------------------------------------------------------------- alerts
    def poll(self, timeout: float) -> list[Alert]:
        """Return the alerts that came within `timeout` seconds; maybe none, maybe early."""
        wait = int(timeout * 1000)
        if self.sweep_ns is not None:
            now = time.monotonic_ns()
            if now >= self._next_sweep:
                self._programs.run("sweep")
                self._next_sweep = now + self.sweep_ns
            wait = min(wait, -(-(self._next_sweep - now) // 1_000_000))
        return self._decode(self._programs.poll(max(wait, 0)))

    def _decode(self, records: list[bytes]) -> list[Alert]:
        # Both clocks drift apart by steps of the wall clock; once a batch is often enough.
        if records:
            self._offset_ns = decode.wall_offset()
        alerts = []
        for record in records:
            (index,) = struct.unpack_from("=I", record)
            if index >= len(self._decoders) or len(record) < self._decoders[index].size:
                # Never handed out, so that the summary says "made but not delivered".
                continue
            self._delivered[index] += 1
            alerts.append(self._decoders[index].decode(record, self._offset_ns))
        return alerts

    def stop(self) -> list[Alert]:
        """Stop measuring, and return the alerts that were still on their way."""
        if self._stopped:
            return []
        self._stopped = True
        self._enable(False)
        self._programs.detach()
        self._programs.quiesce()
        self.stopped_ns = time.monotonic_ns()
        if self._programs.has_program("sweep"):
            self._programs.run("sweep")
        alerts: list[Alert] = []
        while records := self._programs.poll(0):
            alerts += self._decode(records)
        return alerts

    # ------------------------------------------------------------------------------ numbers
    def stats(self) -> Stats:
        """Return the numbers up to now."""
        rules = tuple(self._rule_stats(i) for i in range(len(self.rules.rules)))
        return Stats(LibbpfEngine.name, rules, self.missed())

    def missed(self) -> dict[str, int]:
        """Return how many events the kernel kept from our programs up to now, by event; none is 0."""
        by_name = {p.name[:_PROGRAM_NAME]: f"{p.category}:{p.event}" for p in self.plan.programs}
        return {
            by_name[info.name]: info.recursion_misses
            for info in self._programs.program_infos()
            if info.recursion_misses and info.name in by_name
        }

    def memory(self) -> Mapping[str, int]:
        """Return the bytes of kernel memory that each map takes."""
        return self._programs.map_memory()

    def _rule_stats(self, index: int) -> RuleStats:
        rule, planned = self.rules.rules[index], self.plan.rules[index]
        data = self._programs.lookup("counters", struct.pack("=I", index)) or b""
        rows = list(decode.per_cpu(struct.Struct(layout.counters_format()), data))
        counters = {name: sum(row[i] for row in rows) for i, name in enumerate(plan.COUNTERS)}
        counters["pending"] = self._pending(planned)
        counters["delivered"] = self._delivered[index]
        by_name = {h.name: h for h in planned.histograms}
        latency = self._groups(planned, by_name["latency"], (), rule)
        histograms = tuple(
            HistogramStats(
                h.name, h.value.type.kind.value, bool(h.step), h.by_names,
                self._groups(planned, by_name[f"hist{i}"], h.by, rule),
            )
            for i, h in enumerate(rule.histograms, 1)
        )  # fmt: skip
        statistics = tuple(
            StatisticStats(
                s.name, s.function, "int" if s.function == "count" else s.value.type.kind.value, s.by_names,
                self._statistic(planned, planned.statistics[i], s, rule),
            )
            for i, s in enumerate(rule.statistics)
        )  # fmt: skip
        total = latency[0] if latency else Distribution((), (), 0, 0, 0)
        return RuleStats(rule.name, counters, total, histograms, statistics)

    def _pending(self, planned: plan.Rule) -> int:
        """Count the measurements in flight: the states of all slots that hold one."""
        if not planned.sets:
            return 0
        slot = 8 + sum(m.size for m in (*planned.key, *planned.saved))
        size = slot * plan.WAYS
        table = memoryview(self._programs.values(f"{planned.name}_table"))
        states = struct.Struct(f"={plan.WAYS}Q")
        return sum(1 for start in range(0, len(table), size) for state in states.unpack_from(table, start) if state > 1)

    def _names(
        self, planned: plan.Rule, group: plan.Group, by: tuple[model.Expr, ...], rule: model.Rule
    ) -> dict[int, tuple[str, ...]]:
        if not group.values:
            return {0: ()}
        entries = self._programs.items(map_name(planned, group.name))
        return decode.group_names(group, by, rule.outcomes, entries)

    def _groups(
        self, planned: plan.Rule, histogram: plan.Histogram, by: tuple[model.Expr, ...], rule: model.Rule
    ) -> tuple[Distribution, ...]:
        names = self._names(planned, histogram.group, by, rule)
        found = []
        for number, name in names.items():
            data = self._programs.lookup(map_name(planned, histogram.name), struct.pack("=I", number))
            one = decode.distribution(histogram, name, data or b"")
            if one.count:
                found.append(one)
        return tuple(sorted(found, key=lambda d: (-d.count, d.group)))

    def _statistic(
        self, planned: plan.Rule, statistic: plan.Statistic, source: model.Statistic, rule: model.Rule
    ) -> tuple[tuple[tuple[str, ...], int], ...]:
        names = self._names(planned, statistic.group, source.by, rule)
        found = []
        for number, name in names.items():
            data = self._programs.lookup(map_name(planned, statistic.name), struct.pack("=I", number))
            value = decode.statistic_value(source.function, data or b"")
            if value is not None:
                found.append((name, value))
        return tuple(sorted(found, key=lambda pair: (-pair[1], pair[0])))


def _bytes(member: plan.Member, value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return value.ljust(member.size, b"\0")
    return struct.pack("=q" if member.signed else "=Q", value)
