"""The pairing table of one rule in C: a lock-free row of sets, each of WAYS slots.

An opening claims a free slot by compare-and-swap, writes key and saved values, and publishes its time. A closing takes
the time back by compare-and-swap: exactly one CPU wins. There is no allocation and no lock, and all states of a set lie
in one cache line.
"""

from __future__ import annotations

from bpf_codegen.plan import WAYS, Member, Rule
from bpf_codegen.scope import RuleScope
from bpf_codegen.text import c_member


def declarations(scope: RuleScope) -> str:
    """Return the structs of a rule's saved values and of its sets."""
    rule, name = scope.rule, scope.rule.name
    text = struct(f"{name}_in", rule.saved)
    if not rule.sets:
        return text
    links = f"\tu64 next[{WAYS}];\n" if rule.queued else ""
    saved = f"\tstruct {name}_in in[{WAYS}];\n" if rule.saved else ""
    return (
        text + f"struct {name}_set {{\n\tu64 state[{WAYS}];\n{links}\tstruct {scope.key} key[{WAYS}];\n{saved}}};\n\n"
    )


def struct(name: str, members: tuple[Member, ...]) -> str:
    """Return a struct of some members, "" if there are none."""
    if not members:
        return ""
    return f"struct {name} {{\n" + "".join(f"\t{c_member(m)};\n" for m in members) + "};\n\n"


def place(rule: Rule) -> str:
    """Return the C expression of the set that a `hash` chooses, counted within the rule's own."""
    bits = rule.sets.bit_length() - 1
    return f"(u32)(hash >> {64 - bits})" if bits else "0"


def functions(scope: RuleScope) -> str:
    """Return the functions that find, open and close measurements in a rule's table."""
    name = scope.rule.name
    base = f"{scope.table.base} + " if scope.table.base else ""
    return f"""static __always_inline struct {name}_set *{name}_set(u32 place)
{{
	u32 index = {base}place;

	return bpf_map_lookup_elem(&{scope.table.map}, &index);
}}

/* Return the slot that holds the key, and its state; {WAYS} and 0 if there is none. `not` is passed over. */
static __always_inline u32 {name}_find(struct {name}_set *set, {scope.key_argument}, u32 not, u64 *state)
{{
	*state = 0;
#pragma unroll
	for (u32 way = 0; way < {WAYS}; way++) {{
		u64 seen = READ_ONCE(set->state[way]);

		if (seen > BUSY && differ(way, not) && {scope.key}_same(&set->key[way], key)) {{
			*state = seen;
			return forget(way, seen);
		}}
	}}
	return {WAYS};
}}

"""
