"""Model to plan: what the kernel side must do for a rule set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from bpf_codegen import plan
from bpf_codegen.render import handler_fields
from ltrules import model
from ltrules.catalog.events import Catalog, Event, Shape
from ltrules.evaluate import is_unsigned
from ltrules.naming import member_of, members, unique
from ltrules.raw import RAW_EVENTS
from ltrules.types import INT, STRING_BYTES, Kind, Type

#: Names that generated C has for its own: of maps, programs, functions and structs beside those of the rules.
_TAKEN = frozenset(
    "alerts arm control counters enqueue event events head histogram key look pace pending queue queues rate rates set"
    " sets statistic statistics step sweep sweeper sweepers sweeping unrecorded visit walk".split()
)
_ROLE_ORDER = {role: i for i, role in enumerate(model.Role)}


def lower(rules: model.RuleSet, catalog: Catalog, ring_bytes: int = 1 << 20) -> plan.Plan:
    """Return the plan of a rule set: one program for each event, whatever the number of rules there."""
    params = [p for p in rules.params if _is_used(p, rules)]
    names = unique([p.name for p in params], {"enabled"})
    controls = dict(zip((p.name for p in params), names, strict=True))
    lowerer = _Lowerer(rules, catalog, {p.name: p for p in params}, controls)
    return plan.Plan(
        rules=tuple(lowerer.rule(rule, i) for i, rule in enumerate(rules.rules)),
        programs=tuple(lowerer.programs()),
        parameters=tuple(_parameter(p, controls[p.name]) for p in params),
        ring_bytes=ring_bytes,
    )


def _is_used(param: model.Param, rules: model.RuleSet) -> bool:
    return any(isinstance(e, model.Parameter) and e.name == param.name for r in rules.rules for e in _kernel_exprs(r))


def _kernel_exprs(rule: model.Rule) -> Iterable[model.Expr]:
    roots: list[model.Expr | None] = [rule.when, rule.thresh, rule.expire]
    if rule.timeout:
        roots.append(rule.timeout.limit)
    if rule.rate:
        roots += [rule.rate.count, rule.rate.period, *rule.rate.by]
    for h in rule.handlers:
        roots += [*h.key, h.where, h.took, *(e for _, e in h.saves)]
    for histogram in rule.histograms:
        roots += [histogram.value, *histogram.by]
    for statistic in rule.statistics:
        roots += [statistic.value, *statistic.by]
    for root in roots:
        yield from model.walk(root)


def _parameter(param: model.Param, name: str) -> plan.Parameter:
    value = param.value.encode() if isinstance(param.value, str) else param.value
    return plan.Parameter(member_of(name, param.type), param.name, value)


class _Lowerer:
    """Lowers the rules of one set."""

    def __init__(
        self, rules: model.RuleSet, catalog: Catalog, params: Mapping[str, model.Param], controls: Mapping[str, str]
    ) -> None:
        self.rules = rules
        self.catalog = catalog
        self.params = params
        self.controls = controls
        self.names = unique([r.name for r in rules.rules], _TAKEN)

    # ----------------------------------------------------------------------------- rules
    def rule(self, rule: model.Rule, index: int) -> plan.Rule:
        """Return the plan of one rule."""
        groups: dict[tuple[str, ...], plan.Group] = {}

        def group(by: Sequence[model.Expr]) -> plan.Group:
            exprs = tuple(self.expr(e, rule) for e in by)
            if not exprs:
                return plan.Group("all", (), ())
            identity = tuple(map(repr, exprs))
            if identity not in groups:
                made = tuple(member_of(f"value{i}", _grouped(e)) for i, e in enumerate(by))
                groups[identity] = plan.Group(f"by{len(groups) + 1}", exprs, made)
            return groups[identity]

        everything = plan.Group("all", (), ())
        histograms = [plan.Histogram("latency", plan.Latency(), everything, unsigned=True)]
        for i, h in enumerate(rule.histograms, 1):
            buckets = -(-(h.high - h.low) // h.step) + 2 if h.step else plan.BUCKETS
            value, unsigned = self.expr(h.value, rule), is_unsigned([h.value.type])
            histograms.append(plan.Histogram(f"hist{i}", value, group(h.by), h.low, h.step, buckets, unsigned))
        statistics = [
            plan.Statistic(f"stat{i}", self.expr(s.value, rule), group(s.by), is_unsigned([s.value.type]))
            for i, s in enumerate(rule.statistics, 1)
        ]
        rate = None
        if rule.rate:
            rate = plan.Rate(self.expr(rule.rate.count, rule), self.expr(rule.rate.period, rule), group(rule.rate.by))
        return plan.Rule(
            name=self.names[index],
            title=f"{rule.name}: {rule.title}" if rule.title != rule.name else rule.name,
            place=f"{rule.span.source.name}:{rule.span.line}",
            key=members(rule.key),
            saved=members(rule.opened),
            closing=members(rule.closed),
            sets=_sets(rule.inflight) if rule.pairs else 0,
            keep_first=rule.keep_first,
            evict=rule.evict,
            when=self._maybe(rule.when, rule),
            thresh=self._maybe(rule.thresh, rule),
            timeout=self._maybe(rule.timeout.limit if rule.timeout else None, rule),
            drop=rule.timeout is not None and rule.timeout.drop,
            expire=self._maybe(rule.expire, rule) if rule.pairs else None,
            rate=rate,
            histograms=tuple(histograms),
            statistics=tuple(statistics),
        )

    # -------------------------------------------------------------------------- programs
    def programs(self) -> Iterable[plan.Program]:
        """Iterate over the programs, by the name of their event."""
        by_event: dict[str, list[tuple[int, model.Rule, model.Handler]]] = {}
        for index, rule in enumerate(self.rules.rules):
            for handler in sorted(rule.handlers, key=lambda h: _ROLE_ORDER[h.role]):
                by_event.setdefault(handler.event.full_name, []).append((index, rule, handler))
        names = unique([f"on_{name.split(':')[1]}" for name in sorted(by_event)], self.names)
        counts: dict[str, int] = {}
        for name, (event_name, uses) in zip(names, sorted(by_event.items()), strict=True):
            event = uses[0][2].event
            handlers = []
            for index, rule, handler in uses:
                base = f"{self.names[index]}_{handler.role.value}"
                counts[base] = counts.get(base, 0) + 1
                suffix = f"_{counts[base]}" if counts[base] > 1 else ""
                handlers.append(self._handler(f"{base}{suffix}", index, rule, handler))
            yield self._program(name, event, event_name, handlers)

    def _program(self, name: str, event: Event, full_name: str, handlers: list[plan.Handler]) -> plan.Program:
        raw = RAW_EVENTS.get(full_name)
        fields = {f.name: f for h in handlers for f in handler_fields(h)}
        access = record_access(event, fields)
        arguments: tuple[tuple[str, str], ...] = ()
        if raw and self._raw_works(event, fields.values()):
            access, arguments = plan.Access.RAW, raw.arguments
        return plan.Program(name, event.category, event.name, access, tuple(handlers), event.record or "", arguments)

    def _raw_works(self, event: Event, fields: Iterable[plan.FieldValue]) -> bool:
        """Tell whether all fields can be had from the raw tracepoint's arguments on this kernel."""
        raw = RAW_EVENTS[event.full_name]
        if event.raw_arguments is None:
            return False
        for field in fields:
            if field.name not in raw.fields:
                return False
            entry = raw.fields[field.name]
            words = set(re.findall(r"[A-Za-z_]\w*", entry.expression))
            for position, (_, argument) in enumerate(raw.arguments):
                if argument in words and position >= len(event.raw_arguments):
                    return False
            if any(self.catalog.has_path(struct, path) is not True for struct, path in entry.paths):
                return False
        return True

    def _handler(self, name: str, index: int, rule: model.Rule, handler: model.Handler) -> plan.Handler:
        values = rule.opened if handler.role is model.Role.IN else rule.closed
        saves: list[plan.Expr | None] = [None] * len(values)
        for place, expr in handler.saves:
            saves[place] = self.expr(expr, rule, handler.event)
        early, late = self._split(handler.where, rule, handler.event)
        if handler.role is model.Role.CANCEL:
            saves = []
        return plan.Handler(
            name=name,
            rule=index,
            role=plan.Role(handler.role.value),
            comment=f"{handler.span.source.name}:{handler.span.line}: {handler.span.text}",
            key=tuple(self.expr(e, rule, handler.event) for e in handler.key),
            early=early,
            late=late,
            saves=tuple(saves),
            outcome=handler.outcome,
            took=None if handler.took is None else self.expr(handler.took, rule, handler.event),
        )

    def _split(
        self, where: model.Expr | None, rule: model.Rule, event: Event
    ) -> tuple[plan.Expr | None, plan.Expr | None]:
        """Split a condition at its `and`s: what the event alone decides, and what needs the measurement."""
        if where is None:
            return None, None
        early: list[plan.Expr] = []
        late: list[plan.Expr] = []
        for part in _parts(where):
            needs = any(isinstance(e, model.Captured | model.Measured) for e in model.walk(part))
            (late if needs else early).append(self.expr(part, rule, event))
        return _all(early), _all(late)

    # ----------------------------------------------------------------------- expressions
    def _maybe(self, expr: model.Expr | None, rule: model.Rule) -> plan.Expr | None:
        return None if expr is None else self.expr(expr, rule)

    def expr(self, expr: model.Expr, rule: model.Rule, event: Event | None = None) -> plan.Expr:
        """Return an expression as the kernel computes it; what user space formats is grouped as it is."""
        match expr:
            case model.Constant(value=str(text)):
                return plan.Text(text.encode())
            case model.Constant(value=value):
                return plan.Number(int(value))
            case model.EventField():
                assert event is not None
                return _field(expr, event)
            case model.Context(name=name):
                return plan.Context(name)
            case model.Captured(where=where, index=index):
                values = {"key": rule.key, "in": rule.opened, "out": rule.closed}[where]
                member = members(values)[index]
                size = values[index].type.size if where == "key" or member.string else 8
                return plan.Stored(where, member.name, size, values[index].type.signed, member.string)
            case model.Parameter(name=name):
                member = member_of(self.controls[name], self.params[name].type)
                return plan.Stored("control", member.name, member.size, member.signed, member.string)
            case model.Measured(name="latency"):
                return plan.Latency()
            case model.Measured(name="outcome"):
                return plan.Outcome()
            case model.Operation(operator=operator, operands=operands):
                return self._operation(operator, operands, rule, event)
            case model.Formatted(operand=operand):
                return self.expr(operand, rule, event)
        raise AssertionError(f"{expr} has no meaning in the kernel")

    def _operation(
        self, operator: str, operands: Sequence[model.Expr], rule: model.Rule, event: Event | None
    ) -> plan.Expr:
        outcome = _outcome_test(operator, operands, rule)
        if outcome is not None:
            return outcome
        strings = operands[0].type.kind is Kind.STRING
        return plan.Operation(
            {"neg": "-"}.get(operator, operator),
            tuple(self.expr(o, rule, event) for o in operands),
            unsigned=is_unsigned([o.type for o in operands]),
            strings=strings,
        )


def _outcome_test(operator: str, operands: Sequence[model.Expr], rule: model.Rule) -> plan.Expr | None:
    """Return the test of `outcome == "label"`: the kernel knows labels by number."""
    for left, right in (tuple(operands), tuple(reversed(operands))) if len(operands) == 2 else ():
        if isinstance(left, model.Measured) and left.name == "outcome" and isinstance(right, model.Constant):
            number = rule.outcomes.index(str(right.value)) if right.value in rule.outcomes else -1
            return plan.Operation(operator, (plan.Outcome(), plan.Number(number)))
    return None


def _parts(condition: model.Expr) -> Iterable[model.Expr]:
    """Iterate over the conditions that `and` joins, however they are grouped."""
    match condition:
        case model.Operation(operator="and", operands=operands):
            for operand in operands:
                yield from _parts(operand)
        case _:
            yield condition


def _all(parts: list[plan.Expr]) -> plan.Expr | None:
    if not parts:
        return None
    result = parts[0]
    for part in parts[1:]:
        result = plan.Operation("and", (result, part))
    return result


def record_access(event: Event, names: Iterable[str]) -> plan.Access:
    """Return how these fields of an event are had from its classic record."""
    plain = all("[" not in n for n in names)
    return plan.Access.RECORD if event.record and not event.is_syscall and plain else plan.Access.OFFSET


def _field(expr: model.EventField, event: Event) -> plan.FieldValue:
    field = expr.field
    raw = RAW_EVENTS.get(event.full_name)
    entry = raw.fields.get(field.name) if raw else None
    dynamic = field.shape is Shape.DYNAMIC_STRING
    string = dynamic or field.shape is Shape.STRING
    size = STRING_BYTES if dynamic else -(-field.size // 8) * 8 if string else field.size
    sort = "pointer" if field.pointer else "enum" if field.c_type.startswith("enum ") else "int"
    return plan.FieldValue(
        field.name, size, field.signed, string, dynamic, field.offset, entry.expression if entry else "", sort
    )


def _grouped(expr: model.Expr) -> Type:
    """Return the type of a part of a group's key: the kernel knows the label of an `out` by number."""
    return INT if isinstance(expr, model.Measured) and expr.name == "outcome" else expr.type


def _sets(inflight: int) -> int:
    """Return how many sets give `inflight` measurements room at a quarter of the slots: 1 in 7,000 is refused then."""
    sets = 1
    while sets * plan.WAYS < inflight * 4:
        sets *= 2
    return sets
