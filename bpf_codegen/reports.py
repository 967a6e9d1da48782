"""How one rule reports: alerts within `rate`, timeouts of what ends late, and of what a sweep finds pending."""

from __future__ import annotations

from bpf_codegen import measures
from bpf_codegen.expressions import NO_EVENT, Writer
from bpf_codegen.plan import Rule
from bpf_codegen.scope import RuleScope
from bpf_codegen.table import struct
from bpf_codegen.text import indent


def rule_functions(scope: RuleScope) -> str:
    """Return a rule's record, and the functions that report what is overdue."""
    rule, name = scope.rule, scope.rule.name
    parts = ["struct head head;"]
    if rule.key:
        parts.append(f"struct {scope.key} key;")
    if rule.saved:
        parts.append(f"struct {name}_in in;")
    if rule.closing:
        parts.append(f"struct {name}_out out;")
    text = struct(f"{name}_out", rule.closing) + f"struct {name}_record {{\n{indent(parts)}}};\n\n"
    if rule.sets and (rule.timeout or rule.expire):
        text += _settle(scope) + (_mark(scope) if rule.timeout else "") + _look(scope)
    return text


def admit(scope: RuleScope) -> tuple[list[str], str]:
    """Return the statements before, and the condition of, letting an alert through."""
    rate = scope.rule.rate
    if not rate:
        return [], "true"
    writer = Writer(NO_EVENT)
    lines = measures.find_groups(scope, (rate.group,), NO_EVENT) if rate.group.values else []
    lines += [
        f"u32 rate_index = {measures.entry(scope.places.rates[scope.index], rate.group)};",
        "struct rate *rate = bpf_map_lookup_elem(&rates, &rate_index);",
    ]
    count, period = writer.integer(rate.count), writer.integer(rate.period)
    return lines, f"!rate || rate_admits(rate, at, {count}, {period})"


def too_old(rule: Rule, age: str = "age") -> str:
    """Return the condition under which a measurement of some age is dropped instead of closed."""
    writer = Writer(NO_EVENT)
    terms = [f"(s64){age} > {writer.signed(rule.expire)}"] if rule.expire else []
    if rule.timeout and rule.drop:
        terms.append(f"(s64){age} > {writer.signed(rule.timeout)}")
    return " || ".join(terms) or "false"


def _take_suppressed(rule: Rule) -> str:
    """Return the expression that takes over how many reports were held back since the last one."""
    return "rate ? exchange(&rate->suppressed, 0) : 0" if rule.rate else "0"


def _clear_out(rule: Rule) -> list[str]:
    """Return the statement that empties what a timeout, which has no closing event, cannot know."""
    return ["__builtin_memset(&record->out, 0, sizeof(record->out));"] if rule.closing else []


def report(scope: RuleScope, kind: str, latency: str, limit: str, flags: str, out: list[str]) -> list[str]:
    """Return the statements that report a measurement in our hands, within `rate`."""
    before, admitted = admit(scope)
    counter = "alerts" if kind == "KIND_ALERT" else "timeouts"
    give_back = ["\tif (rate && suppressed)", "\t\tadd(&rate->suppressed, suppressed);"] if scope.rule.rate else []
    return [
        *before,
        f"if ({admitted}) {{",
        f"\tstruct {scope.rule.name}_record *record = bpf_ringbuf_reserve(&alerts, sizeof(*record), 0);",
        f"\tu64 suppressed = {_take_suppressed(scope.rule)};",
        "",
        f"\tadd(&counters->{counter}, 1);",
        "\tif (record) {",
        *("\t\t" + line for line in _fill(scope, kind, "at", latency, limit, flags, "suppressed")),
        *("\t\t" + line for line in out),
        "\t\tbpf_ringbuf_submit(record, wake_flags(&alerts, RING_BYTES(alerts)));",
        "\t} else {",
        "\t\tadd(&counters->lost, 1);",
        *("\t" + line for line in give_back),
        "\t}",
        "} else {",
        "\tadd(&counters->suppressed, 1);",
        "}",
    ]


def _fill(scope: RuleScope, kind: str, closed: str, latency: str, limit: str, flags: str, suppressed: str) -> list[str]:
    cpu = "bpf_get_smp_processor_id()"
    values = f"{scope.index}, {kind}, opened, {closed}, {latency}, {limit}, {suppressed}, {cpu}, {flags}"
    lines = [f"record->head = (struct head){{ {values} }};"]
    if scope.rule.key:
        lines.append("record->key = *key;")
    if scope.rule.saved:
        lines.append("record->in = set->in[way];")
    return lines


def _settle(scope: RuleScope) -> str:
    """Return the function that ends what a measurement in our hands still owes."""
    rule, name = scope.rule, scope.rule.name
    lines = []
    if rule.timeout:
        reported = report(scope, "KIND_TIMEOUT", "age", "timeout", "FLAG_LATE", _clear_out(rule))
        lines = [
            f"struct counters *counters = counters_of({scope.index});",
            f"s64 timeout = {Writer(NO_EVENT).integer(rule.timeout)};",
            "",
            "way = forget(way, at);",
            "if (counters && !(state & REPORTED) && (s64)age > timeout) {",
            *("\t" + line for line in reported),
            "}",
        ]
    return f"""/*
 * Report the timeout of a measurement in our hands, if no sweep has done so. Return whether it is too old to be closed.
 */
static {"__noinline" if rule.timeout else "__always_inline"} u32
{name}_settle(struct {name}_set *set, u32 way, {scope.key_argument}, u64 state, u64 at)
{{
	u64 opened = state >> 1, age = at > opened ? at - opened : 0;

{indent(lines)}	return {too_old(rule)};
}}

"""


def _look(scope: RuleScope) -> str:
    """Return the function by which a sweep looks at a slot."""
    rule, name = scope.rule, scope.rule.name
    queue = []
    if rule.queued:
        queue = [
            "if (state > BUSY && state & REPORTED)",
            "\treturn;",
            f"enqueue({scope.index}, &set->next[way], place * WAYS + way + 1, state == BUSY ? at : opened);",
        ]
    return f"""/* Look at a slot: report what is overdue, drop what is too old, queue what may become overdue. */
static __noinline void {name}_look(struct {name}_set *set, u32 way, u32 place, u64 at)
{{
	struct counters *counters = counters_of({scope.index});

	way = forget(way, at);
	u64 state = READ_ONCE(set->state[way]), opened = state >> 1, age = at > opened ? at - opened : 0;
	if (!counters || !state)
		return;
{indent(_overdue(scope) if rule.timeout else [])}	if (state > BUSY && ({too_old(rule)})) {{
		if (claim(&set->state[way], &state, 0))
			add(&counters->expired, 1);
		return;
	}}
{indent(queue)}}}

"""


def _mark(scope: RuleScope) -> str:
    """Return the function by which a sweep marks a slot as reported."""
    before, admitted = admit(scope)
    name = scope.rule.name
    return f"""/* Mark a slot as reported, unless it has changed, and find out whether `rate` lets the report out. */
static __always_inline enum mark
{name}_mark(struct {name}_set *set, u32 way, {scope.key_argument}, u64 state, u64 at, u64 *suppressed)
{{
	if (swap_if(&set->state[way], state, state | REPORTED) != state)
		return GONE;
{indent(before)}	if (!({admitted}))
		return HELD_BACK;
	*suppressed = {_take_suppressed(scope.rule)};
	return ADMITTED;
}}

"""


def _overdue(scope: RuleScope) -> list[str]:
    """Return the statements that report a pending measurement once it is overdue, and mark it.

    The record is compared with 0 only once. The verifier of Linux 6.1 does not know that what is there is not 0: at a
    second comparison it goes both ways, and one of them leaves the record behind.
    """
    rule = scope.rule
    assert rule.timeout is not None
    mark = f"{rule.name}_mark(set, way, key, state, at, &suppressed)"
    return [
        f"s64 timeout = {Writer(NO_EVENT).integer(rule.timeout)};",
        "",
        "if (state > BUSY && !(state & REPORTED) && (s64)age > timeout) {",
        "\t/* Copy first: only if the slot is still the same after that, the copy is whole and the report ours. */",
        f"\tstruct {scope.key} copy = set->key[way], *key = &copy;",
        f"\tstruct {rule.name}_record *record = bpf_ringbuf_reserve(&alerts, sizeof(*record), 0);",
        "\tu64 suppressed = 0;",
        "\tenum mark mark;",
        "",
        "\tif (record) {",
        "\t\tu64 noticed = noticed_time(at);",
        *("\t\t" + line for line in _fill(scope, "KIND_TIMEOUT", "noticed", "noticed - opened", "timeout", "0", "0")),
        *("\t\t" + line for line in _clear_out(rule)),
        f"\t\tmark = {mark};",
        "\t\tif (mark == ADMITTED) {",
        "\t\t\trecord->head.suppressed = suppressed;",
        "\t\t\tbpf_ringbuf_submit(record, wake_flags(&alerts, RING_BYTES(alerts)));",
        "\t\t} else {",
        "\t\t\tbpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);",
        "\t\t}",
        "\t} else {",
        f"\t\tmark = {mark};",
        "\t\tif (mark == ADMITTED)",
        "\t\t\tadd(&counters->lost, 1);",
        "\t}",
        "\tif (mark == GONE)",
        "\t\treturn;",
        "\tstate |= REPORTED;",
        "\tadd(mark == ADMITTED ? &counters->timeouts : &counters->suppressed, 1);",
        "}",
    ]
