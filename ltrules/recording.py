"""What a recording keeps: every firing of the rules' events, with all that any rule reads of it."""

from __future__ import annotations

from dataclasses import replace

from bpf_codegen import plan
from bpf_codegen.expressions import walk
from bpf_codegen.handlers import handler_exprs
from ltrules import model
from ltrules.traces.writer import Column, Columns, Sort

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
    nodes = [node for h in program.handlers for expr in handler_exprs(h) for node in walk(expr)]
    context = {n.name: n for n in nodes if isinstance(n, plan.Context) and n.name not in _ALWAYS}
    fields = {n.name: n for n in nodes if isinstance(n, plan.FieldValue)}
    return (*context.values(), *fields.values())


def columns(planned: plan.Plan) -> tuple[Columns, ...]:
    """Return the columns of the records of each program, by its number."""
    return tuple(_columns(program) for program in planned.programs)


def _columns(program: plan.Program) -> Columns:
    return Columns(f"{program.category}:{program.event}", tuple(map(_column, program.recorded or ())))


def _column(value: plan.FieldValue | plan.Context) -> Column:
    if value.string:
        sort = Sort.TEXT
    else:
        sort = Sort.ADDRESS if isinstance(value, plan.FieldValue) and value.sort == "pointer" else Sort.NUMBER
    return Column(value.name, sort, isinstance(value, plan.Context))


def known_texts(rules: model.RuleSet) -> frozenset[str]:
    """Return the strings that the rules themselves name, to compare the kernel's with."""
    handlers = [handler for rule in rules.rules for handler in rule.handlers]
    exprs: list[model.Expr | None] = [rule.when for rule in rules.rules]
    exprs += [e for h in handlers for e in (*h.key, h.where, h.took, *(value for _, value in h.saves))]
    constants = [n.value for expr in exprs for n in model.walk(expr) if isinstance(n, model.Constant)]
    values = [*constants, *(param.value for param in rules.params)]
    return frozenset(value for value in values if isinstance(value, str))
