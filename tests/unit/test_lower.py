"""The plan of a rule set: programs, access, split conditions, room and names."""

from __future__ import annotations

import pytest

from bpf_codegen import plan
from ltrules.catalog.machine import shipped_catalog
from ltrules.lower import lower
from support import FixedCatalog, good_rules, plan_of

WAKE = "in sched_wakeup key pid, out sched_switch key next_pid, thresh 5us"


class NoBtf(FixedCatalog):
    """A kernel whose structures are not known."""

    def has_path(self, struct: str, path: str) -> bool | None:
        return None


def program(planned: plan.Plan, event: str) -> plan.Program:
    return next(p for p in planned.programs if p.event == event)


def test_one_program_for_each_event_whatever_the_number_of_rules() -> None:
    planned = plan_of("\n".join(f"r{i}: {WAKE}" for i in range(10)))
    assert [p.event for p in planned.programs] == ["sched_switch", "sched_wakeup"]
    assert [h.rule for h in planned.programs[0].handlers] == list(range(10))


def test_roles_of_a_rule_run_in_their_order_at_one_event() -> None:
    planned = plan_of(
        "in sched_switch key prev_pid, cancel sched_switch key prev_pid, out sched_switch key next_pid, thresh 1us"
    )
    (only,) = planned.programs
    assert [h.role.value for h in only.handlers] == ["out", "cancel", "in"]


def test_hot_tracepoints_are_read_raw_where_all_their_fields_can_be_had() -> None:
    assert program(plan_of(WAKE), "sched_switch").access is plan.Access.RAW
    assert program(plan_of(WAKE), "sched_switch").section == "tp_btf/sched_switch"
    mixed = plan_of("in block_rq_issue key sector capture rwbs, out block_rq_complete key sector, thresh 1ms")
    assert program(mixed, "block_rq_issue").access is plan.Access.RECORD
    assert program(mixed, "block_rq_issue").section == "tp/block/block_rq_issue"
    assert program(mixed, "block_rq_complete").access is plan.Access.RAW


def test_without_btf_of_structures_records_are_read() -> None:
    for catalog in (NoBtf(), shipped_catalog()):
        planned = lower(good_rules(WAKE, catalog=catalog), catalog)
        if catalog.has_path("task_struct", "pid") is not True:
            assert {p.access for p in planned.programs} == {plan.Access.RECORD}


def test_elements_and_system_calls_are_read_by_offset() -> None:
    planned = plan_of(
        "in raw_syscalls:sys_enter key task.tid where args[1] > 0, out sys_exit_read key 1 capture ret, stat count"
    )
    assert program(planned, "sys_enter").access is plan.Access.OFFSET
    assert program(planned, "sys_exit_read").access is plan.Access.OFFSET


@pytest.mark.parametrize(
    ("where", "early", "late"),
    [
        ("next_pid != 0", 1, 0),
        ("latency > 1us", 0, 1),
        ("next_pid != 0 and in.prio > 1", 1, 1),
        ("next_pid != 0 and in.prio > 1 and next_prio > 1", 2, 1),
        ("(in.prio > 1 and next_pid != 0) and (next_prio > 1 and latency > 1us)", 2, 2),
        ("next_pid != 0 or in.prio > 1", 0, 1),
    ],
)
def test_conditions_are_split_into_what_the_event_decides_and_the_rest(where: str, early: int, late: int) -> None:
    planned = plan_of(f"in sched_wakeup key pid capture prio, out sched_switch key next_pid where {where}, thresh 1us")
    (handler,) = program(planned, "sched_switch").handlers

    def count(expr: plan.Expr | None) -> int:
        if isinstance(expr, plan.Operation) and expr.operator == "and":
            return sum(map(count, expr.operands))
        return int(expr is not None)

    assert (count(handler.early), count(handler.late)) == (early, late)


@pytest.mark.parametrize("inflight", [1, 8, 9, 1000, 10_240, 1 << 20])
def test_tables_have_room_to_spare_and_a_power_of_two_of_sets(inflight: int) -> None:
    (rule,) = plan_of(f"{WAKE}, inflight {inflight}").rules
    assert rule.sets & (rule.sets - 1) == 0
    assert rule.sets * plan.WAYS >= 4 * inflight
    assert rule.sets * plan.WAYS < 8 * inflight + plan.WAYS


def test_a_rule_that_pairs_nothing_has_no_table() -> None:
    (rule,) = plan_of("at nmi_handler took delta_ns * 1ns, thresh 1us").rules
    assert (rule.sets, rule.expire) == (0, None)


def test_names_are_c_identifiers_and_distinct() -> None:
    planned = plan_of(
        "rule alerts { param enabled: duration = 1us param int: duration = 1us "
        "in sched_wakeup key (int = pid, _int = pid) capture (for = prio, _for = prio) "
        "out sched_switch key (next_pid, next_pid) "
        "thresh enabled + int hist in.for }\n"
        f"{WAKE}\n{WAKE}\n"
    )
    names = [r.name for r in planned.rules]
    assert len(set(names)) == 3
    assert all(name.isidentifier() for name in names)
    assert "alerts" not in names
    assert [p.source for p in planned.parameters[:2]] == ["alerts.enabled", "alerts.int"]
    assert [p.member.name for p in planned.parameters[:2]] == ["alerts_enabled", "alerts_int"]
    assert [m.name for m in planned.rules[0].key] == ["_int", "_int_2"]
    assert [m.name for m in planned.rules[0].saved] == ["_for", "_for_2"]


def test_parameters_that_only_user_space_reads_are_not_in_the_kernel() -> None:
    planned = plan_of(
        "rule r { param a: duration = 1us param b: int = 1 in sched_wakeup key pid out sched_switch key next_pid "
        'thresh a message "{b}" }'
    )
    assert [p.member.name for p in planned.parameters] == ["r_a"]
    assert planned.parameters[0].value == 1_000


def test_groups_that_are_the_same_are_counted_once() -> None:
    (rule,) = plan_of(
        "in sched_wakeup key pid capture prio, out sched_switch key next_pid, thresh 1us, rate 5 per 1s by in.prio,"
        " hist latency by in.prio, stat count by in.prio, stat max latency by key"
    ).rules
    assert [g.name for g in rule.groups] == ["by1", "by2"]


def test_outcomes_are_numbers_in_the_kernel() -> None:
    (rule,) = plan_of(
        "in sched_wakeup key pid, out sched_switch key next_pid as a, out sched_process_exit key pid as b,"
        ' when outcome == "b" or "c" != outcome, thresh 1us'
    ).rules
    assert rule.when == plan.Operation(
        "or",
        (
            plan.Operation("==", (plan.Outcome(), plan.Number(1))),
            plan.Operation("!=", (plan.Outcome(), plan.Number(-1))),
        ),
    )
