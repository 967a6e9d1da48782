"""The libbpf engine: clang compiles the generated C, libbpf loads it, records and counters come back."""

from __future__ import annotations

import dataclasses
import os
import struct
import time
from collections.abc import Mapping
from dataclasses import replace

from bpf_codegen import layout, plan, render
from bpf_codegen.scope import rule_scopes
from ltrules import model
from ltrules.alert import Alert, Scalar, Stats
from ltrules.catalog import Catalog
from ltrules.catalog.tracefs import mount_tracefs
from ltrules.engines import decode
from ltrules.engines.compiler import compile_object
from ltrules.engines.features import has_timers, require_engine
from ltrules.engines.numbers import Numbers
from ltrules.engines.pace import pace, user_sweep_ns
from ltrules.engines.programs import ProgramInfo, Programs
from ltrules.engines.recording import RecordedEvents
from ltrules.errors import EngineUnavailable, LoadError
from ltrules.evaluate import Constants
from ltrules.lower import lower
from ltrules.recording import recorded_plan
from ltrules.settings import check_value

#: MAX_USED_MAPS of include/linux/bpf_verifier.h.
MOST_MAPS = 64
_COMMON_MAPS = 5  # control, alerts, counters, queues, sweeping
_RECORDING_MAPS = 2  # events, unrecorded
#: BPF_MAX_SUBPROGS there.
MOST_FUNCTIONS = 256
_COMMON_FUNCTIONS = 8  # the program itself, enqueue, look, step, on_timer and so on
_PROGRAM_NAME = 15  # BPF_OBJ_NAME_LEN, less the NUL
#: TIMERS in sweep.bpf.h.
_TIMERS = 4


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
        if event_bytes:
            planned = recorded_plan(planned, event_bytes, rules=True)
        refuse_too_many(planned)
        return LibbpfSession(rules, planned)

    def record(self, rules: model.RuleSet, event_bytes: int) -> LibbpfSession:
        """Compile, load and attach what records the events of some rules, and nothing else. Raises EngineError."""
        require_engine()
        planned = recorded_plan(lower(rules, self.catalog), event_bytes, rules=False)
        return LibbpfSession(replace(rules, rules=(), params=()), planned)


def refuse_too_many(planned: plan.Plan) -> None:
    """Raise LoadError if a program would have more functions or maps than the kernel allows."""
    scopes = rule_scopes(planned)
    shared = len(scopes[0].places.sizes()) + _COMMON_MAPS + (_RECORDING_MAPS if planned.event_bytes else 0)
    queued = [i for i, rule in enumerate(planned.rules) if rule.queued]
    functions = len(planned.rules) + _COMMON_FUNCTIONS
    for program in planned.programs:
        used = {handler.rule for handler in program.handlers}
        functions = max(functions, len(program.handlers) + len(used & set(queued)) + _COMMON_FUNCTIONS)
        groups = sum(len(planned.rules[i].groups) for i in used)
        if groups + shared > MOST_MAPS:
            raise LoadError(
                f"the {len(used)} rules at {program.category}:{program.event} have {groups} groupings (`by`), and"
                f" there is room for {MOST_MAPS - shared} in one run: run fewer of these rules at once, or group less"
            )
    if functions > MOST_FUNCTIONS:
        raise LoadError(
            f"these {len(planned.rules)} rules need {functions} functions in one program, and the kernel allows"
            f" {MOST_FUNCTIONS}: run fewer of them at once"
        )


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
        #: Whether timers in the kernel sweep, or user space does so while it polls.
        self.sweeps_itself = has_timers()
        without = () if self.sweeps_itself else ("arm",)
        self._programs = Programs.load(compile_object(render(planned)), without)
        self._offsets = layout.control_offsets(planned)
        self._interval = 0
        self._numbers = Numbers(rules, planned, self._programs)
        try:
            self._write_control()
            self._programs.attach()
            self.started_ns = time.monotonic_ns()
            self._enable(True)
            if self.sweeps_itself:
                self._arm()
        except BaseException:
            self._programs.close()
            raise
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
    def set(self, name: str, value: Scalar) -> None:
        """Give the parameter "RULE.PARAM" another value while the rules run; a limit is "RULE.thresh" and so on.

        `value` is in ns for a duration, 0 or 1 for a bool. The next event sees it. Raises KeyError for a parameter that
        there is not, ValueError for a value that it does not take, and OSError.
        """
        param = next((p for p in self.rules.params if p.name == name), None)
        if param is None:
            raise KeyError(f"no parameter {name!r}; there are: {', '.join(sorted(self.params))}")
        check_value(param, value)
        held = next((p.member for p in self.plan.parameters if p.source == name), None)
        if held is None and not any(_says(rule, name) for rule in self.rules.rules):
            raise ValueError("it has its effect when the rules are loaded, and none later")
        self.params[name] = value
        if held is not None:
            self._programs.write_control(
                self._offsets[held.name], _bytes(held, value.encode() if isinstance(value, str) else value)
            )
        self._next_sweep = 0
        if self._write_pace():
            self._arm()

    def _write_control(self) -> None:
        for parameter in self.plan.parameters:
            self._programs.write_control(
                self._offsets[parameter.member.name], _bytes(parameter.member, parameter.value)
            )
        self._write_pace()

    def _write_pace(self) -> bool:
        """Keep the sweep in step with the limits. Tell whether its timers are set for a time that is wrong now."""
        present = pace(self.rules, self.plan, self.params)
        rows = [struct.pack(layout.PACE, *dataclasses.astuple(rule)) for rule in present.rules]
        self._programs.write_control(self._offsets["pace"], b"".join(rows))
        before, self._interval = self._interval, present.interval if self.sweeps_itself else 0
        self._programs.write_control(self._offsets["interval"], struct.pack("=QQ", self._interval, present.grace))
        return before != self._interval

    def _arm(self) -> None:
        """Start the timers that sweep, each from its own CPU; one is enough if we may not run on the others."""
        if not self._programs.has_program("arm"):
            return
        before = os.sched_getaffinity(0)
        try:
            for cpu in sorted(before)[:_TIMERS]:
                os.sched_setaffinity(0, {cpu})
                self._programs.run("arm")
        finally:
            os.sched_setaffinity(0, before)

    @property
    def user_sweep_ns(self) -> int | None:
        """How often user space sweeps, in ns; None where the kernel does so by itself, or nothing needs it."""
        if self.sweeps_itself or not self._programs.has_program("sweep"):
            return None
        return user_sweep_ns(self.rules.rules, Constants(self.params))

    def _enable(self, on: bool) -> None:
        """Open or shut the gate that all programs look at: attaching and detaching one by one must not show."""
        self._programs.write_control(self._offsets["enabled"], struct.pack("=Q", int(on)))

    # ------------------------------------------------------------------------------- alerts
    def poll(self, timeout: float) -> list[Alert]:
        """Return the alerts that came within `timeout` seconds; maybe none, maybe early."""
        wait = int(timeout * 1000)
        period = self.user_sweep_ns
        if period is not None:
            now = time.monotonic_ns()
            if now >= self._next_sweep:
                self._programs.run("sweep")
                self._next_sweep = now + period
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
        self._programs.write_control(self._offsets["interval"], bytes(8))
        self._enable(False)
        self._programs.detach()
        self._programs.quiesce()
        self.stopped_ns = time.monotonic_ns()
        self._programs.write_control(self._offsets["ended"], struct.pack("=Q", self.stopped_ns))
        if self._programs.has_program("sweep"):
            self._programs.run("sweep")
        alerts: list[Alert] = []
        while records := self._programs.poll(0):
            alerts += self._decode(records)
        return alerts

    # ------------------------------------------------------------------------------ numbers
    def stats(self) -> Stats:
        """Return the numbers up to now."""
        rules = self._numbers.read(self._delivered)
        return Stats(LibbpfEngine.name, rules, self.missed())

    def missed(self) -> dict[str, int]:
        """Return how many events the kernel kept from our programs up to now, by event; none is 0."""
        by_name = {p.name[:_PROGRAM_NAME]: f"{p.category}:{p.event}" for p in self.plan.programs}
        return {
            by_name[info.name]: info.recursion_misses
            for info in self._programs.program_infos()
            if info.recursion_misses and info.name in by_name
        }

    def program_infos(self) -> list[ProgramInfo]:
        """Return the kernel's own numbers of each program: runs, time, what the verifier walked."""
        return self._programs.program_infos()

    def sweeping(self) -> bytes:
        """Return `struct sweeping`, what the timers have done; it begins as `layout.SWEEPING` says."""
        return self._programs.lookup(".bss", struct.pack("=I", 0)) or b""

    def memory(self) -> Mapping[str, int]:
        """Return the bytes of kernel memory that each map takes."""
        return self._programs.map_memory()


def _says(rule: model.Rule, name: str) -> bool:
    """Tell whether the message of a rule has a parameter in it."""
    exprs = [part for part in rule.message or () if not isinstance(part, str)]
    return any(isinstance(e, model.Parameter) and e.name == name for part in exprs for e in model.walk(part))


def _bytes(member: plan.Member, value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return value.ljust(member.size, b"\0")
    return struct.pack("=q" if member.signed else "=Q", value)
