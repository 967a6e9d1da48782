"""Whether keys can match: the same number of parts, of the same widths, and of kinds that go together."""

from __future__ import annotations

from collections.abc import Sequence

from ltrules import model
from ltrules.check.problems import Problems
from ltrules.source import Span
from ltrules.types import Kind

Key = Sequence[tuple[model.Expr, Span]]

#: C types of fields that say what a number is; other integers may be anything.
_BY_C_TYPE = {
    "pid_t": "thread id",
    "dev_t": "device number",
    "tid_t": "journal transaction id",
    "ino_t": "inode number",
}
_BY_CONTEXT = {
    "tid": "thread id",
    "tgid": "process id",
    "cpu": "CPU number",
    "node": "NUMA node",
    "cgroup": "cgroup id",
}


def match_keys(keys: Sequence[Key], problems: Problems) -> None:
    """Compare every key with the first one; note those that cannot match it."""
    keys = [key for key in keys if key]
    if not keys:
        return
    first = keys[0]
    for other in keys[1:]:
        if len(other) != len(first):
            problems.note(
                "LT231",
                f"the keys cannot match: {_parts(first)} and {_parts(other)}",
                _span(other),
                _parts(other),
                related=[(_span(first), _parts(first))],
            )
            continue
        for (left, left_span), (right, right_span) in zip(first, other, strict=True):
            if not _compatible(left, right):
                problems.note(
                    "LT231",
                    "the keys cannot match",
                    right_span,
                    f"{kind(right) or right.type}",
                    related=[(left_span, f"{kind(left) or left.type}")],
                    notes=["a bare name is a field of the event; `task.tid` is the running thread"],
                )


def _compatible(left: model.Expr, right: model.Expr) -> bool:
    if (left.type.kind is Kind.STRING) != (right.type.kind is Kind.STRING):
        return False
    kinds = kind(left), kind(right)
    return None in kinds or kinds[0] == kinds[1]


def kind(expr: model.Expr) -> str | None:
    """Return what a key is known to hold, None if it may be anything."""
    match expr:
        case model.Context(name=name):
            return _BY_CONTEXT.get(name)
        case model.EventField(field=field) if field.pointer:
            return "pointer"
        case model.EventField(field=field):
            return _BY_C_TYPE.get(field.c_type.removeprefix("const ").strip())
    return None


def _parts(key: Key) -> str:
    return f"{len(key)} part{'s' if len(key) != 1 else ''}"


def _span(key: Key) -> Span:
    return key[0][1].to(key[-1][1])
