"""Histograms, statistics and groups of one rule in C."""

from __future__ import annotations

from bpf_codegen.expressions import Writer
from bpf_codegen.layout import Place
from bpf_codegen.plan import BUCKETS, GROUPS, Group, Histogram, Plan, Program
from bpf_codegen.scope import RuleScope
from bpf_codegen.text import array_map, c_member


def structs(plan: Plan) -> str:
    """Return the struct of each kind of histogram."""
    kinds = sorted({h.buckets for rule in plan.rules for h in rule.histograms})
    return "".join(
        f"struct histogram_{buckets} {{\n\tu64 bucket[{buckets}];\n\tu64 sum;\n\tu64 max;\n}};\n\n" for buckets in kinds
    )


def maps(sizes: dict[str, int]) -> str:
    """Return the shared maps of what is counted: those of `sizes`, a number of entries by name, that hold such."""
    text = ""
    for name, entries in sizes.items():
        if name.startswith("histograms_"):
            text += array_map(name, f"struct {name.replace('histograms', 'histogram')}", entries, "PERCPU_ARRAY")
        elif name == "statistics":
            text += array_map(name, "struct statistic", entries, "PERCPU_ARRAY")
        elif name == "rates":
            text += array_map(name, "struct rate", entries)
        elif name == "groups_used":
            text += array_map(name, "u32", entries)
    return text


def group_maps(scope: RuleScope) -> str:
    """Return, for each `by` of a rule, its struct, its map, and the function that finds a group's number."""
    return "".join(_group_map(scope, group) for group in scope.rule.groups)


def _group_map(scope: RuleScope, group: Group) -> str:
    name = scope.group_map(group)
    members = "".join(f"\t{c_member(m)};\n" for m in group.members)
    return f"""struct {name}_key {{
{members}}};

struct {{
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, {GROUPS});
	__type(key, struct {name}_key);
	__type(value, u32);
}} {name} SEC(".maps");

/* Return a group's number, from 1; 0 is the group of all that came after the first {GROUPS}. */
static __always_inline u32 {name}_of(const struct {name}_key *group)
{{
	u32 index = {scope.places.groups[scope.index, group.name].base}, number;
	u32 *known = bpf_map_lookup_elem(&{name}, group), *used;

	if (known)
		return *known;
	used = bpf_map_lookup_elem(&groups_used, &index);
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


def find_groups(scope: RuleScope, groups: tuple[Group, ...], program: Program) -> list[str]:
    """Return the statements that declare `GROUP_number` for each group of a rule."""
    lines = []
    for group in groups:
        name = scope.group_map(group)
        writer = Writer(program)
        lines.append(f"struct {name}_key {group.name}_key = {{}};")
        for member, value in zip(group.members, group.values, strict=True):
            lines += writer.copy(f"{group.name}_key.{member.name}", member, value)
        lines.append(f"u32 {group.name}_number = {name}_of(&{group.name}_key);")
    return lines


def entry(place: Place, group: Group) -> str:
    """Return the C expression of the entry of a shared map that belongs to the group at hand."""
    if not group.values:
        return str(place.base)
    return f"{place.base} + {group.name}_number" if place.base else f"{group.name}_number"


def update(scope: RuleScope, program: Program) -> list[str]:
    """Return the statements that add a finished measurement to a rule's histograms and statistics."""
    rule = scope.rule
    users = [h.group for h in rule.histograms] + [s.group for s in rule.statistics]
    lines = find_groups(scope, tuple({g.name: g for g in users if g.values}.values()), program)
    writer = Writer(program)
    for histogram in rule.histograms:
        place = scope.places.histograms[scope.index, histogram.name]
        sort = f"struct histogram_{histogram.buckets}"
        lines += _lookup(_counts(histogram), sort, place, histogram.group)
        lines.append(f"if ({_counts(histogram)}) {{")
        lines.append(f"\t{'u64' if histogram.unsigned else 's64'} value = {writer.integer(histogram.value)};")
        lines += ["\t" + line for line in _add(histogram)]
        lines.append("}")
    for statistic in rule.statistics:
        place = scope.places.statistics[scope.index, statistic.name]
        lines += _lookup(statistic.name, "struct statistic", place, statistic.group)
        lines.append(f"if ({statistic.name})")
        value = writer.integer(statistic.value)
        lines.append(f"\tstatistic_add({statistic.name}, {value}, {_flip(statistic.unsigned)});")
    return lines


def _lookup(name: str, sort: str, place: Place, group: Group) -> list[str]:
    return [
        f"u32 {name}_index = {entry(place, group)};",
        f"{sort} *{name} = bpf_map_lookup_elem(&{place.map}, &{name}_index);",
    ]


def _counts(histogram: Histogram) -> str:
    return f"{histogram.name}_counts"


def _add(histogram: Histogram) -> list[str]:
    name, last = _counts(histogram), histogram.buckets - 1
    if histogram.step:
        low, step = histogram.low, histogram.step
        below = f"value < {low}LL"
        if histogram.unsigned:
            # What is beyond the signed numbers is above all buckets, and must not wrap round to their beginning.
            below = f"value < {low}ULL" if low > 0 else "false"
        find = [
            f"u64 place = {below} ? 0 : 1 + (u64)(value - {low}LL) / {step}ULL;",
            f"u32 bucket = place < {last} ? place : {last};",
        ]
        if histogram.unsigned:
            find[1] = f"u32 bucket = place < {last} && !(value >> 63) ? place : {last};"
    else:
        find = [
            "u32 bucket = bucket_of(value);" if histogram.unsigned else "u32 bucket = value < 0 ? 0 : bucket_of(value);"
        ]
    size = histogram.buckets if histogram.step else BUCKETS
    return [
        *find,
        "",
        "OPAQUE(bucket);",
        f"if (bucket < {size})",
        f"\tadd(&{name}->bucket[bucket], 1);",
        f"add(&{name}->sum, value);",
        f"if ({_rank(histogram)} > {name}->max)",
        f"\t{name}->max = {_rank(histogram)};",
    ]


def _flip(unsigned: bool) -> str:
    """Return the bit to flip to make a number's rank: then 0, what a fresh map holds, is the least there is."""
    return "0" if unsigned else "SIGN"


def _rank(histogram: Histogram) -> str:
    return "value" if histogram.unsigned else "(value ^ SIGN)"
