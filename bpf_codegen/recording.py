"""A recording in C: each event of a program, with what was read of it, goes into a ring buffer of its own."""

from __future__ import annotations

from bpf_codegen.expressions import Writer, local_name
from bpf_codegen.plan import Context, FieldValue, Member, Plan, Program
from bpf_codegen.reading import context_type, reads
from bpf_codegen.text import array_map, c_member, indent

#: TASK_COMM_LEN in include/linux/sched.h.
_COMM_BYTES = 16


def declarations(plan: Plan) -> str:
    """Return the ring buffer of events, and the counts of those that found it full; "" if nothing is recorded."""
    if not plan.event_bytes:
        return ""
    unrecorded = array_map("unrecorded", "u64", len(plan.programs), "PERCPU_ARRAY")
    return f"""/* Recorded events; user space reads them in batches, so that an event wakes nobody. */
struct {{
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, {plan.event_bytes});
}} events SEC(".maps");

struct event {{
	u64 time;
	u32 number;
	u32 cpu;
}};

/* Events that found no room, by number. */
{unrecorded}static __always_inline void count_unrecorded(u32 number)
{{
	u64 *count = bpf_map_lookup_elem(&unrecorded, &number);

	if (count)
		add(count, 1);
}}

"""


def recorded_member(value: FieldValue | Context) -> Member:
    """Return the member of the record that holds a value."""
    if isinstance(value, Context):
        return Member(f"task_{value.name}", _COMM_BYTES if value.string else 8, not value.string, value.string)
    return Member(local_name(value), value.size if value.string else 8, value.signed, value.string)


def function_name(program: Program) -> str:
    """Return the name of the function that records a program's event."""
    return f"{program.name}_record"


def function(program: Program, number: int) -> str:
    """Return the record of a program's event, and the function that fills it."""
    values = program.recorded or ()
    writer = Writer(program)
    members = [recorded_member(value) for value in values]
    fill = [
        line
        for member, value in zip(members, values, strict=True)
        for line in writer.copy(f"event->{member.name}", member, value)
    ]
    name = f"struct {program.name}_event"
    lines = [
        *reads(values, program, fill),
        "u64 at = event_time(now);",
        f"{name} *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);",
        "",
        "if (!event) {",
        f"\tcount_unrecorded({number});",
        "\treturn;",
        "}",
        f"event->head = (struct event){{ at, {number}, bpf_get_smp_processor_id() }};",
        *fill,
        "bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);",
    ]
    declared = "".join(f"\t{c_member(m)};\n" for m in members)
    return (
        f"{name} {{\n\tstruct event head;\n{declared}}};\n\n"
        f"static __always_inline void {function_name(program)}({context_type(program)}ctx, u64 *now)\n"
        f"{{\n{indent(lines)}}}\n\n"
    )
