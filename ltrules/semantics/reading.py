"""What a handler reads of its event: its key if the event is one for it, and values that can be trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ltrules import model
from ltrules.alert import Scalar
from ltrules.catalog.events import Shape
from ltrules.evaluate import wrap
from ltrules.semantics.expressions import HANDLER, Writer, bounds, cut, define, function, row
from ltrules.traces import TraceEvent
from ltrules.types import Kind, Type

Key = tuple[Scalar, ...]


class Unfit(Exception):  # noqa: N818 - no error: the event is mended and read again
    """An event lacks what a handler reads, or has a value there that the field cannot hold."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value that a handler reads: of the event's fields, or of its context."""

    text: str
    of_field: bool
    name: str
    type: Type
    long: bool  # a string that has no room of its own, so that a trace may have more of it than a rule sees

    @property
    def test(self) -> str:
        """Return the text of the condition that the value is one that its field can hold."""
        if self.type.kind is not Kind.STRING:
            low, high = bounds(self.type)
            return f"{low} <= {self.text} <= {high}"
        test = f"{self.text}.__class__ is str"
        return f"{test} and {self.text}.isascii() and len({self.text}) < {self.type.size}" if self.long else test


@dataclass(frozen=True, slots=True)
class Reading:
    """What one handler reads.

    `match` returns the key, or None if `where` does not hold of the event; it raises Unfit, after which `mend` goes on.
    `late` is the part of
    `where` that needs the measurement, `saves` gives the captured values, `took` the latency that an `at` event
    carries, `outcome` is the label of an `out`.
    """

    match: Callable[[TraceEvent], Key | None]
    late: Callable[..., Any] | None
    saves: Callable[..., tuple[Scalar, ...]] | None
    took: Callable[..., int] | None
    outcome: str
    leaves: tuple[Leaf, ...]
    match_mended: Callable[..., Key | None]

    def mend(self, event: TraceEvent, gaps: Counter[str]) -> tuple[TraceEvent, Key | None]:
        """Return the event with all that is read, and its key: 0 or "" for what it lacks, counted by a sentence."""
        fields, context = dict(event.fields), dict(event.context)
        for leaf in self.leaves:
            values = fields if leaf.of_field else context
            value = _fitting(values.get(leaf.name), leaf)
            if value is None:
                what = f"field `{leaf.name}`" if leaf.of_field else f"`{leaf.name}` of the running task"
                gaps[f"{event.name} without {what}"] += 1
                value = "" if leaf.type.kind is Kind.STRING else 0
            values[leaf.name] = value
        return event._replace(fields=fields, context=context), self.match_mended(event, fields, context)


def _fitting(value: object, leaf: Leaf) -> Scalar | None:
    """Return as much of a value as its field has room for, None if it is not of its kind."""
    if leaf.type.kind is Kind.STRING:
        return (cut(value, leaf.type.size) if leaf.long else value) if isinstance(value, str) else None
    beyond = 64 - 8 * leaf.type.size
    return wrap(value << beyond, leaf.type.signed) >> beyond if isinstance(value, int) else None


def read(rule: model.Rule, handler: model.Handler, params: Mapping[str, Scalar]) -> Reading:
    """Return what a handler of a rule reads."""
    writer = Writer(params)
    early, late = _split(handler.where)
    values = rule.opened if handler.role is model.Role.IN else rule.closed
    saves = {index: writer.value(expr, values[index].type) for index, expr in handler.saves}
    empty = [repr("" if v.type.kind is Kind.STRING else 0) for v in values]
    leaves = tuple({leaf.text: leaf for leaf in _leaves(handler, writer)}.values())
    key = row(writer.word(expr, value.type) for expr, value in zip(handler.key, rule.key, strict=True))
    found = f"{key} if {writer.all(early)} else None" if early else key
    return Reading(
        match=_matcher(found, leaves),
        late=function(HANDLER, writer.all(late)) if late else None,
        saves=function(HANDLER, row(saves.get(i, empty[i]) for i in range(len(values)))) if values else None,
        took=None if handler.took is None else function(HANDLER, writer.value(handler.took)),
        outcome=rule.outcomes[handler.outcome] if handler.role in (model.Role.OUT, model.Role.AT) else "",
        leaves=leaves,
        match_mended=function("e, f, c", found),
    )


def _leaves(handler: model.Handler, writer: Writer) -> Iterator[Leaf]:
    for root in (*handler.key, handler.where, handler.took, *(expr for _, expr in handler.saves)):
        for expr in model.walk(root):
            match expr:
                case model.EventField(type=sort, field=field):
                    long = field.shape is Shape.DYNAMIC_STRING
                    yield Leaf(writer.leaf(expr), True, field.name, sort, long)
                # CPU and time are parts of every event: whoever made it has looked at them.
                case model.Context(type=sort, name=name) if name not in ("cpu", "mono"):
                    yield Leaf(writer.leaf(expr), False, name, sort, False)


def _split(where: model.Expr | None) -> tuple[list[model.Expr], list[model.Expr]]:
    """Split a condition at its `and`s: what the event alone decides, and what needs the measurement."""
    early: list[model.Expr] = []
    late: list[model.Expr] = []
    for part in _parts(where):
        needs = any(isinstance(e, model.Captured | model.Measured) for e in model.walk(part))
        (late if needs else early).append(part)
    return early, late


def _parts(condition: model.Expr | None) -> Iterator[model.Expr]:
    match condition:
        case None:
            return
        case model.Operation(operator="and", operands=operands):
            for operand in operands:
                yield from _parts(operand)
        case _:
            yield condition


def _matcher(found: str, leaves: Iterable[Leaf]) -> Callable[[TraceEvent], Key | None]:
    """Return the function from an event to its key: all that runs where `where` rules the event out."""
    text = f"""def match(e):
    f, c = e.fields, e.context
    try:
        fits = {" and ".join(leaf.test for leaf in leaves) or "True"}
    except (KeyError, TypeError):
        fits = False
    if not fits:
        raise Unfit
    return {found}
"""
    known = {"Unfit": Unfit, "KeyError": KeyError, "TypeError": TypeError, "len": len, "str": str}
    return define("match", text, known)
