"""Where things lie in what user space reads and writes: maps that rules share, records, counters, the control block.

Everything is made of 8-byte members, but for pairs of 32-bit ones that fill 8 bytes, so C adds no padding anywhere.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from bpf_codegen.plan import COUNTERS, GROUPS, WAYS, Group, Histogram, Member, Plan, Rule

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
#: struct statistic: count, sum, and the ranks of min and max.
STATISTIC = "=QQQQ"
#: struct pace: due, timeout, shift, scan_ns, sets.
PACE = "=QQQQQ"

#: Of `pending` in struct sweeping, after wakes, sweeps, visits and ns; the only variable in ".bss".
SWEEPING = "=QQQQ"
PENDING_OFFSET = struct.calcsize(SWEEPING)


def ranked(rank: int, unsigned: bool) -> int:
    """Return the number of a rank: SIGN in the header."""
    return rank if unsigned else rank - (1 << 63)


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
    offsets = {"enabled": 0, "interval": 8, "grace": 16, "ended": 24, "pace": 32}
    position = 32 + struct.calcsize(PACE) * len(plan.rules)
    for parameter in plan.parameters:
        offsets[parameter.member.name] = position
        position += parameter.member.size
    return offsets


# ----------------------------------------------------------------------------------- shared maps
@dataclass(frozen=True, slots=True)
class Place:
    """A row of entries in an array map that rules share: `count` of them from `base`."""

    map: str
    base: int
    count: int


@dataclass(frozen=True, slots=True)
class Places:
    """Where each rule's things lie: by the rule's number, and the thing's name where a rule has several.

    Rules share maps because the kernel allows a program 64 of them. What has values of one size shares one map.
    """

    tables: dict[int, Place]
    histograms: dict[tuple[int, str], Place]
    statistics: dict[tuple[int, str], Place]
    rates: dict[int, Place]
    groups: dict[tuple[int, str], Place]

    def sizes(self) -> dict[str, int]:
        """Return the number of entries of each shared map, by name, in the order of first use."""
        sizes: dict[str, int] = {}
        for kind in (self.tables, self.histograms, self.statistics, self.rates, self.groups):
            for place in kind.values():
                sizes[place.map] = max(sizes.get(place.map, 0), place.base + place.count)
        return sizes


def places(plan: Plan) -> Places:
    """Return where the things of all rules of a plan lie."""
    ends: dict[str, int] = {}

    def row(name: str, count: int) -> Place:
        base = ends.get(name, 0)
        ends[name] = base + count
        return Place(name, base, count)

    found = Places({}, {}, {}, {}, {})
    for index, rule in enumerate(plan.rules):
        if rule.sets:
            found.tables[index] = row(f"sets_{set_size(rule)}", rule.sets)
        for histogram in rule.histograms:
            place = row(f"histograms_{histogram.buckets}", group_count(histogram.group))
            found.histograms[index, histogram.name] = place
        for statistic in rule.statistics:
            found.statistics[index, statistic.name] = row("statistics", group_count(statistic.group))
        if rule.rate:
            found.rates[index] = row("rates", group_count(rule.rate.group))
        for group in rule.groups:
            found.groups[index, group.name] = row("groups_used", 1)
    return found


def set_size(rule: Rule) -> int:
    """Return the bytes of a set: the states of its slots, their links if they are queued, keys and saved values."""
    slot = 8 + 8 * rule.queued + sum(m.size for m in (*rule.key, *rule.saved))
    return slot * WAYS


def group_count(group: Group) -> int:
    """Return how many groups are counted apart: all that come first, and the one of all others."""
    return GROUPS + 1 if group.values else 1
