"""How the plugins of libtraceevent write events, where that is not as the kernel's print texts do.

`trace-cmd report` uses them unless told not to. These texts follow plugins/plugin_sched_switch.c, which has a letter
for each bit of how a task was switched out, and none for bit 8, by which the kernel tells that it was preempted: so `R`
does not tell all of `prev_state`.
"""

from __future__ import annotations

_STATES = ", ".join(f'{{ {1 << bit}, "{letter}" }}' for bit, letter in enumerate("SDTtZXxW"))
_WAKEUP = '"%s:%d [%d] CPU:%03d", REC->comm, REC->pid, REC->prio, REC->target_cpu'

PLUGIN_TEXTS = {
    "sched:sched_switch": (
        '"%s:%d [%d] %s ==> %s:%d [%d]", REC->prev_comm, REC->prev_pid, REC->prev_prio, '
        f'(REC->prev_state & 0xff) ? __print_flags(REC->prev_state & 0xff, "|", {_STATES}) : "R", '
        "REC->next_comm, REC->next_pid, REC->next_prio"
    ),
    **dict.fromkeys(("sched:sched_wakeup", "sched:sched_wakeup_new", "sched:sched_waking"), _WAKEUP),
}
