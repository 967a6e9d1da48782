"""What one rule does at one event, in C: open, close, cancel, or judge what the event itself measured."""

from __future__ import annotations

from bpf_codegen import measures, table
from bpf_codegen.expressions import NO_EVENT, Writer, walk
from bpf_codegen.plan import Expr, Handler, Latency, Outcome, Program, Role, Rule, Stored
from bpf_codegen.reading import context_type, reads
from bpf_codegen.reports import report, too_old
from bpf_codegen.scope import RuleScope
from bpf_codegen.text import comment, indent


def handler_function(scope: RuleScope, handler: Handler, program: Program) -> str:
    """Return the function of one handler. It is called with the key, once the part `early` of its condition holds."""
    writer = Writer(program)
    body = {Role.IN: _open, Role.OUT: _close, Role.CANCEL: _cancel, Role.AT: _complete}[handler.role](
        scope, handler, program, writer
    )
    text = [*writer.buffers(), *body]
    lines = [*reads((handler.late, handler.took, *handler.saves), program, text), *text]
    arguments = ", ".join([f"{context_type(program)}ctx", "u64 *now", *key_parameters(scope)])
    return (
        f"/* {comment(handler.comment)} */\n"
        f"static {_inline(program)} void {handler.name}({arguments})\n{{\n{indent(lines)}}}\n\n"
    )


#: A program with more handlers calls them: a jump reaches over 32767 instructions, and one handler has 300 or so.
MOST_INLINE = 32


def _inline(program: Program) -> str:
    return "__always_inline" if len(program.handlers) <= MOST_INLINE else "__noinline"


def key_parameters(scope: RuleScope) -> list[str]:
    """Return the parameters by which the handlers of a rule take their key."""
    return [scope.key_argument] * bool(scope.key) + ["u64 hash"] * bool(scope.rule.sets)


def _begin(scope: RuleScope) -> list[str]:
    """Return the statements that find the set and the counters of a handler's key."""
    return [
        f"u32 place = {table.place(scope.rule)};",
        f"struct {scope.rule.name}_set *set = {scope.rule.name}_set(place);",
        f"struct counters *counters = counters_of({scope.index});",
        "if (!set || !counters)",
        "\treturn;",
    ]


def _open(scope: RuleScope, handler: Handler, program: Program, writer: Writer) -> list[str]:
    rule, name = scope.rule, scope.rule.name
    saves = []
    for member, expr in zip(rule.saved, handler.saves, strict=True):
        saves += writer.copy(f"set->in[way].{member.name}", member, expr)
    keep = []
    if rule.keep_first:
        # One that is too old to be kept gives way to the new one, as it would have done to a sweep.
        keep = [
            "u64 age = at > state >> 1 ? at - (state >> 1) : 0;",
            f"if (state && !({too_old(rule)})) {{",
            "\tadd(&counters->kept, 1);",
            "\treturn;",
            "}",
        ]
    queue = []
    if rule.queued:
        queue = [
            "/* A slot that is in a queue already will be looked at before this measurement is overdue. */",
            f"if (!READ_ONCE(set->next[way]) && !enqueue({scope.index}, &set->next[way], place * WAYS + way + 1, at))",
            "\tadd(&counters->unqueued, 1);",
        ]
    return [
        *_begin(scope),
        "u64 at = event_time(now), mine = at << 1, state;",
        f"u32 way = {name}_find(set, key, WAYS, &state);",
        *keep,
        "add(&counters->opened, 1);",
        "if (state && claim(&set->state[way], &state, BUSY)) {",
        *("\t" + line for line in _displace(scope, "key", "replaced")),
        "} else {",
        "\tway = claim_free(set->state);",
        "\tif (way >= WAYS) {",
        *("\t\t" + line for line in _make_room(scope)),
        "\t}",
        "\tway = forget(way, mine);",
        "}",
        "set->key[way] = *key;",
        *saves,
        *queue,
        "publish(&set->state[way], mine);",
        "/* Two CPUs may open one key at once: at least one sees it here, and both agree on which of them stays. */",
        "for (u32 i = 0; i < TWINS; i++) {",
        "\tu64 seen;",
        f"\tu32 other = {name}_find(set, key, way, &seen);",
        "",
        "\tif (!seen)",
        "\t\tbreak;",
        f"\tif ({'keep_first' if rule.keep_first else 'keep_last'}(set->state, way, mine, other, seen))",
        "\t\tadd(&counters->replaced, 1);",
        "}",
    ]


def _displace(scope: RuleScope, key: str, counter: str) -> list[str]:
    """Return the statements that end a measurement in our hands, whose place a new one takes."""
    rule = scope.rule
    if not (rule.timeout or rule.expire):
        return [f"add(&counters->{counter}, 1);"]
    return [
        "u64 age = at > state >> 1 ? at - (state >> 1) : 0;",
        f"u32 old = {_overdue(scope, 'age')} && {rule.name}_settle(set, way, {key}, state, at);",
        "",
        f"add(old ? &counters->expired : &counters->{counter}, 1);",
    ]


def _make_room(scope: RuleScope) -> list[str]:
    """Return the statements for an opening that finds its set full."""
    refuse = ["add(&counters->refused, 1);", "return;"]
    if not scope.rule.evict:
        return refuse
    return [
        "way = oldest(set->state, &state);",
        "if (!state || !claim(&set->state[way], &state, BUSY)) {",
        *("\t" + line for line in refuse),
        "}",
        f"struct {scope.key} evicted = set->key[way];",
        "",
        *_displace(scope, "&evicted", "refused"),
    ]


def _overdue(scope: RuleScope, age: str) -> str:
    """Return the condition under which a measurement in our hands has anything to settle: rarely true, cheap to ask."""
    return f"{age} > READ_ONCE(control.pace[{scope.index}].due)"


def _find(scope: RuleScope, handler: Handler, writer: Writer, miss: list[str]) -> list[str]:
    """Return the statements that take a measurement into our hands, after the rest of `where`.

    The slot stays claimed as long as its saved values are needed; without any it is free at once.
    """
    rule, name = scope.rule, scope.rule.name
    lines = [
        *_begin(scope),
        "u64 state;",
        f"u32 way = {name}_find(set, key, WAYS, &state);",
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
        # What is too old is no more, whatever the condition says: a sweep may have dropped it by now, or not.
        old = f" && !({too_old(rule, 'latency')})" if rule.expire or rule.drop else ""
        lines += [f"if (!({writer.condition(handler.late)}){old})", "\treturn;"]
    lines += [
        f"if (!claim(&set->state[way], &state, {'BUSY' if rule.saved else '0'})) {{",
        *("\t" + line for line in miss),
        "\treturn;",
        "}",
    ]
    if rule.timeout or rule.expire:
        lines += [
            f"if ({_overdue(scope, 'latency')} && {name}_settle(set, way, key, state, at)) {{",
            "\tadd(&counters->expired, 1);",
            *("\t" + line for line in miss),
            *("\t" + line for line in _release(rule)),
            "\treturn;",
            "}",
        ]
    return lines


def _release(rule: Rule) -> list[str]:
    return ["publish(&set->state[way], 0);"] if rule.saved else []


def _cancel(scope: RuleScope, handler: Handler, program: Program, writer: Writer) -> list[str]:
    return [*_find(scope, handler, writer, []), "add(&counters->cancelled, 1);", *_release(scope.rule)]


def _close(scope: RuleScope, handler: Handler, program: Program, writer: Writer) -> list[str]:
    return [
        *_find(scope, handler, writer, ["add(&counters->unmatched, 1);"]),
        "if (at < opened)",
        "\tadd(&counters->clock_skew, 1);",
        "add(&counters->closed, 1);",
        *_judge(scope, handler, program, writer),
        *_release(scope.rule),
    ]


def _complete(scope: RuleScope, handler: Handler, program: Program, writer: Writer) -> list[str]:
    assert handler.took is not None
    times = []
    if scope.rule.thresh is not None:
        times = ["u64 at = event_time(now), opened = at > latency ? at - latency : 0;"]
    return [
        f"struct counters *counters = counters_of({scope.index});",
        "if (!counters)",
        "\treturn;",
        f"s64 took = {writer.integer(handler.took)};",
        "u64 latency = took > 0 ? took : 0;",
        *times,
        "add(&counters->opened, 1);",
        "add(&counters->closed, 1);",
        "if (took < 0)",
        "\tadd(&counters->clock_skew, 1);",
        *_judge(scope, handler, program, writer),
    ]


def _judge(scope: RuleScope, handler: Handler, program: Program, writer: Writer) -> list[str]:
    """Return the statements that count a finished measurement and report it if it took too long."""
    rule = scope.rule
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
    judged = measures.update(scope, program)
    if rule.thresh is not None:
        flags = f"outcome << OUTCOME_SHIFT{_late(rule)}"
        copy = ["record->out = out;"] if needed else fill
        reported = report(scope, "KIND_ALERT", "latency", "limit", flags, copy)
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
