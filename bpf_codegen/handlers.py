"""What one rule does at one event, and what the sweep does to its table, in C."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bpf_codegen import measures
from bpf_codegen.expressions import Writer, walk
from bpf_codegen.plan import WAYS, Access, Expr, FieldValue, Handler, Latency, Outcome, Program, Role, Rule, Stored
from bpf_codegen.table import c_member

#: Expressions of a rule's own clauses read no event: they are written for a program without one.
_NO_EVENT = Program("", "", "", Access.RECORD, ())


def indent(lines: Iterable[str], depth: int = 1) -> str:
    """Return lines as C text, indented by tabs."""
    tabs = "\t" * depth
    return "".join(f"{tabs}{line}\n" if line.strip() else "\n" for line in lines)


def rule_functions(rule: Rule, index: int) -> str:
    """Return a rule's record, the functions that report its alerts, and its sweep."""
    name = rule.name
    parts = [("head", "struct head head;")]
    for part, members in (("key", rule.key), ("in", rule.saved), ("out", rule.closing)):
        if members:
            parts.append((part, f"struct {name}_{part} {part};"))
    closing = ""
    if rule.closing:
        closing = f"struct {name}_out {{\n" + "".join(f"\t{c_member(m)};\n" for m in rule.closing) + "};\n\n"
    text = closing + f"struct {name}_record {{\n" + "".join(f"\t{line}\n" for _, line in parts) + "};\n\n"
    if rule.sets and (rule.timeout or rule.expire):
        text += _settle(rule, index) + _sweep(rule, index)
    return text


def _admit(rule: Rule, groups_known: bool = False) -> tuple[list[str], str]:
    """Return the statements before, and the condition of, letting an alert through."""
    if not rule.rate:
        return [], "true"
    writer = Writer(_NO_EVENT)
    group = rule.rate.group
    lines = [] if groups_known or not group.values else measures.find_groups(rule, (group,), _NO_EVENT)
    name = measures.map_name(rule, "rate")
    lines += [
        f"u32 rate_index = {measures.group_number(group)};",
        f"struct rate *rate = bpf_map_lookup_elem(&{name}, &rate_index);",
    ]
    count, period = writer.integer(rule.rate.count), writer.integer(rule.rate.period)
    return lines, f"!rate || rate_admits(rate, at, {count}, {period})"


def _report(rule: Rule, index: int, kind: str, latency: str, limit: str, flags: str, out: list[str]) -> list[str]:
    """Return the statements that report a measurement in our hands, within `rate`."""
    before, admitted = _admit(rule)
    counter = "alerts" if kind == "KIND_ALERT" else "timeouts"
    take = "rate ? __sync_lock_test_and_set(&rate->suppressed, 0) : 0" if rule.rate else "0"
    give_back = ["\tif (rate && suppressed)", "\t\tadd(&rate->suppressed, suppressed);"] if rule.rate else []
    return [
        *before,
        f"if ({admitted}) {{",
        f"\tstruct {rule.name}_record *record = bpf_ringbuf_reserve(&alerts, sizeof(*record), 0);",
        f"\tu64 suppressed = {take};",
        "",
        f"\tadd(&counters->{counter}, 1);",
        "\tif (record) {",
        *("\t\t" + line for line in _fill(rule, index, kind, latency, limit, flags, "suppressed")),
        *("\t\t" + line for line in out),
        "\t\tbpf_ringbuf_submit(record, 0);",
        "\t} else {",
        "\t\tadd(&counters->lost, 1);",
        *("\t" + line for line in give_back),
        "\t}",
        "} else {",
        "\tadd(&counters->suppressed, 1);",
        "}",
    ]


def _fill(rule: Rule, index: int, kind: str, latency: str, limit: str, flags: str, suppressed: str) -> list[str]:
    values = f"{index}, {kind}, opened, at, {latency}, {limit}, {suppressed}, bpf_get_smp_processor_id(), {flags}"
    lines = [f"record->head = (struct head){{ {values} }};"]
    if rule.key:
        lines.append("record->key = key;")
    if rule.saved:
        lines.append("record->in = set->in[way];")
    return lines


def _settle(rule: Rule, index: int) -> str:
    """Return the function that ends what a measurement in our hands still owes."""
    name = rule.name
    writer = Writer(_NO_EVENT)
    lines = []
    too_old = []
    if rule.timeout:
        limit = writer.integer(rule.timeout)
        lines = [f"struct {name}_key key = set->key[way];", f"s64 timeout = {limit};", ""]
        clear = ["__builtin_memset(&record->out, 0, sizeof(record->out));"] if rule.closing else []
        report = _report(rule, index, "KIND_TIMEOUT", "age", "timeout", "flags", clear)
        lines += ["if (!(state & REPORTED) && (s64)age > timeout) {", *("\t" + line for line in report), "}"]
        if rule.drop:
            too_old.append("(s64)age > timeout")
    if rule.expire:
        too_old.append(f"(s64)age > {writer.signed(rule.expire)}")
    verdict = " || ".join(too_old) or "false"
    return f"""/*
 * Report the timeout of a measurement in our hands, if no sweep has done so. Return whether it is too old to be closed.
 */
static __noinline u32 {name}_settle(struct {name}_set *set, u32 way, u64 state, u64 at, u32 flags)
{{
	struct counters *counters = counters_of({index});
	u64 opened = state >> 1, age = at > opened ? at - opened : 0;

	way = forget(way, at);
	if (!counters)
		return 0;
{indent(lines)}	return {verdict};
}}

"""


def _sweep(rule: Rule, index: int) -> str:
    """Return the function that looks at every slot: what is overdue is reported, what has expired goes."""
    name = rule.name
    writer = Writer(_NO_EVENT)
    drop = f"(s64)age > {writer.signed(rule.expire)}" if rule.expire else "false"
    if rule.timeout and rule.drop:
        drop += f" || (s64)age > {writer.signed(rule.timeout)}"
    mark = []
    if rule.timeout and not rule.drop:
        before, admitted = _admit(rule)
        take = "rate ? __sync_lock_test_and_set(&rate->suppressed, 0) : 0" if rule.rate else "0"
        clear = ["__builtin_memset(&record->out, 0, sizeof(record->out));"] if rule.closing else []
        mark = [
            "",
            f"s64 timeout = {writer.integer(rule.timeout)};",
            "",
            "if (state & REPORTED || (s64)age <= timeout)",
            "\treturn;",
            "",
            "/* Copy first: only if the slot is still the same after that, the copy is whole and the report ours. */",
            f"struct {name}_key key = set->key[way];",
            f"struct {name}_record *record = bpf_ringbuf_reserve(&alerts, sizeof(*record), 0);",
            "if (record) {",
            *("\t" + line for line in _fill(rule, index, "KIND_TIMEOUT", "age", "timeout", "0", "0")),
            *("\t" + line for line in clear),
            "}",
            "if (swap_if(&set->state[way], state, state | REPORTED) != state) {",
            "\tif (record)",
            "\t\tbpf_ringbuf_discard(record, 0);",
            "\treturn;",
            "}",
            *before,
            f"if (!({admitted})) {{",
            "\tadd(&counters->suppressed, 1);",
            "\tif (record)",
            "\t\tbpf_ringbuf_discard(record, 0);",
            "\treturn;",
            "}",
            "add(&counters->timeouts, 1);",
            "if (!record) {",
            "\tadd(&counters->lost, 1);",
            "\treturn;",
            "}",
            f"record->head.suppressed = {take};",
            "bpf_ringbuf_submit(record, 0);",
        ]
    return f"""static __noinline void {name}_sweep_slot(struct {name}_set *set, u32 way, u64 at)
{{
	struct counters *counters = counters_of({index});

	way = forget(way, at);
	if (!counters)
		return;
	u64 state = READ_ONCE(set->state[way]), opened = state >> 1, age = at > opened ? at - opened : 0;
	if (state <= BUSY)
		return;
	if ({drop}) {{
		if ({name}_claim(set, way, &state)) {{
			{name}_settle(set, way, state, at, 0);
			add(&counters->expired, 1);
			publish(&set->state[way], 0);
		}}
		return;
	}}
{indent(mark)}}}

static long {name}_sweep(void *map, u32 *index, struct {name}_set *set, u64 *at)
{{
	for (u32 way = 0; way < {WAYS}; way++)
		if (set->state[way] > BUSY)
			{name}_sweep_slot(set, way, *at);
	return 0;
}}

"""


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
    lines = [*_arguments(handler, program), *writer.buffers(), *early, *body]
    context = "u64 *ctx" if program.access is Access.RAW else f"struct {program.record} *ctx"
    if program.access is Access.OFFSET:
        context = "void *ctx"
    return (
        f"/* {handler.comment} */\n"
        f"static __always_inline void {handler.name}({context}, u64 *now)\n{{\n{indent(lines)}}}\n\n"
    )


def _arguments(handler: Handler, program: Program) -> list[str]:
    """Return the declarations of the raw tracepoint's arguments that a handler reads."""
    if program.access is not Access.RAW:
        return []
    exprs = (*handler.key, handler.early, handler.late, handler.took, *handler.saves)
    texts = " ".join(e.raw for expr in exprs for e in walk(expr) if isinstance(e, FieldValue))
    used = set(re.findall(r"[A-Za-z_]\w*", re.sub(r"->\s*\w+", "", texts)))
    return [
        f"{sort}{'' if sort.endswith('*') else ' '}{name} = ({sort if not sort.endswith('*') else 'void *'})ctx[{i}];"
        for i, (sort, name) in enumerate(program.arguments)
        if name in used
    ]


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
        old = _too_old(rule)
        keep = [
            "u64 age = at > state >> 1 ? at - (state >> 1) : 0;",
            f"if (state && !({old})) {{",
            "\tadd(&counters->kept, 1);",
            "\treturn;",
            "}",
        ]
    loser = "seen < mine || (seen == mine && other < way)"
    if rule.keep_first:
        loser = "seen > mine || (seen == mine && other > way)"
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
        f"for (u32 other = 0; other < {WAYS}; other++) {{",
        "\t/* Two CPUs may open one key at once: at least one sees it here, and both agree on which of them stays. */",
        "\tu64 seen = READ_ONCE(set->state[other]) & ~REPORTED;",
        "",
        f"\tif (other == way || !seen || !{name}_same(&set->key[other], &key))",
        "\t\tcontinue;",
        f"\tu32 loser = forget({loser} ? other : way, seen);",
        "\tu64 held = loser == way ? mine : seen;",
        "\tif (swap_if(&set->state[loser], held, 0) == held)",
        "\t\tadd(&counters->replaced, 1);",
        "}",
    ]


def _too_old(rule: Rule) -> str:
    writer = Writer(_NO_EVENT)
    terms = [f"(s64)age > {writer.signed(rule.expire)}"] if rule.expire else []
    if rule.timeout and rule.drop:
        terms.append(f"(s64)age > {writer.signed(rule.timeout)}")
    return " || ".join(terms) or "false"


def _overdue(rule: Rule, age: str) -> str:
    """Return the condition under which a measurement in our hands has anything to settle: rarely true, cheap to ask."""
    limits = [limit for limit in (rule.timeout, rule.expire) if limit is not None]
    return " || ".join(f"(s64){age} > {Writer(_NO_EVENT).signed(limit)}" for limit in limits)


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
        report = _report(rule, handler.rule, "KIND_ALERT", "latency", "limit", flags, copy)
        judged += [
            f"s64 limit = {writer.integer(rule.thresh)};",
            "if ((s64)latency > limit) {",
            *("\t" + line for line in report),
            "}",
        ]
    if rule.when is not None:
        return [*lines, f"if ({writer.condition(rule.when)}) {{", *("\t" + line for line in judged), "}"]
    return lines + judged


def _late(rule: Rule) -> str:
    if not rule.timeout or not rule.sets:
        return ""
    return f" | (state & REPORTED || (s64)latency > {Writer(_NO_EVENT).signed(rule.timeout)} ? FLAG_LATE : 0)"
