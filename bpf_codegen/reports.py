"""How one rule reports: alerts within `rate`, timeouts of what ends late, and the sweep that finds what is overdue."""

from __future__ import annotations

from bpf_codegen import measures
from bpf_codegen.expressions import NO_EVENT, Writer
from bpf_codegen.plan import WAYS, Rule
from bpf_codegen.text import c_member, indent


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


def admit(rule: Rule) -> tuple[list[str], str]:
    """Return the statements before, and the condition of, letting an alert through."""
    if not rule.rate:
        return [], "true"
    writer = Writer(NO_EVENT)
    group = rule.rate.group
    lines = [] if not group.values else measures.find_groups(rule, (group,), NO_EVENT)
    name = measures.map_name(rule, "rate")
    lines += [
        f"u32 rate_index = {measures.group_number(group)};",
        f"struct rate *rate = bpf_map_lookup_elem(&{name}, &rate_index);",
    ]
    count, period = writer.integer(rule.rate.count), writer.integer(rule.rate.period)
    return lines, f"!rate || rate_admits(rate, at, {count}, {period})"


def too_old(rule: Rule) -> str:
    """Return the condition under which a measurement of some `age` is dropped instead of closed."""
    writer = Writer(NO_EVENT)
    terms = [f"(s64)age > {writer.signed(rule.expire)}"] if rule.expire else []
    if rule.timeout and rule.drop:
        terms.append(f"(s64)age > {writer.signed(rule.timeout)}")
    return " || ".join(terms) or "false"


def _take_suppressed(rule: Rule) -> str:
    """Return the expression that takes over how many reports were held back since the last one."""
    return "rate ? __sync_lock_test_and_set(&rate->suppressed, 0) : 0" if rule.rate else "0"


def _clear_out(rule: Rule) -> list[str]:
    """Return the statement that empties what a timeout, which has no closing event, cannot know."""
    return ["__builtin_memset(&record->out, 0, sizeof(record->out));"] if rule.closing else []


def report(rule: Rule, index: int, kind: str, latency: str, limit: str, flags: str, out: list[str]) -> list[str]:
    """Return the statements that report a measurement in our hands, within `rate`."""
    before, admitted = admit(rule)
    counter = "alerts" if kind == "KIND_ALERT" else "timeouts"
    give_back = ["\tif (rate && suppressed)", "\t\tadd(&rate->suppressed, suppressed);"] if rule.rate else []
    return [
        *before,
        f"if ({admitted}) {{",
        f"\tstruct {rule.name}_record *record = bpf_ringbuf_reserve(&alerts, sizeof(*record), 0);",
        f"\tu64 suppressed = {_take_suppressed(rule)};",
        "",
        f"\tadd(&counters->{counter}, 1);",
        "\tif (record) {",
        *("\t\t" + line for line in fill(rule, index, kind, latency, limit, flags, "suppressed")),
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


def fill(rule: Rule, index: int, kind: str, latency: str, limit: str, flags: str, suppressed: str) -> list[str]:
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
    writer = Writer(NO_EVENT)
    lines = []
    if rule.timeout:
        limit = writer.integer(rule.timeout)
        lines = [f"struct {name}_key key = set->key[way];", f"s64 timeout = {limit};", ""]
        reported = report(rule, index, "KIND_TIMEOUT", "age", "timeout", "flags", _clear_out(rule))
        lines += ["if (!(state & REPORTED) && (s64)age > timeout) {", *("\t" + line for line in reported), "}"]
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
{indent(lines)}	return {too_old(rule)};
}}

"""


def _sweep(rule: Rule, index: int) -> str:
    """Return the function that looks at every slot: what is overdue is reported, what has expired goes."""
    name = rule.name
    writer = Writer(NO_EVENT)
    mark = []
    if rule.timeout and not rule.drop:
        before, admitted = admit(rule)
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
            *("\t" + line for line in fill(rule, index, "KIND_TIMEOUT", "age", "timeout", "0", "0")),
            *("\t" + line for line in _clear_out(rule)),
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
            f"record->head.suppressed = {_take_suppressed(rule)};",
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
	if ({too_old(rule)}) {{
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
