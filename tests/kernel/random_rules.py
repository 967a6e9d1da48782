"""Rules at random, of real events: the clauses, keys, conditions and captures of the language, drawn by hypothesis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from helpers import catalog
from ltrules.catalog.events import Shape

DURATIONS = ("500ns", "2us", "7us", "30us", "150us", "1ms", "20ms")
#: Time enough for events that are interrupted on their way to a measurement: else they are too late, now and then.
SLACKS = (" slack 1ms", " slack 5ms", " slack 20ms")
NUMBERS = (0, 1, 2, 3, 7, 10, 64, 100, 120, 4096)
NAMES = ("fio", "dd", "python", "perf", "swapper/0", "swapper/1", "")
CONTEXT = ("task.tid", "task.tgid", "task.uid", "task.ppid", "cpu.id", "cpu.node", "cgroup.id", "(time.mono / 1ms)")
#: As many reports as a run can hold in this time, so that `rate` holds back none.
ALL = "rate 16000000 per 1s"


@dataclass(frozen=True)
class End:
    """An event, the part of its key that pairs it, and the condition without which that part is nothing's name."""

    event: str
    key: str
    guard: str = ""
    #: Parts that may be added to the key, in the order of those at the other ends.
    more: tuple[str, ...] = ()


@dataclass(frozen=True)
class Family:
    """Events that pair. `ordered`: the kernel itself lets no two of them happen at once for one key."""

    name: str
    opens: tuple[End, ...]
    closes: tuple[End, ...]
    cancels: tuple[End, ...] = ()
    ordered: bool = True


def _calls(*names: str) -> Family:
    return Family(
        f"calls {' '.join(names)}",
        tuple(End(f"syscalls:sys_enter_{name}", "task.tid", more=("task.tgid", "task.uid")) for name in names),
        tuple(End(f"syscalls:sys_exit_{name}", "task.tid", more=("task.tgid", "task.uid")) for name in names),
        (End("sched:sched_process_exit", "pid", more=("task.tgid", "task.uid")),),
    )


_NEXT = End("sched:sched_switch", "next_pid", "next_pid != 0", ("next_comm", "next_prio"))
_PREVIOUS = End("sched:sched_switch", "prev_pid", "prev_pid != 0", ("prev_comm", "prev_prio"))
_WOKEN = tuple(
    End(f"sched:{name}", "pid", "pid != 0", ("comm", "prio")) for name in ("sched_wakeup", "sched_wakeup_new")
)
_EXIT = End("sched:sched_process_exit", "pid", "pid != 0", ("comm", "prio"))


def _block(*names: str) -> tuple[End, ...]:
    return tuple(End(f"block:{name}", "(dev << 44) ^ sector", "nr_sector > 0", ("dev", "sector")) for name in names)


def _per_cpu(event: str, what: str) -> End:
    return End(event, f"cpu.id * 4096 + {what}", more=("cpu.id", what))


FAMILIES = (
    Family(
        "every call",
        (End("raw_syscalls:sys_enter", "task.tid", more=("task.comm", "task.tgid")),),
        (End("raw_syscalls:sys_exit", "task.tid", more=("task.comm", "task.tgid")),),
        (End("sched:sched_process_exit", "pid", more=("task.comm", "task.tgid")),),
    ),
    _calls("read", "write", "pread64", "pwrite64"),
    _calls("clock_nanosleep", "futex", "openat", "fsync"),
    Family("waiting", _WOKEN, (_NEXT,), (_PREVIOUS, _EXIT)),
    Family("running", (_NEXT,), (_PREVIOUS,), (_EXIT,)),
    Family("off the CPU", (_PREVIOUS,), (_NEXT,), (_EXIT,)),
    Family("at the disk", _block("block_rq_issue"), _block("block_rq_complete"), _block("block_rq_requeue")),
    Family("requests", _block("block_io_start", "block_rq_insert"), _block("block_io_done", "block_rq_complete")),
    Family("interrupts", (_per_cpu("irq:irq_handler_entry", "irq"),), (_per_cpu("irq:irq_handler_exit", "irq"),)),
    Family("softirqs", (_per_cpu("irq:softirq_entry", "vec"),), (_per_cpu("irq:softirq_exit", "vec"),)),
    Family("raised", (_per_cpu("irq:softirq_raise", "vec"),), (_per_cpu("irq:softirq_entry", "vec"),), ordered=False),
    Family(
        "work", (End("workqueue:workqueue_execute_start", "work"),), (End("workqueue:workqueue_execute_end", "work"),)
    ),
    Family(
        "queued",
        (End("workqueue:workqueue_activate_work", "work"),),
        (End("workqueue:workqueue_execute_start", "work"),),
        ordered=False,
    ),
    Family(
        "high resolution timers",
        (End("timer:hrtimer_expire_entry", "hrtimer"),),
        (End("timer:hrtimer_expire_exit", "hrtimer"),),
    ),
    Family("timers", (End("timer:timer_expire_entry", "timer"),), (End("timer:timer_expire_exit", "timer"),)),
    Family(
        "set timers",
        (End("timer:hrtimer_start", "hrtimer"),),
        (End("timer:hrtimer_expire_entry", "hrtimer"),),
        (End("timer:hrtimer_cancel", "hrtimer"),),
        ordered=False,
    ),
)

#: Events that carry a latency, or what can pass for one.
MEASURED = (
    ("raw_syscalls:sys_exit", "ret * 1us"),
    ("sched:sched_stat_runtime", "runtime * 1ns"),
    ("sched:sched_switch", "(next_prio - prev_prio) * 3us"),
    ("irq:softirq_entry", "if(vec == 1, 10us, vec * 1us)"),
)


@dataclass(frozen=True)
class RandomRule:
    """The text of a rule, and whether the kernel orders all events of one key."""

    text: str
    ordered: bool


# ------------------------------------------------------------------------------- expressions
def numbers_of(event: str) -> list[str]:
    """Return the fields of an event that are numbers, or the first and last of some."""
    (found,) = catalog().find(event)
    names = [f"ev.{f.name}" for f in found.fields.values() if f.shape is Shape.INT and f.size in (1, 2, 4, 8)]
    rows = [f for f in found.fields.values() if f.shape is Shape.OTHER and f.element_size in (4, 8)]
    return names + [f"ev.{f.name}[{i}]" for f in rows for i in (0, f.size // f.element_size - 1)]


def strings_of(event: str) -> list[str]:
    """Return the fields of an event that are strings."""
    (found,) = catalog().find(event)
    shapes = (Shape.STRING, Shape.DYNAMIC_STRING)
    return [f"ev.{f.name}" for f in found.fields.values() if f.shape in shapes]


@st.composite
def numbers(draw: st.DrawFn, names: Sequence[str], depth: int = 2) -> str:
    """An integer."""
    sort = draw(st.integers(0, 9)) if depth else draw(st.integers(0, 5))
    if sort <= 4 and names:
        return draw(st.sampled_from(names))
    if sort <= 5 or not names:
        return str(draw(st.sampled_from(NUMBERS)))
    if sort == 6:
        return f"({draw(st.sampled_from('-~'))}{draw(numbers(names, depth - 1))})"
    left, right = draw(numbers(names, depth - 1)), draw(numbers(names, depth - 1))
    if sort == 7:
        return f"if({draw(conditions(names, (), depth - 1))}, {left}, {right})"
    operator = draw(st.sampled_from(("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>")))
    return f"({left} {operator} {right})"


@st.composite
def conditions(draw: st.DrawFn, names: Sequence[str], texts: Sequence[str], depth: int = 2) -> str:
    """A condition on numbers and strings."""
    sort = draw(st.integers(0, 9)) if depth else draw(st.integers(0, 6))
    if sort <= 3 or (sort == 4 and not texts):
        left, right = draw(numbers(names, 1)), draw(numbers(names, 1))
        return f"{left} {draw(st.sampled_from(('==', '!=', '<', '<=', '>', '>=')))} {right}"
    if sort == 4:
        return f'{draw(st.sampled_from(texts))} {draw(st.sampled_from(("==", "!=")))} "{draw(st.sampled_from(NAMES))}"'
    if sort == 5:
        return f"{draw(numbers(names, 1))} % {draw(st.sampled_from((2, 3, 5)))} != {draw(st.sampled_from((0, 1)))}"
    if sort == 6:
        some = draw(st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=3, unique=True))
        return f"{draw(numbers(names, 1))} one of [{', '.join(map(str, some))}]"
    if sort == 7:
        return f"not ({draw(conditions(names, texts, depth - 1))})"
    left, right = draw(conditions(names, texts, depth - 1)), draw(conditions(names, texts, depth - 1))
    return f"(({left}) {draw(st.sampled_from(('and', 'or')))} ({right}))"


# ------------------------------------------------------------------------------------ rules
@st.composite
def rules(draw: st.DrawFn, name: str) -> RandomRule:
    """A rule that pairs events, or that has the latency from one."""
    return draw(measured_rules(name) if draw(st.integers(0, 9)) == 0 else pairing_rules(name))


@st.composite
def pairing_rules(draw: st.DrawFn, name: str) -> RandomRule:
    """A rule with `in` and `out`, and perhaps `cancel`."""
    family = draw(st.sampled_from([family for family in FAMILIES if present(family)]))
    ends = (*family.opens, *family.closes, *family.cancels)
    parts = min(len(end.more) for end in ends)
    more = draw(st.lists(st.integers(0, parts - 1), max_size=2, unique=True)) if parts else []
    blunt = draw(st.integers(0, 9)) == 0
    saved = draw(_captures([end.event for end in family.opens], 3))
    closing = draw(_captures([end.event for end in family.closes], 2))

    lines = []
    for end in family.opens:
        lines.append(f"in {end.event} {_key(end, more, blunt)}{draw(_where(end, (), ()))}{saved.at(end.event)}")
    parts_known = ["key.k", *(f"key.p{i}" for i in more if not _is_text(family, i))] if more else ["key"]
    known = [*(f"in.{n}" for n in saved.numbers), *parts_known]
    for i, end in enumerate(family.closes):
        label = f" as end{i}" if draw(st.booleans()) else ""
        lines.append(
            f"out {end.event} {_key(end, more, blunt)}{draw(_where(end, known, saved.strings))}"
            f"{closing.at(end.event)}{label}"
        )
    for end in family.cancels:
        if draw(st.booleans()):
            lines.append(f"cancel {end.event} {_key(end, more, blunt)}{draw(_where(end, known, saved.strings))}")
    least = 0
    if draw(st.booleans()):
        least = draw(st.integers(0, len(DURATIONS) - 1))
        keep, slack = draw(st.sampled_from(("", " keep", " drop"))), draw(st.sampled_from(SLACKS))
        lines.append(f"timeout {DURATIONS[least]}{keep}{slack}")
    if draw(st.integers(0, 2)) == 0:
        lines.append(f"expire {draw(st.sampled_from(DURATIONS[least:]))}")
    lines.append(draw(st.sampled_from(("duplicate keep", "duplicate replace"))))
    measured = [*known, *(f"out.{n}" for n in closing.numbers), "(latency / 1us)"]
    lines += draw(_judgement(measured))
    return RandomRule(_text(name, lines), family.ordered and not blunt)


@st.composite
def measured_rules(draw: st.DrawFn, name: str) -> RandomRule:
    """A rule with `at`."""
    event, took = draw(st.sampled_from(MEASURED))
    saved = draw(_captures([event], 3))
    key = draw(st.sampled_from(("", " key task.tid", " key (cpu.id, task.comm)")))
    lines = [f"at {event} took {took}{key}{draw(_where(End(event, ''), (), ()))}{saved.at(event)}"]
    lines += draw(_judgement([*(f"at.{n}" for n in saved.numbers), "(latency / 1us)"]))
    return RandomRule(_text(name, lines), ordered=True)


def _text(name: str, lines: Sequence[str]) -> str:
    return f"rule {name} {{\n" + "".join(f"  {line}\n" for line in (*lines, ALL)) + "}\n"


def _is_text(family: Family, part: int) -> bool:
    return "comm" in family.opens[0].more[part]


def _key(end: End, more: Sequence[int], blunt: bool) -> str:
    # A blunt key puts what happens at once under one name.
    key = f"({end.key}) & 3" if blunt else end.key
    parts = [f"p{i} = {end.more[i]}" for i in more]
    return f"key (k = {key}, {', '.join(parts)})" if parts else f"key {key}"


@dataclass(frozen=True)
class Captures:
    """What is captured at some events, by the same names."""

    numbers: tuple[str, ...]
    strings: tuple[str, ...]
    texts: dict[str, str]

    def at(self, event: str) -> str:
        return f" capture ({self.texts[event]})" if self.texts[event] else ""


@st.composite
def _captures(draw: st.DrawFn, events: Sequence[str], most: int) -> Captures:
    count = draw(st.integers(0, most))
    texts = {
        event: [f"n{i} = {draw(numbers((*numbers_of(event), *CONTEXT)))}" for i in range(count)] for event in events
    }
    name = draw(st.booleans())
    if name:
        for event, written in texts.items():
            written.append(f"s = {draw(st.sampled_from((*strings_of(event), 'task.comm')))}")
    return Captures(
        tuple(f"n{i}" for i in range(count)),
        ("in.s",) * name,
        {e: ", ".join(dict.fromkeys(t)) for e, t in texts.items()},
    )


@st.composite
def _where(draw: st.DrawFn, end: End, known: Sequence[str], strings: Sequence[str]) -> str:
    parts = [end.guard] if end.guard else []
    names = (*numbers_of(end.event), *CONTEXT)
    if draw(st.integers(0, 2)) == 0:
        parts.append(f"({draw(conditions(names, (*strings_of(end.event), 'task.comm')))})")
    if known and draw(st.integers(0, 3)) == 0:
        parts.append(f"({draw(conditions((*known, '(latency / 1us)', *names), strings))})")
    return f" where {' and '.join(parts)}" if parts else ""


@st.composite
def _judgement(draw: st.DrawFn, measured: Sequence[str]) -> list[str]:
    """What becomes of a finished measurement."""
    lines = []
    if draw(st.integers(0, 9)):
        limit = draw(st.sampled_from(DURATIONS))
        if draw(st.integers(0, 3)) == 0:
            lines.append(f"param limit: duration = {limit}")
            limit = "limit"
        if draw(st.integers(0, 3)) == 0:
            limit = f"if({draw(conditions(measured, ()))}, {limit}, {draw(st.sampled_from(DURATIONS))})"
        lines.append(f"thresh {limit}")
    if draw(st.integers(0, 3)) == 0:
        lines.append(f"when {draw(conditions(measured, ()))}")
    small = f"({draw(st.sampled_from(measured))}) & 15"
    if draw(st.booleans()):
        shape = draw(st.sampled_from(("", " log2", " linear(-100, 1000, 37)")))
        by = draw(st.sampled_from(("", f" by {small}", f" by ({small}, outcome)")))
        lines.append(f"hist {draw(numbers(measured))}{shape}{by} as h")
    if draw(st.booleans()):
        function = draw(st.sampled_from(("count", "sum", "min", "max", "avg")))
        value = "" if function == "count" else f" {draw(numbers(measured))}"
        lines.append(f"stat {function}{value}{draw(st.sampled_from(('', f' by {small}')))} as s")
    if draw(st.booleans()):
        lines.append(f'message "{{latency}} {{{draw(numbers(measured))}}} {{outcome}}"')
    return lines


def present(family: Family) -> bool:
    """Tell whether this kernel has all events of a family."""
    return all(catalog().find(event) for event in events(family))


def events(family: Family) -> list[str]:
    """Return the names of all events of a family."""
    return [end.event for end in (*family.opens, *family.closes, *family.cancels)]
