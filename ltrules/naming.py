"""Names in the generated C, and the members that hold the values of rules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from bpf_codegen import plan
from ltrules import model
from ltrules.evaluate import is_unsigned
from ltrules.types import Kind, Type

#: Names with a meaning in the generated C, which no member may have.
_RESERVED = frozenset(
    [
        "auto",
        "break",
        "case",
        "char",
        "const",
        "continue",
        "default",
        "do",
        "double",
        "else",
        "enum",
        "extern",
        "float",
        "for",
        "goto",
        "if",
        "inline",
        "int",
        "long",
        "register",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "typedef",
        "union",
        "unsigned",
        "void",
        "volatile",
        "while",
        "bool",
        "true",
        "false",
    ]
)


def unique(names: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """Return a distinct C identifier for each name, in order."""
    used = set(taken)
    result = []
    for name in names:
        word = re.sub(r"\W", "_", name, flags=re.ASCII) or "x"
        if word[0].isdigit() or word in _RESERVED:
            word = f"_{word}"
        base, count = word, 2
        while word in used:
            word, count = f"{base}_{count}", count + 1
        used.add(word)
        result.append(word)
    return result


def member_of(name: str, sort: Type) -> plan.Member:
    if sort.kind is Kind.STRING:
        return plan.Member(name, sort.size, signed=False, string=True)
    return plan.Member(name, signed=not is_unsigned([sort]))


def members(values: Sequence[model.Value]) -> tuple[plan.Member, ...]:
    """Return the members that hold some values, in their order."""
    names = unique([v.name for v in values])
    return tuple(member_of(name, v.type) for name, v in zip(names, values, strict=True))
