"""Histograms, statistics, groups and alert rates of one rule in C."""

from __future__ import annotations

from bpf_codegen.expressions import Writer
from bpf_codegen.plan import BUCKETS, GROUPS, Group, Histogram, Program, Rule
from bpf_codegen.text import c_member


def maps(rule: Rule) -> str:
    """Return the structs and maps of what a rule counts beside its measurements."""
    text = "".join(_group_maps(rule, group) for group in rule.groups)
    for histogram in rule.histograms:
        name = map_name(rule, histogram.name)
        text += f"struct {name} {{\n\tu64 bucket[{histogram.buckets}];\n\tu64 sum;\n\tu64 max;\n}};\n\n"
        text += _array("PERCPU_ARRAY", name, f"struct {name}", _groups(histogram.group))
    for statistic in rule.statistics:
        text += _array("PERCPU_ARRAY", map_name(rule, statistic.name), "struct statistic", _groups(statistic.group))
    if rule.rate:
        text += _array("ARRAY", map_name(rule, "rate"), "struct rate", _groups(rule.rate.group))
    return text


def count_maps(rule: Rule) -> int:
    """Return how many maps a rule brings along, with its pairing table."""
    own = len(rule.histograms) + len(rule.statistics) + 2 * len(rule.groups)
    return own + (rule.rate is not None) + (rule.sets > 0)


def map_name(rule: Rule, name: str) -> str:
    """Return the name of one of a rule's maps."""
    return f"{rule.name}_{name}"


def _groups(group: Group) -> int:
    return GROUPS + 1 if group.values else 1


def _array(kind: str, name: str, value: str, entries: int) -> str:
    return f"""struct {{
	__uint(type, BPF_MAP_TYPE_{kind});
	__uint(max_entries, {entries});
	__type(key, u32);
	__type(value, {value});
}} {name} SEC(".maps");

"""


def _group_maps(rule: Rule, group: Group) -> str:
    name = map_name(rule, group.name)
    members = "".join(f"\t{c_member(m)};\n" for m in group.members)
    used = _array("ARRAY", name + "_used", "u32", 1)
    return f"""struct {name}_key {{
{members}}};

struct {{
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, {GROUPS});
	__type(key, struct {name}_key);
	__type(value, u32);
}} {name} SEC(".maps");

{used}/* Return a group's number, from 1; 0 is the group of all that came after the first {GROUPS}. */
static __always_inline u32 {name}_of(const struct {name}_key *group)
{{
	u32 zero = 0, number, *known = bpf_map_lookup_elem(&{name}, group), *used;

	if (known)
		return *known;
	used = bpf_map_lookup_elem(&{name}_used, &zero);
	if (!used || READ_ONCE(*used) >= {GROUPS})
		return 0;
	number = __sync_fetch_and_add(used, 1) + 1;
	if (number > {GROUPS})
		return 0;
	bpf_map_update_elem(&{name}, group, &number, BPF_NOEXIST);
	known = bpf_map_lookup_elem(&{name}, group);
	return known ? *known : 0;
}}

"""


def find_groups(rule: Rule, groups: tuple[Group, ...], program: Program) -> list[str]:
    """Return the statements that declare `GROUP_number` for each group of a rule."""
    lines = []
    for group in groups:
        name = map_name(rule, group.name)
        writer = Writer(program)
        lines.append(f"struct {name}_key {group.name}_key = {{}};")
        for member, value in zip(group.members, group.values, strict=True):
            lines += writer.copy(f"{group.name}_key.{member.name}", member, value)
        lines.append(f"u32 {group.name}_number = {name}_of(&{group.name}_key);")
    return lines


def group_number(group: Group) -> str:
    """Return the C name of the number of a group, or 0 for the one group of everything."""
    return f"{group.name}_number" if group.values else "0"


def update(rule: Rule, program: Program) -> list[str]:
    """Return the statements that add a finished measurement to a rule's histograms and statistics."""
    users = [h.group for h in rule.histograms] + [s.group for s in rule.statistics]
    lines = find_groups(rule, tuple({g.name: g for g in users if g.values}.values()), program)
    writer = Writer(program)
    for histogram in rule.histograms:
        name = map_name(rule, histogram.name)
        lines += _lookup(name, f"struct {name}", histogram.group)
        lines.append(f"if ({name}_) {{")
        lines.append(f"\ts64 value = {writer.integer(histogram.value)};")
        lines += ["\t" + line for line in _add(name, histogram)]
        lines.append("}")
    for statistic in rule.statistics:
        name = map_name(rule, statistic.name)
        lines += _lookup(name, "struct statistic", statistic.group)
        lines.append(f"if ({name}_)")
        lines.append(f"\tstatistic_add({name}_, {writer.integer(statistic.value)});")
    return lines


def _lookup(name: str, sort: str, group: Group) -> list[str]:
    return [
        f"u32 {name}_index = {group_number(group)};",
        f"{sort} *{name}_ = bpf_map_lookup_elem(&{name}, &{name}_index);",
    ]


def _add(name: str, histogram: Histogram) -> list[str]:
    last = histogram.buckets - 1
    if histogram.step:
        low, step = histogram.low, histogram.step
        find = [
            f"u64 place = value < {low}LL ? 0 : 1 + (u64)(value - {low}LL) / {step}ULL;",
            f"u32 bucket = place < {last} ? place : {last};",
        ]
    else:
        find = ["u32 bucket = value < 0 ? 0 : bucket_of(value);"]
    size = histogram.buckets if histogram.step else BUCKETS
    return [
        *find,
        "",
        "OPAQUE(bucket);",
        f"if (bucket < {size})",
        f"\tadd(&{name}_->bucket[bucket], 1);",
        f"add(&{name}_->sum, value);",
        f"if (value > (s64){name}_->max)",
        f"\t{name}_->max = value;",
    ]
