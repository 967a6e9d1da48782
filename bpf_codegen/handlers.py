"""What one rule does at one event, in C: open, close, cancel, or judge what the event itself measured."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bpf_codegen import measures
from bpf_codegen.expressions import NO_EVENT, Writer, local_name, record_path, walk
from bpf_codegen.plan import WAYS, Access, Expr, FieldValue, Handler, Latency, Outcome, Program, Role, Rule, Stored
from bpf_codegen.reports import report, too_old
from bpf_codegen.text import comment, indent


def handler_function(rule: Rule, handler: Handler, program: Program) -> str:
    """Return the function of one handler."""
    writer = Writer(program)
    body = {Role.IN: _open, Role.OUT: _close, Role.CANCEL: _cancel, Role.AT: _complete}[handler.role](
        rule, handler, program, writer
    )
    early = []
    if handler.early:
        condition = writer.condition(handler.early)
        early = [f"if (!({condition}))", "\treturn;"]
    text = [*writer.buffers(), *early, *body]
    lines = [*arguments(handler_exprs(handler), program, text), *text]
    return (
        f"/* {comment(handler.comment)} */\n"
        f"static __always_inline void {handler.name}({context_type(program)}ctx, u64 *now)\n{{\n{indent(lines)}}}\n\n"
    )


def context_type(program: Program) -> str:
    """Return the C type of a program's context, ready to have its name put behind."""
    match program.access:
        case Access.RAW:
            return "u64 *"
        case Access.RECORD:
            return f"struct {program.record} *"
        case Access.OFFSET:
            return "void *"


def handler_exprs(handler: Handler) -> tuple[Expr | None, ...]:
    """Return the expressions that a handler has of its event."""
    return (*handler.key, handler.early, handler.late, handler.took, *handler.saves)


def arguments(exprs: Iterable[Expr | None], program: Program, body: list[str]) -> list[str]:
    """Return the declarations of what some expressions read: raw arguments, or the integers of a classic record."""
    nodes = [node for expr in exprs for node in walk(expr)]
    if program.access is not Access.RAW:
        fields = {e.name: e for e in nodes if isinstance(e, FieldValue)}
        if not fields:
            return []
        written = " ".join(body)
        # The verifier takes the context with a constant offset only, and each field is read once: the compiler would
        # else keep the sum of both in a register for the next reading.
        reads = [f for f in fields.values() if not f.string and re.search(rf"\b{local_name(f)}\b", written)]
        return ["OPAQUE(ctx);", *(_read(f, program) for f in reads)]
    texts = " ".join(e.raw for e in nodes if isinstance(e, FieldValue))
    used = set(re.findall(r"[A-Za-z_]\w*", re.sub(r"->\s*\w+", "", texts)))
    return [
        f"{sort}{'' if sort.endswith('*') else ' '}{name} = ({sort if not sort.endswith('*') else 'void *'})ctx[{i}];"
        for i, (sort, name) in enumerate(program.arguments)
        if name in used
    ]


def _read(field: FieldValue, program: Program) -> str:
    sort = f"{'s' if field.signed else 'u'}{8 * field.size}"
    return f"{sort} {local_name(field)} = ({sort}){record_path(program, field)};"


def _key(rule: Rule, handler: Handler, writer: Writer) -> list[str]:
    lines = [f"struct {rule.name}_key key = {{}};"]
    for member, expr in zip(rule.key, handler.key, strict=True):
        if isinstance(expr, FieldValue) and not member.string and expr.size < 8:
            # Narrow fields are compared by their own bits, whatever the sign of the other end's type.
            lines.append(f"key.{member.name} = (u{8 * expr.size}){writer.integer(expr)};")
        else:
            lines += writer.copy(f"key.{member.name}", member, expr)
    return lines


def _begin(rule: Rule, handler: Handler, writer: Writer) -> list[str]:
    """Return the statements that find the set and the counters of a handler's key."""
    return [
        *_key(rule, handler, writer),
        f"struct {rule.name}_set *set = {rule.name}_set_of(&key);",
        f"struct counters *counters = counters_of({handler.rule});",
        "if (!set || !counters)",
        "\treturn;",
    ]


def _open(rule: Rule, handler: Handler, program: Program, writer: Writer) -> list[str]:
    name = rule.name
    saves = []
    for member, expr in zip(rule.saved, handler.saves, strict=True):
        saves += writer.copy(f"set->in[way].{member.name}", member, expr)
    settle = []
    if rule.timeout or rule.expire:
        settle = [
            "\tu64 age = at > state >> 1 ? at - (state >> 1) : 0;",
            f"\tu32 old = ({_overdue(rule, 'age')}) && {name}_settle(set, way, state, at, FLAG_LATE);",
            "",
        ]
    count = "\tadd(old ? &counters->expired : &counters->replaced, 1);" if settle else "\tadd(&counters->replaced, 1);"
    keep = []
    if rule.keep_first:
        # One that is too old to be kept gives way to the new one, as it would have done to a sweep.
        old = too_old(rule)
        keep = [
            "u64 age = at > state >> 1 ? at - (state >> 1) : 0;",
            f"if (state && !({old})) {{",
            "\tadd(&counters->kept, 1);",
            "\treturn;",
            "}",
        ]
    return [
        *_begin(rule, handler, writer),
        "u64 at = event_time(now), state = 0, mine = at << 1;",
        f"u32 way = {name}_find(set, &key, &state);",
        "way = forget(way, state);",
        *keep,
        "add(&counters->opened, 1);",
        f"if (state && {name}_claim(set, way, &state)) {{",
        *settle,
        count,
        "} else {",
        f"\tway = {name}_claim_free(set);",
        f"\tif (way >= {WAYS}) {{",
        "\t\tadd(&counters->refused, 1);",
        "\t\treturn;",
        "\t}",
        "\tway = forget(way, mine);",
        "}",
        "set->key[way] = key;",
        *saves,
        "publish(&set->state[way], mine);",
        "/* Two CPUs may open one key at once: at least one sees it here, and both agree on which of them stays. */",
        f"for (u32 other = 0; other < {WAYS}; other++)",
        f"\tif (other != way && READ_ONCE(set->state[other]) > BUSY && {name}_yield(set, &key, way, other, mine))",
        "\t\tadd(&counters->replaced, 1);",
    ]


def _overdue(rule: Rule, age: str) -> str:
    """Return the condition under which a measurement in our hands has anything to settle: rarely true, cheap to ask."""
    limits = [limit for limit in (rule.timeout, rule.expire) if limit is not None]
    return " || ".join(f"(s64){age} > {Writer(NO_EVENT).signed(limit)}" for limit in limits)


def _find(rule: Rule, handler: Handler, writer: Writer, miss: list[str]) -> list[str]:
    """Return the statements that take a measurement into our hands, after the rest of `where`."""
    name = rule.name
    lines = [
        *_begin(rule, handler, writer),
        "u64 state = 0;",
        f"u32 way = {name}_find(set, &key, &state);",
        "way = forget(way, state);",
        "if (!state) {",
        *("\t" + line for line in miss),
        "\treturn;",
        "}",
        "u64 at = event_time(now), opened = state >> 1;",
    ]
    nodes = list(walk(handler.late))
    if handler.role is Role.OUT or rule.timeout or rule.expire or any(isinstance(n, Latency) for n in nodes):
        lines.append("u64 latency = at > opened ? at - opened : 0;")
    if handler.late:
        lines += [f"if (!({writer.condition(handler.late)}))", "\treturn;"]
    lines += [
        f"if (!{name}_claim(set, way, &state)) {{",
        *("\t" + line for line in miss),
        "\treturn;",
        "}",
    ]
    if rule.timeout or rule.expire:
        lines += [
            f"if (({_overdue(rule, 'latency')}) && {name}_settle(set, way, state, at, FLAG_LATE)) {{",
            "\tadd(&counters->expired, 1);",
            *("\t" + line for line in miss),
            "\tpublish(&set->state[way], 0);",
            "\treturn;",
            "}",
        ]
    return lines


def _cancel(rule: Rule, handler: Handler, program: Program, writer: Writer) -> list[str]:
    return [
        *_find(rule, handler, writer, []),
        "add(&counters->cancelled, 1);",
        "publish(&set->state[way], 0);",
    ]


def _close(rule: Rule, handler: Handler, program: Program, writer: Writer) -> list[str]:
    return [
        *_find(rule, handler, writer, ["add(&counters->unmatched, 1);"]),
        "if (at < opened)",
        "\tadd(&counters->clock_skew, 1);",
        "add(&counters->closed, 1);",
        *_judge(rule, handler, program, writer),
        "publish(&set->state[way], 0);",
    ]


def _complete(rule: Rule, handler: Handler, program: Program, writer: Writer) -> list[str]:
    assert handler.took is not None
    key = _key(rule, handler, writer) if rule.key else []
    times = ["u64 at = event_time(now), opened = at > latency ? at - latency : 0;"] if rule.thresh is not None else []
    return [
        *key,
        f"struct counters *counters = counters_of({handler.rule});",
        "if (!counters)",
        "\treturn;",
        f"s64 took = {writer.integer(handler.took)};",
        "u64 latency = took > 0 ? took : 0;",
        *times,
        "add(&counters->opened, 1);",
        "add(&counters->closed, 1);",
        "if (took < 0)",
        "\tadd(&counters->clock_skew, 1);",
        *_judge(rule, handler, program, writer),
    ]


def _judge(rule: Rule, handler: Handler, program: Program, writer: Writer) -> list[str]:
    """Return the statements that count a finished measurement and report it if it took too long."""
    clauses: list[Expr | None] = [rule.when, rule.thresh]
    clauses += [h.value for h in rule.histograms] + [s.value for s in rule.statistics]
    clauses += [value for group in rule.groups for value in group.values]
    nodes = [node for clause in clauses for node in walk(clause)]
    needed = any(isinstance(n, Stored) and n.where == "out" for n in nodes)
    target = "out" if needed else "record->out"
    fill = []
    for member, expr in zip(rule.closing, handler.saves, strict=True):
        fill += writer.copy(f"{target}.{member.name}", member, expr)
    lines = []
    if rule.thresh is not None or any(isinstance(n, Outcome) for n in nodes):
        lines.append(f"u32 outcome = {handler.outcome};")
    if needed:
        lines += [f"struct {rule.name}_out out;", *fill]
    judged = measures.update(rule, program)
    if rule.thresh is not None:
        flags = f"outcome << OUTCOME_SHIFT{_late(rule)}"
        copy = ["record->out = out;"] if needed else fill
        reported = report(rule, handler.rule, "KIND_ALERT", "latency", "limit", flags, copy)
        judged += [
            f"s64 limit = {writer.integer(rule.thresh)};",
            "if ((s64)latency > limit) {",
            *("\t" + line for line in reported),
            "}",
        ]
    if rule.when is not None:
        return [*lines, f"if ({writer.condition(rule.when)}) {{", *("\t" + line for line in judged), "}"]
    return lines + judged


def _late(rule: Rule) -> str:
    if not rule.timeout or not rule.sets:
        return ""
    return f" | (state & REPORTED || (s64)latency > {Writer(NO_EVENT).signed(rule.timeout)} ? FLAG_LATE : 0)"
