"""The sweep of all rules in C: how each is looked at, on a timer in the kernel or when user space asks for it.

The sweep itself is the same for all rules and stands in `include/sweep.bpf.h`; here is what differs.
"""

from __future__ import annotations

from collections.abc import Sequence

from bpf_codegen.scope import RuleScope
from bpf_codegen.text import array_map, indent


def declarations(scopes: Sequence[RuleScope]) -> str:
    """Return the sweep's own part, which the handlers call to queue what they open; "" if nothing is ever swept."""
    return '#include "sweep.bpf.h"\n\n' if _swept(scopes) else ""


def tables(sizes: dict[str, int]) -> str:
    """Return the pairing tables: those of `sizes`, a number of entries by name, that are such."""
    text = ""
    for name, entries in sizes.items():
        if name.startswith("sets_"):
            size = int(name.removeprefix("sets_"))
            text += f"/* Sets of {size} bytes, of all rules that have such. */\n"
            text += array_map(name, f"struct {{ u64 word[{size // 8}]; }}", entries)
    return text


def programs(scopes: Sequence[RuleScope]) -> str:
    """Return the functions that look at any rule's slots, and the programs that user space starts."""
    swept = _swept(scopes)
    if not swept:
        return ""
    maps = dict.fromkeys(scope.table.map for scope in swept)
    calls = [f"bpf_for_each_map_elem(&{name}, sweep_{name}, &now, 0);" for name in maps]
    sweeps = "".join(_sweep_map(name, swept) for name in maps)
    return f"""static __noinline u64 look(u32 rule, u32 place, u32 way, u64 now)
{{
	switch (rule) {{
{"".join(_case(scope) for scope in swept)}	}}
	return 0;
}}

{sweeps}/* Run by user space, enabled or not: looks at everything, and counts what is pending. */
SEC("syscall")
int sweep(void *ctx)
{{
	u64 now = judged_time(bpf_ktime_get_ns());

	for (u32 rule = 0; rule < RULES; rule++)
		WRITE_ONCE(sweeping.pending[rule], 0);
{indent(calls)}	return 0;
}}
"""


def _swept(scopes: Sequence[RuleScope]) -> list[RuleScope]:
    return [s for s in scopes if s.rule.sets and (s.rule.timeout is not None or s.rule.expire is not None)]


def _case(scope: RuleScope) -> str:
    """Return the part of `look` that belongs to a rule: see its declaration in the header."""
    name = scope.rule.name
    slot = []
    if scope.rule.queued:
        slot = [
            "if (way < WAYS) {",
            "\tway = forget(way, now);",
            "\tu64 next = exchange(&set->next[way], 0);",
            "",
            f"\t{name}_look(set, way, place, now);",
            "\treturn next;",
            "}",
        ]
    lines = [
        f"struct {name}_set *set = place < {scope.rule.sets} ? {name}_set(place) : 0;",
        "u64 pending = 0;",
        "",
        "if (!set)",
        "\treturn 0;",
        *slot,
        "for (u32 i = 0; i < WAYS; i++) {",
        "\tif (!READ_ONCE(set->state[i]))",
        "\t\tcontinue;",
        f"\t{name}_look(set, i, place, now);",
        "\tpending += READ_ONCE(set->state[i]) > BUSY;",
        "}",
        "return pending;",
    ]
    return f"\tcase {scope.index}: {{\n{indent(lines, 2)}\t}}\n"


def _sweep_map(name: str, swept: Sequence[RuleScope]) -> str:
    """Return the function that looks at one entry of a map of sets, whichever rule it belongs to."""
    lines = ["u32 rule, place;", ""]
    for number, scope in enumerate(s for s in swept if s.table.map == name):
        place = scope.table
        test = "else " if number else ""
        lines += [
            f"{test}if (*index < {place.base + place.count}) {{",
            f"\trule = {scope.index};",
            f"\tplace = *index - {place.base};",
            "}",
        ]
    lines += ["else {", "\treturn 1;", "}", "sweeping.pending[rule] += look(rule, place, WAYS, *now);", "return 0;"]
    return f"static long sweep_{name}(void *map, u32 *index, void *set, u64 *now)\n{{\n{indent(lines)}}}\n\n"
