"""How the fields of hot tracepoints are had from the arguments of their raw tracepoints.

A program attached as tp_btf costs a fraction of a classic one, but sees the arguments instead of the formatted record.
This table is data: for each event the arguments by name, and for each field a C expression over them and the structure
members that it follows. Fields without an entry make their event fall back to the classic record. `tests/kernel` reads
every field both ways and compares. Assignments are those of TP_fast_assign in include/trace/events/ of Linux 6.1 to
6.18.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Paths = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class RawField:
    """A C expression over the arguments, and the (struct, member path) pairs that BTF must have."""

    expression: str
    paths: Paths = ()


@dataclass(frozen=True, slots=True)
class RawEvent:
    """The arguments, as (C type, name), that the expressions use, and the fields."""

    arguments: tuple[tuple[str, str], ...]
    fields: Mapping[str, RawField]


_TASK = "struct task_struct *"
_REQUEST = "struct request *"


def _task(argument: str, prefix: str = "") -> dict[str, RawField]:
    """Return the fields that describe one task, under a prefix."""
    return {
        f"{prefix}{name}": RawField(f"{argument}->{name}", (("task_struct", name),)) for name in ("comm", "pid", "prio")
    }


_FREE = RawEvent(((_TASK, "p"),), _task("p"))
#: Where task_cpu() looks since Linux 5.16; the field is the classic record's before.
_CPU = RawField("p->thread_info.cpu", (("task_struct", "thread_info.cpu"),))
_WAKEUP = RawEvent(((_TASK, "p"),), {**_task("p"), "target_cpu": _CPU})
_EXIT = RawEvent(((_TASK, "p"), ("bool", "group_dead")), {**_task("p"), "group_dead": RawField("group_dead")})
_SWITCH = RawEvent(
    (("bool", "preempt"), (_TASK, "prev"), (_TASK, "next"), ("unsigned int", "prev_state")),
    {
        **_task("prev", "prev_"),
        **_task("next", "next_"),
        "prev_state": RawField("task_state(preempt, prev_state, prev)", (("task_struct", "exit_state"),)),
    },
)
_VEC = RawEvent((("unsigned int", "vec_nr"),), {"vec": RawField("vec_nr")})
_IRQ = RawField("irq")
_DEV = (("request", "q"), ("request_queue", "disk"), ("gendisk", "major"), ("gendisk", "first_minor"))
_SECTOR = (("request", "__sector"), ("request", "cmd_flags"))
_SECTORS = (("request", "__data_len"), ("request", "cmd_flags"))
_ISSUE = RawEvent(
    ((_REQUEST, "rq"),),
    {
        "dev": RawField("request_dev(rq)", _DEV),
        "sector": RawField("request_sector(rq)", _SECTOR),
        "nr_sector": RawField("request_sectors(rq)", _SECTORS),
        "bytes": RawField("rq->__data_len", (("request", "__data_len"),)),
    },
)
_COMPLETE = RawEvent(
    ((_REQUEST, "rq"), ("u8", "error"), ("unsigned int", "nr_bytes")),
    {
        "dev": RawField("request_dev(rq)", _DEV),
        "sector": RawField("rq->__sector", (("request", "__sector"),)),
        "nr_sector": RawField("nr_bytes >> 9"),
    },
)
_WORK = ("struct work_struct *", "work")
_WORK_FIELD = RawField("address(work)")

RAW_EVENTS: Mapping[str, RawEvent] = {
    "sched:sched_waking": _WAKEUP,
    "sched:sched_wakeup": _WAKEUP,
    "sched:sched_wakeup_new": _WAKEUP,
    "sched:sched_process_exit": _EXIT,
    "sched:sched_process_free": _FREE,
    "sched:sched_switch": _SWITCH,
    "irq:irq_handler_entry": RawEvent(
        (("int", "irq"), ("struct irqaction *", "action")),
        {"irq": _IRQ, "name": RawField("action->name", (("irqaction", "name"),))},
    ),
    "irq:irq_handler_exit": RawEvent(
        (("int", "irq"), ("struct irqaction *", "action"), ("int", "ret")), {"irq": _IRQ, "ret": RawField("ret")}
    ),
    "irq:softirq_entry": _VEC,
    "irq:softirq_exit": _VEC,
    "irq:softirq_raise": _VEC,
    "raw_syscalls:sys_enter": RawEvent((("void *", "regs"), ("long", "id")), {"id": RawField("id")}),
    "raw_syscalls:sys_exit": RawEvent((("void *", "regs"), ("long", "ret")), {"ret": RawField("ret")}),
    "block:block_rq_issue": _ISSUE,
    "block:block_rq_insert": _ISSUE,
    "block:block_io_start": _ISSUE,
    "block:block_io_done": _ISSUE,
    "block:block_rq_complete": _COMPLETE,
    "workqueue:workqueue_execute_start": RawEvent(
        (_WORK,), {"work": _WORK_FIELD, "function": RawField("address(work->func)", (("work_struct", "func"),))}
    ),
    # No `function`: the verifier lets no program read an argument that points to code.
    "workqueue:workqueue_execute_end": RawEvent((_WORK,), {"work": _WORK_FIELD}),
    "workqueue:workqueue_activate_work": RawEvent((_WORK,), {"work": _WORK_FIELD}),
}


def struct_paths() -> tuple[tuple[str, str], ...]:
    """Return every (struct, member path) that the table follows: what a saved catalog must remember."""
    return tuple(
        sorted({path for event in RAW_EVENTS.values() for field in event.fields.values() for path in field.paths})
    )
