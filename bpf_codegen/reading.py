"""How a program reads its event in C: the arguments of a raw tracepoint, or the fields of a classic record."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bpf_codegen.expressions import local_name, record_path, walk
from bpf_codegen.plan import Access, Expr, FieldValue, Program


def context_type(program: Program) -> str:
    """Return the C type of a program's context, a pointer."""
    return {Access.RAW: "u64 *", Access.RECORD: f"struct {program.record} *", Access.OFFSET: "void *"}[program.access]


def reads(exprs: Iterable[Expr | None], program: Program, body: list[str]) -> list[str]:
    """Return the declarations that some expressions need where `body`, in which they are written, begins."""
    fields = [e for expr in exprs for e in walk(expr) if isinstance(e, FieldValue)]
    if program.access is not Access.RAW:
        by_name = {e.name: e for e in fields}
        if not by_name:
            return []
        written = " ".join(body)
        # The verifier takes the context with a constant offset only, and each field is read once: the compiler would
        # else keep the sum of both in a register for the next reading.
        used = [f for f in by_name.values() if not f.string and re.search(rf"\b{local_name(f)}\b", written)]
        return ["OPAQUE(ctx);", *(_read(f, program) for f in used)]
    words = set(re.findall(r"[A-Za-z_]\w*", re.sub(r"->\s*\w+", "", " ".join(e.raw for e in fields))))
    lines = [
        f"{sort}{'' if sort.endswith('*') else ' '}{name} = ({sort if not sort.endswith('*') else 'void *'})ctx[{i}];"
        for i, (sort, name) in enumerate(program.arguments)
        if name in words
    ]
    # The compiler must not find that another function of the program has read an argument too, see above.
    return ["OPAQUE(ctx);", *lines] if lines else []


def _read(field: FieldValue, program: Program) -> str:
    sort = f"{'s' if field.signed else 'u'}{8 * field.size}"
    return f"{sort} {local_name(field)} = ({sort}){record_path(program, field)};"
