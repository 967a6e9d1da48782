"""Keys in C: one struct for all rules whose keys look alike, its hash, and the statements that fill it."""

from __future__ import annotations

from collections.abc import Iterable

from bpf_codegen.expressions import Writer
from bpf_codegen.plan import Expr, FieldValue, Member, Plan
from bpf_codegen.text import c_member

Key = tuple[Member, ...]

# An odd number near 2**64 divided by the golden ratio: multiplying by it spreads a key's low bits over the high ones.
_GOLDEN = "0x9e3779b97f4a7c15ULL"


def key_types(plan: Plan) -> dict[Key, str]:
    """Return the name of the struct of each kind of key, by the names of its parts: `key_dev_sector`."""
    names: dict[Key, str] = {}
    for rule in plan.rules:
        if not rule.key or rule.key in names:
            continue
        base = "key_" + "_".join(m.name for m in rule.key)
        tries = (base, *(f"{base}_{i}" for i in range(2, len(names) + 3)))
        names[rule.key] = next(name for name in tries if name not in names.values())
    return names


def declarations(name: str, key: Key) -> str:
    """Return the struct of a kind of key, and the functions that hash and compare it."""
    words = sum(m.size // 8 for m in key)
    mixing = "".join(
        f"\thash = (hash ^ word[{i}]) * {_GOLDEN};\n" if i else f"\tu64 hash = word[0] * {_GOLDEN};\n"
        for i in range(words)
    )
    members = "".join(f"\t{c_member(m)};\n" for m in key)
    same = " &&\n\t       ".join(f"a[{i}] == b[{i}]" for i in range(words))
    # A second round lets every bit of a long key reach the high bits, which choose the set.
    return f"""struct {name} {{
{members}}};

static __always_inline u64 {name}_hash(const struct {name} *key)
{{
	const u64 *word = (const u64 *)key;
{mixing}
	return (hash ^ hash >> 32) * {_GOLDEN};
}}

static __always_inline bool {name}_same(const struct {name} *x, const struct {name} *y)
{{
	const u64 *a = (const u64 *)x, *b = (const u64 *)y;

	return {same};
}}

"""


def fill(target: str, key: Key, exprs: Iterable[Expr], writer: Writer) -> list[str]:
    """Return the statements that fill a key from an event."""
    lines = []
    for member, expr in zip(key, exprs, strict=True):
        if isinstance(expr, FieldValue) and not member.string and expr.size < 8:
            # Narrow fields are compared by their own bits, whatever the sign of the other end's type.
            lines.append(f"{target}.{member.name} = (u{8 * expr.size}){writer.integer(expr)};")
        else:
            lines += writer.copy(f"{target}.{member.name}", member, expr)
    return lines
