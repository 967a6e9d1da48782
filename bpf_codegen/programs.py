"""One program an event in C: what its handlers share, conditions and keys, is computed once; then each is called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from bpf_codegen import keys, recording
from bpf_codegen.expressions import Writer
from bpf_codegen.plan import Expr, Handler, Program, Role
from bpf_codegen.reading import context_type, reads
from bpf_codegen.scope import RuleScope
from bpf_codegen.text import indent

_ORDER = {role: i for i, role in enumerate(Role)}


@dataclass
class _Group:
    """Handlers of one role that are called under one condition, in their order."""

    role: Role
    condition: Expr | None
    handlers: list[Handler] = field(default_factory=list)


def program_function(program: Program, number: int, scopes: Sequence[RuleScope]) -> str:
    """Return the C function of a program, whose number is its place in the plan."""
    writer = Writer(program, now="&now")
    groups = _groups(program.handlers)
    uses = Counter(g.condition for g in groups if g.condition is not None)
    shared = {condition: f"where_{i}" for i, condition in enumerate((c for c, n in uses.items() if n > 1), 1)}
    body = [f"bool {name} = {writer.condition(condition)};" for condition, name in shared.items()]
    keys_made = 0
    for group in groups:
        lines, keys_made = _calls(group, scopes, writer, keys_made)
        if group.condition is None:
            body += lines
            continue
        condition = shared.get(group.condition) or writer.condition(group.condition)
        body += [f"if ({condition}) {{", *("\t" + line for line in lines), "}"]
    text = [*writer.buffers(), *body]
    exprs = [e for handler in program.handlers for e in (*handler.key, handler.early)]
    text = [*reads(exprs, program, text), *text]
    record = ""
    if program.recorded is not None:
        # The record is made last, so that it does not stand between a handler's reading of the clock and its table.
        record = recording.function(program, number)
        text = [*text, f"{recording.function_name(program)}(ctx, &now);"]
    return f"""{record}SEC("{program.section}")
int {program.name}({context_type(program)}ctx)
{{
	u64 now = 0;

	if (!READ_ONCE(control.enabled))
		return 0;
{indent(text)}	return 0;
}}

"""


def _groups(handlers: Sequence[Handler]) -> list[_Group]:
    """Put handlers of one role and condition together, as far as every rule's own handlers keep their order."""
    groups: list[_Group] = []
    for handler in sorted(handlers, key=lambda h: _ORDER[h.role]):
        last = max((i for i, g in enumerate(groups) if any(h.rule == handler.rule for h in g.handlers)), default=0)
        for group in groups[last:]:
            if (group.role, group.condition) == (handler.role, handler.early):
                break
        else:
            group = _Group(handler.role, handler.early)
            groups.append(group)
        group.handlers.append(handler)
    return groups


def _calls(group: _Group, scopes: Sequence[RuleScope], writer: Writer, number: int) -> tuple[list[str], int]:
    """Return the statements that make the keys of a group and call its handlers, and the number of the last key."""
    lines: list[str] = []
    made: dict[tuple[str, tuple[Expr, ...]], str] = {}
    hashed: set[str] = set()
    for handler in group.handlers:
        scope = scopes[handler.rule]
        arguments = ["ctx", "&now"]
        if scope.key:
            identity = scope.key, handler.key
            if identity not in made:
                number += 1
                made[identity] = f"key_{number}"
                lines.append(f"struct {scope.key} key_{number} = {{}};")
                lines += keys.fill(f"key_{number}", scope.rule.key, handler.key, writer)
            key = made[identity]
            arguments.append(f"&{key}")
            if scope.rule.sets:
                value = key.replace("key", "hash")
                if value not in hashed:
                    hashed.add(value)
                    lines.append(f"u64 {value} = {scope.key}_hash(&{key});")
                arguments.append(value)
        lines.append(f"{handler.name}({', '.join(arguments)});")
    return lines, number
