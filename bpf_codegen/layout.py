"""Where things lie in what user space reads: records, counters, histograms and the control block.

Everything is made of 8-byte members, but for pairs of 32-bit ones that fill 8 bytes, so C adds no padding anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable

from bpf_codegen.plan import COUNTERS, Histogram, Member, Plan, Rule

#: struct head: rule, kind, opened, closed, latency, limit, suppressed, cpu, flags.
HEAD = "IIQQQqQII"
#: The low bits of `flags`; the number of the outcome stands above them.
FLAG_LATE = 1
OUTCOME_SHIFT = 8
#: What `kind` says.
KIND_ALERT = 0
KIND_TIMEOUT = 1
#: struct event: time, number of the program, cpu.
EVENT_HEAD = "QII"
#: struct statistic: count, sum, min, max.
STATISTIC = "=Qqqq"


def member_format(members: Iterable[Member]) -> str:
    """Return the `struct` format of a row of members, without a byte-order mark."""
    return "".join(f"{m.size}s" if m.string else ("q" if m.signed else "Q") for m in members)


def record_format(rule: Rule) -> str:
    """Return the `struct` format of a rule's record: head, key, saved and closing values."""
    return "=" + HEAD + member_format((*rule.key, *rule.saved, *rule.closing))


def event_format(members: Iterable[Member]) -> str:
    """Return the `struct` format of a recorded event: head and values."""
    return "=" + EVENT_HEAD + member_format(members)


def counters_format() -> str:
    """Return the `struct` format of the counters of one rule on one CPU."""
    return f"={len(COUNTERS)}Q"


def histogram_format(histogram: Histogram) -> str:
    """Return the `struct` format of one group of a histogram on one CPU: the buckets, then sum and max."""
    return f"={histogram.buckets}QQQ"


def control_offsets(plan: Plan) -> dict[str, int]:
    """Return the byte offset of every member of `struct control`."""
    offsets = {"enabled": 0}
    position = 8
    for parameter in plan.parameters:
        offsets[parameter.member.name] = position
        position += parameter.member.size
    return offsets
