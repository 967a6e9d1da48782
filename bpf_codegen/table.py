"""The pairing table of one rule in C: a lock-free array of sets, each of WAYS slots.

An opening claims a free slot by compare-and-swap, writes key and saved values, and publishes its time. A closing takes
the time back by compare-and-swap: exactly one CPU wins. There is no allocation and no lock, and all states of a set lie
in one cache line.
"""

from __future__ import annotations

from bpf_codegen.plan import WAYS, Member, Rule
from bpf_codegen.text import c_member

# An odd number near 2**64 divided by the golden ratio: multiplying by it spreads a key's low bits over the high ones.
_GOLDEN = "0x9e3779b97f4a7c15ULL"


def declarations(rule: Rule) -> str:
    """Return the structs of a rule's key and saved values, and its table."""
    name = rule.name
    text = _struct(f"{name}_key", rule.key) + _struct(f"{name}_in", rule.saved)
    if not rule.sets:
        return text
    saved = f"\tstruct {name}_in in[{WAYS}];\n" if rule.saved else ""
    return (
        text
        + f"""struct {name}_set {{
	u64 state[{WAYS}];
	struct {name}_key key[{WAYS}];
{saved}}};

struct {{
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, {rule.sets});
	__type(key, u32);
	__type(value, struct {name}_set);
}} {name}_table SEC(".maps");

"""
    )


def _struct(name: str, members: tuple[Member, ...]) -> str:
    if not members:
        return ""
    return f"struct {name} {{\n" + "".join(f"\t{c_member(m)};\n" for m in members) + "};\n\n"


def functions(rule: Rule) -> str:
    """Return the functions that find, open and close measurements in a rule's table."""
    name = rule.name
    words = sum(m.size // 8 for m in rule.key)
    bits = rule.sets.bit_length() - 1
    mixing = "".join(
        f"\thash = (hash ^ word[{i}]) * {_GOLDEN};\n" if i else f"\tu64 hash = word[0] * {_GOLDEN};\n"
        for i in range(words)
    )
    # A second round lets every bit of a long key reach the bits that choose the set.
    index = f"(hash ^ hash >> 32) * {_GOLDEN} >> {64 - bits}" if bits else "0"
    same = " &&\n\t       ".join(f"a[{i}] == b[{i}]" for i in range(words))
    loser = "seen < mine || (seen == mine && other < way)"
    if rule.keep_first:
        loser = "seen > mine || (seen == mine && other > way)"
    return f"""static __always_inline struct {name}_set *{name}_set_of(const struct {name}_key *key)
{{
	const u64 *word = (const u64 *)key;
{mixing}	u32 index = {index};

	return bpf_map_lookup_elem(&{name}_table, &index);
}}

static __always_inline bool {name}_same(const struct {name}_key *x, const struct {name}_key *y)
{{
	const u64 *a = (const u64 *)x, *b = (const u64 *)y;

	return {same};
}}

/* Return the slot that holds the key, and its state; {WAYS} if there is none. */
static __always_inline u32 {name}_find(struct {name}_set *set, const struct {name}_key *key, u64 *state)
{{
#pragma unroll
	for (u32 way = 0; way < {WAYS}; way++) {{
		u64 seen = READ_ONCE(set->state[way]);

		if (seen > BUSY && {name}_same(&set->key[way], key)) {{
			*state = seen;
			return way;
		}}
	}}
	return {WAYS};
}}

/* Own the slot, if its measurement is still the one that was found; the sweep may have marked it meanwhile. */
static __always_inline bool {name}_claim(struct {name}_set *set, u32 way, u64 *state)
{{
	u64 found = swap_if(&set->state[way], *state, BUSY);

	if (found == *state)
		return true;
	if (found != (*state | REPORTED))
		return false;
	*state = found;
	return swap_if(&set->state[way], found, BUSY) == found;
}}

/* Own a free slot of the set; {WAYS} if all are taken. */
static __always_inline u32 {name}_claim_free(struct {name}_set *set)
{{
#pragma unroll
	for (u32 way = 0; way < {WAYS}; way++)
		if (!READ_ONCE(set->state[way]) && !swap_if(&set->state[way], 0, BUSY))
			return way;
	return {WAYS};
}}

/* If another slot holds the key that we opened in `way`, free one of the two. Return whether we did. */
static __noinline bool {name}_yield(struct {name}_set *set, const struct {name}_key *key, u32 way, u32 other, u64 mine)
{{
	way = forget(way, mine);
	other = forget(other, mine);
	u64 seen = READ_ONCE(set->state[other]) & ~REPORTED;

	if (other == way || !seen || !{name}_same(&set->key[other], key))
		return false;
	u32 loser = forget({loser} ? other : way, mine);
	u64 held = loser == way ? mine : seen;

	return swap_if(&set->state[loser], held, 0) == held;
}}

"""
