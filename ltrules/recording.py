"""What a recording keeps: every firing of the rules' events, with all that any rule reads of it."""

from __future__ import annotations

from dataclasses import replace

from bpf_codegen import plan
from bpf_codegen.expressions import walk

#: The ring buffer of events, if nothing else is said: 16 MiB hold some 200,000 of them, what a busy CPU makes in 0.2 s.
EVENT_BYTES = 1 << 24
#: Every record has these, as its CPU and its time.
_ALWAYS = frozenset(("cpu", "mono"))


def recorded_plan(planned: plan.Plan, event_bytes: int, *, rules: bool) -> plan.Plan:
    """Return a plan that records the events of another one, with or without its rules at work.

    `event_bytes` is the size of the ring buffer, a power of two. Conditions are left out: a recording holds all
    firings, so that it can be asked with other conditions, limits and parameters too.
    """
    programs = tuple(replace(p, recorded=_values(p), handlers=p.handlers if rules else ()) for p in planned.programs)
    if rules:
        return replace(planned, programs=programs, event_bytes=event_bytes)
    return plan.Plan((), programs, event_bytes=event_bytes)


def _values(program: plan.Program) -> tuple[plan.FieldValue | plan.Context, ...]:
    nodes = [node for h in program.handlers for expr in h.exprs for node in walk(expr)]
    context = {n.name: n for n in nodes if isinstance(n, plan.Context) and n.name not in _ALWAYS}
    fields = {n.name: n for n in nodes if isinstance(n, plan.FieldValue)}
    return (*context.values(), *fields.values())
