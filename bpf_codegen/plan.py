"""The plan: all that the kernel side must do for a set of rules, as plain data.

Integers are 64 bits wide everywhere (keys, saved values, records, parameters); a string is a zero-padded array of bytes
whose length is a multiple of 8, so that a key is always a row of 64-bit words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

#: Counters of one rule, in the order in which they lie in `struct counters`.
COUNTERS = (
    "opened",
    "closed",
    "cancelled",
    "replaced",
    "expired",
    "refused",
    "kept",
    "unmatched",
    "clock_skew",
    "alerts",
    "timeouts",
    "suppressed",
    "unqueued",
    "lost",
)

#: Slots in a set of the pairing table: their states fill one cache line of 64 bytes.
WAYS = 8
#: A log-linear histogram: 16 linear buckets in each power of two up to 2**44 (4.9 h in ns), so at most 6.25 % wide.
SUB_BUCKETS = 16
TOP_EXPONENT = 43
BUCKETS = (TOP_EXPONENT - 2) * SUB_BUCKETS
#: Most groups of one `by`; measurements of further groups share the group "other".
GROUPS = 128


# ------------------------------------------------------------------------------- expressions
class Expr:
    """A value in the generated program: a 64-bit integer, or a string where a node says so."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Number(Expr):
    value: int


@dataclass(frozen=True, slots=True)
class Text(Expr):
    """A string constant, with its encoded bytes."""

    value: bytes


@dataclass(frozen=True, slots=True)
class FieldValue(Expr):
    """A field of the event that the handler runs at.

    `size` is in bytes; for a string, that of the room it is copied to. `raw` is the C expression over the arguments of
    the raw tracepoint, "" where there is none.
    """

    name: str
    size: int
    signed: bool = True
    string: bool = False
    dynamic: bool = False
    offset: int = 0
    raw: str = ""
    sort: str = "int"  # int, pointer or enum: relocation wants the kind of type that the kernel has


@dataclass(frozen=True, slots=True)
class Context(Expr):
    """What the running context knows: tid, tgid, comm (a string), uid, ppid, cpu, node, cgroup, mono, boot."""

    name: str

    @property
    def string(self) -> bool:
        return self.name == "comm"


@dataclass(frozen=True, slots=True)
class Stored(Expr):
    """A member of the measurement: of its "key", of what was saved at "in", or of "control" (parameters)."""

    where: str
    name: str
    size: int = 8
    signed: bool = True
    string: bool = False


@dataclass(frozen=True, slots=True)
class Latency(Expr):
    """Time since the measurement opened, in ns."""


@dataclass(frozen=True, slots=True)
class Outcome(Expr):
    """The number of the `out` that closed the measurement."""


@dataclass(frozen=True, slots=True)
class Operation(Expr):
    """An operation on integers; `unsigned` tells how `< <= > >= / % >>` read their operands.

    Operators: those of C with one or two operands, "and", "or", "not", "if" (three operands), and "==" or "!=" of
    strings when `strings` is set.
    """

    operator: str
    operands: tuple[Expr, ...]
    unsigned: bool = False
    strings: bool = False


# -------------------------------------------------------------------------------------- rules
@dataclass(frozen=True, slots=True)
class Member:
    """A member of a key, of the saved values or of a record; `size` in bytes is 8 for an integer."""

    name: str
    size: int = 8
    signed: bool = True
    string: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """The groups of one `by`: what makes the group's key. Empty `values` stand for one group of everything."""

    name: str
    values: tuple[Expr, ...]
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of `value`, in log-linear buckets, or from `low` in `buckets` of `step` with one more at either end.

    `unsigned` tells how the 64 bits of a value are read, as in `Operation`.
    """

    name: str
    value: Expr
    group: Group
    low: int = 0
    step: int = 0  # 0: log-linear
    buckets: int = BUCKETS
    unsigned: bool = False


@dataclass(frozen=True, slots=True)
class Statistic:
    """Count, sum, least and greatest of `value` in each group; see `Histogram`."""

    name: str
    value: Expr
    group: Group
    unsigned: bool = False


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` alerts in each period of `period` ns; a period starts at a multiple of its length."""

    count: Expr
    period: Expr
    group: Group


class Role(Enum):
    """What a handler does to a measurement; handlers of one event run in this order."""

    OUT = "out"
    CANCEL = "cancel"
    IN = "in"
    AT = "at"


@dataclass(frozen=True, slots=True)
class Handler:
    """What one rule does at one event.

    `early` is judged from the event alone, `late` once the measurement was found. `saves` are expressions for the
    members saved at this role, in their order; None leaves a member empty. `outcome` is the number of the label.
    """

    name: str
    rule: int
    role: Role
    comment: str
    key: tuple[Expr, ...] = ()
    early: Expr | None = None
    late: Expr | None = None
    saves: tuple[Expr | None, ...] = ()
    outcome: int = 0
    took: Expr | None = None

    @property
    def exprs(self) -> tuple[Expr | None, ...]:
        """All that it has of its event."""
        return (*self.key, self.early, self.late, self.took, *self.saves)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its table, its limits and what it counts. Durations are in ns."""

    name: str  # a C identifier, unique in the plan
    title: str
    place: str
    key: tuple[Member, ...]
    saved: tuple[Member, ...]
    closing: tuple[Member, ...]
    sets: int  # of WAYS slots each, a power of two; 0 for a rule that pairs nothing
    keep_first: bool = False
    evict: bool = False  # a full set drops its oldest measurement, instead of the new one
    when: Expr | None = None
    thresh: Expr | None = None
    timeout: Expr | None = None
    drop: bool = False
    expire: Expr | None = None
    rate: Rate | None = None
    histograms: tuple[Histogram, ...] = ()
    statistics: tuple[Statistic, ...] = ()

    @property
    def queued(self) -> bool:
        """Tell whether openings are queued, to be looked at when they are due."""
        return self.sets > 0 and self.timeout is not None

    @property
    def groups(self) -> tuple[Group, ...]:
        """The distinct groups with a `by`, in order of first use."""
        users = [h.group for h in self.histograms] + [s.group for s in self.statistics]
        if self.rate:
            users.append(self.rate.group)
        return tuple({g.name: g for g in users if g.values}.values())


class Access(Enum):
    """How a program reads its event."""

    RAW = "tp_btf"  # the raw tracepoint's typed arguments
    RECORD = "tp"  # the classic record, by member names that BTF knows
    OFFSET = "tp offsets"  # the classic record, by the offsets of the format file


@dataclass(frozen=True, slots=True)
class Program:
    """One BPF program: one event and the handlers of all rules there, in the order in which they run.

    `record` is the BTF name of the classic record; `arguments` are (C type, name) of the raw tracepoint's. `recorded`
    is what goes into a recording, beside time and CPU; None if the event is not recorded.
    """

    name: str
    category: str
    event: str
    access: Access
    handlers: tuple[Handler, ...]
    record: str = ""
    arguments: tuple[tuple[str, str], ...] = ()
    recorded: tuple[FieldValue | Context, ...] | None = None

    @property
    def section(self) -> str:
        if self.access is Access.RAW:
            return f"tp_btf/{self.event}"
        return f"tp/{self.category}/{self.event}"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A member of `struct control`, the parameter of the rules that it holds, and its value when they are loaded."""

    member: Member
    source: str
    value: int | bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything for one object file.

    `ring_bytes` is the size of the ring buffer of alerts, `event_bytes` that of recorded events: powers of two, or 0
    where nothing is recorded.
    """

    rules: tuple[Rule, ...]
    programs: tuple[Program, ...]
    parameters: tuple[Parameter, ...] = field(default=())
    ring_bytes: int = 1 << 20
    event_bytes: int = 0
