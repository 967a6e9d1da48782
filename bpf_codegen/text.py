"""Small pieces of C text."""

from __future__ import annotations

from collections.abc import Iterable

from bpf_codegen.plan import Member


def indent(lines: Iterable[str], depth: int = 1) -> str:
    """Return lines as C text, indented by tabs."""
    tabs = "\t" * depth
    return "".join(f"{tabs}{line}\n" if line.strip() else "\n" for line in lines)


def c_member(member: Member) -> str:
    """Return a member's declaration in C, without the semicolon."""
    if member.string:
        return f"char {member.name}[{member.size}] __attribute__((aligned(8)))"
    return f"{'s64' if member.signed else 'u64'} {member.name}"


def comment(text: str) -> str:
    """Return text that cannot end a C comment, open another or reach over its line."""
    return " ".join(text.replace("\\", "/").replace("*/", "* /").replace("/*", "/ *").split())


def array_map(name: str, value: str, entries: int, kind: str = "ARRAY") -> str:
    """Return the definition of an array map of `entries` values of a C type."""
    return f"""struct {{
	__uint(type, BPF_MAP_TYPE_{kind});
	__uint(max_entries, {entries});
	__type(key, u32);
	__type(value, {value});
}} {name} SEC(".maps");

"""
