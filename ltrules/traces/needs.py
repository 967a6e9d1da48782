"""What rules read of each event: the fields and the context that a trace must carry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ltrules import model
from ltrules.types import Type

#: Those of `model.Context` that every event has.
OF_THE_EVENT = frozenset(("cpu", "mono"))


@dataclass(frozen=True, slots=True)
class Need:
    """What is read of one event: its fields by name, elements as "args[0]", and the names of `model.Context`."""

    fields: Mapping[str, Type]
    context: Mapping[str, Type]


#: By full name of event.
Needs = Mapping[str, Need]


def needs_of(rules: model.RuleSet) -> dict[str, Need]:
    """Return what a rule set reads, for every event that a rule waits for."""
    fields: dict[str, dict[str, Type]] = {}
    context: dict[str, dict[str, Type]] = {}
    for handler in (h for rule in rules.rules for h in rule.handlers):
        name = handler.event.full_name
        mine, its = fields.setdefault(name, {}), context.setdefault(name, {})
        for expr in _leaves(handler):
            match expr:
                case model.EventField(type=kind, field=field):
                    mine[field.name] = kind
                case model.Context(type=kind, name=what):
                    its[what] = kind
    return {name: Need(fields[name], context[name]) for name in fields}


def _leaves(handler: model.Handler) -> Iterator[model.Expr]:
    for expr in (*handler.key, handler.where, *(value for _, value in handler.saves), handler.took):
        yield from model.walk(expr)
