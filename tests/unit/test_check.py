"""What rules that check come to: names, types, defaults, parameters, imports and columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from ltrules import model
from ltrules.catalog.events import Catalog
from ltrules.check import check
from ltrules.parse import parse
from ltrules.source import COMMAND_LINE, Source
from ltrules.types import BOOL, DURATION, INT, SIZE, UNSIGNED, Kind, Type, string
from support import CATALOG, check_text, good_rules

LINE = "in sched_wakeup key pid, out sched_switch key next_pid, thresh 5us, timeout 6us"


def rule_of(text: str, **settings: str) -> model.Rule:
    """Return the only rule of a text without mistakes; settings have `.` as `__`."""
    (rule,) = good_rules(text, {name.replace("__", "."): value for name, value in settings.items()}).rules
    return rule


def expr_of(text: str) -> model.Expr:
    """Return an expression over the fields of block_rq_issue, as it is captured."""
    rule = rule_of(f"in block_rq_issue key dev capture x = {text}, out block_rq_complete key dev, thresh 1s")
    return next(h.saves[0][1] for h in rule.handlers if h.role is model.Role.IN)


def roles(rule: model.Rule) -> list[tuple[str, str]]:
    return [(h.role.value, h.event.name) for h in rule.handlers]


def test_line_rule() -> None:
    rule = rule_of(LINE)
    assert (rule.name, rule.title, rule.severity) == ("rule:1", "rule:1", "warning")
    assert roles(rule) == [("out", "sched_switch"), ("in", "sched_wakeup")]
    assert rule.key == (model.Value("pid", Type(Kind.INT, True, 4), {}),) or rule.key[0].name == "pid"
    assert rule.thresh == model.Parameter(DURATION, "rule:1.thresh")
    assert rule.timeout == model.Timeout(model.Parameter(DURATION, "rule:1.timeout"), drop=False, slack_ns=None)
    assert rule.rate == model.Rate(model.Constant(INT, 100), model.Constant(DURATION, 10**9), ())
    assert rule.inflight == 10_240
    assert not rule.keep_first
    assert rule.outcomes == ("out",)
    assert rule.pairs


def test_roles_of_one_event_stand_in_their_fixed_order() -> None:
    rule = rule_of(
        "in sched_switch key prev_pid, cancel sched_switch key prev_pid, out sched_switch key next_pid, thresh 1us"
    )
    assert [role for role, _ in roles(rule)] == ["out", "cancel", "in"]


@pytest.mark.parametrize(
    ("text", "expire"),
    [
        ("thresh 1us", 60_000_000_000),
        ("timeout 1s", 60_000_000_000),
        ("timeout 7s", 70_000_000_000),
        ("timeout 7s, expire 9s", 9_000_000_000),
    ],
)
def test_expire_is_a_minute_or_ten_timeouts(text: str, expire: int) -> None:
    from ltrules.evaluate import Constants, evaluate

    rules = good_rules(f"in sched_wakeup key pid, out sched_switch key next_pid, {text}")
    assert rules.rules[0].expire is not None
    assert evaluate(rules.rules[0].expire, Constants({p.name: p.value for p in rules.params})) == expire


def test_a_constant_limit_is_a_param_that_can_be_set() -> None:
    rules = good_rules(LINE, {"thresh": "1ms", "rule:1.timeout": "2ms"})
    assert {p.name: p.value for p in rules.params} == {"rule:1.thresh": 1_000_000, "rule:1.timeout": 2_000_000}


def test_a_limit_that_is_a_param_implies_no_other() -> None:
    rules = good_rules(
        "rule r { param thresh_: duration = 1ms in sched_wakeup key pid out sched_switch thresh thresh_ }".replace(
            "sched_switch", "sched_switch key next_pid"
        )
    )
    assert [p.name for p in rules.params] == ["r.thresh_"]


def test_evict() -> None:
    assert rule_of(LINE + ", inflight 10 evict").evict
    assert not rule_of(LINE + ", inflight 10 reject").evict


@pytest.mark.parametrize(
    ("text", "sort"),
    [
        ("bytes", Type(Kind.INT, False, 4)),
        ("sector", UNSIGNED),
        ("sector + 1", UNSIGNED),
        ("bytes + 1", INT),
        ("-bytes", INT),
        ("bytes * 1ms", DURATION),
        ("bytes * 1ms / 1MiB", DURATION),
        ("time.mono / 1us", INT),
        ("time.mono - 1us", DURATION),
        ("bytes * 1KiB", SIZE),
        ("4KiB % 3KiB", SIZE),
        ("bytes > 4KiB", BOOL),
        ("rwbs", string(16)),
        ("comm", string(16)),
        ("task.comm", string(16)),
        ("cmd", string(64)),
        ("task.tid", Type(Kind.INT, True, 4)),
        ("cgroup.id", UNSIGNED),
        ("if(bytes > 0, 1us, 2us)", DURATION),
        ("major(dev)", INT),
        ("dev has 3", BOOL),
        ("dev one of [1, 2]", BOOL),
        ("1 << 63 >> 63", INT),
    ],
)
def test_types_of_expressions(text: str, sort: Type) -> None:
    assert expr_of(text).type == sort


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.5ms + 500us", 2_000_000),
        ("3 * 1us", 3_000),
        ("2s / 3", 666_666_666),
        ("7 / 0", 0),
        ("-7 % 3", -1),
        ("1 | 2 == 3", 1),
        ("1 + 2 * 3 << 1", 14),
        ("not 1 == 2 and true", 1),
        ("~0", -1),
        ("if(1 > 2, 3, 4)", 4),
        ('syscall("read")', 0),
        ("0xffff_ffff_ffff_ffff >> 63", 1),
        ("1 one of []", 0),
    ],
)
def test_constants_are_folded(text: str, value: int) -> None:
    found = expr_of(text)
    assert isinstance(found, model.Constant)
    assert found.value == value


def test_captures_of_several_clauses_share_their_names() -> None:
    rule = rule_of(
        "in sched_wakeup key pid capture (prio, who = comm), in sched_switch key prev_pid capture prio = prev_prio,"
        " out sched_switch key next_pid as a capture next_comm, out sched_process_exit key pid as b, thresh 1us"
    )
    assert [v.name for v in rule.opened] == ["prio", "who"]
    assert [v.name for v in rule.closed] == ["next_comm"]
    assert rule.outcomes == ("a", "b")
    saves = {h.event.name: [i for i, _ in h.saves] for h in rule.handlers if h.role is model.Role.IN}
    assert saves == {"sched_wakeup": [0, 1], "sched_switch": [0]}


def test_outcomes_of_one_label_are_one() -> None:
    rule = rule_of(
        "in sched_wakeup key pid, out sched_switch key next_pid as x, out sched_process_exit key pid as x, thresh 1us"
    )
    assert rule.outcomes == ("x",)


def test_the_first_column_of_which_all_exists_is_taken_everywhere() -> None:
    rule = rule_of(
        "in sched_wakeup else sched_waking key pid, out no_such_event else sched_switch key"
        " if(true, task.tid, task.tid), thresh 1us"
    )
    assert roles(rule) == [("out", "sched_switch"), ("in", "sched_waking")]


def test_optional_events_may_be_missing() -> None:
    rule = rule_of("in sched_wakeup or never? key pid, out sched_switch key next_pid, cancel never? key x, thresh 1us")
    assert roles(rule) == [("out", "sched_switch"), ("in", "sched_wakeup")]


def test_a_bare_name_is_a_field_and_never_the_context() -> None:
    _, (found,) = check_text("in sched_wakeup key tid, out sched_switch key next_pid, thresh 1us")
    assert found.code == "LT202"


def test_symbols_of_a_field_stand_where_it_is_compared() -> None:
    rule = rule_of(
        "const SOME = [NET_RX, 9]\nr: in softirq_entry key cpu.id where vec == TIMER or BLOCK == vec"
        " or vec one of SOME, out softirq_exit key cpu.id, thresh 1us"
    )
    numbers = {e.value for h in rule.handlers for e in model.walk(h.where) if isinstance(e, model.Constant)}
    assert numbers == {1, 4, 3, 9}


def test_a_list_from_another_file_is_read_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lib.lt").write_text("const BASE = 90\nconst URGENT = [BASE, BASE + 1]\n")
    rule = rule_of(
        'import "lib.lt"\nr: in sched_wakeup key pid where prio one of lib.URGENT,'
        " out sched_switch key next_pid, thresh 1us"
    )
    numbers = {e.value for h in rule.handlers for e in model.walk(h.where) if isinstance(e, model.Constant)}
    assert numbers == {90, 91}


def test_a_macro_sees_its_arguments_and_its_own_file_only() -> None:
    text = (
        "macro f(x) = x + prio\nr: in sched_wakeup key pid where f(pid) > 1, out sched_switch key next_pid, thresh 1us"
    )
    _, found = check_text(text)
    assert [d.span.text for d in found] == ["prio"]


# --------------------------------------------------------------------------------- parameters
PARAMS = """
param floor: duration = 1us
rule wait {
  param limit: duration = 1ms range 1us to 10s "doc"
  param room: size = 4KiB
  param name: string = "x"
  param on: bool = true
  param n: int = 3
  in sched_wakeup key pid where comm == name and on and prio > n
  out sched_switch key next_pid
  thresh limit + floor
}
rule fast = wait(limit = 5us)
rule faster "Sooner" = fast(n = 7)
"""


def values(text: str, settings: dict[str, str]) -> dict[str, int | str]:
    return {p.name: p.value for p in good_rules(text, settings).params}


def test_params_have_the_value_of_their_rule() -> None:
    found = values(PARAMS, {})
    assert found["wait.limit"] == 1_000_000
    assert (found["fast.limit"], found["fast.n"]) == (5_000, 3)
    assert (found["faster.limit"], found["faster.n"]) == (5_000, 7)
    assert found["faster.name"] == "x"
    assert {r.name: r.title for r in good_rules(PARAMS).rules} == {"wait": "wait", "fast": "fast", "faster": "Sooner"}


def test_settings_win_and_the_fuller_name_most() -> None:
    found = values(
        PARAMS, {"limit": "2ms", "fast.limit": "3ms", "room": "8KiB", "wait.name": "y", "on": "false", "n": "-1"}
    )
    assert (found["wait.limit"], found["fast.limit"], found["faster.limit"]) == (2_000_000, 3_000_000, 2_000_000)
    assert (found["wait.room"], found["wait.name"], found["wait.on"], found["wait.n"]) == (8192, "y", 0, -1)


@pytest.mark.parametrize(
    ("name", "value"), [("limit", "5"), ("room", "1us"), ("on", "yes"), ("n", "x"), ("n", "1e3"), ("name", "x" * 64)]
)
def test_settings_of_another_type_are_refused(name: str, value: str) -> None:
    _, found = check_text(PARAMS, {name: value})
    assert {d.code for d in found} == {"LT218"}


# --------------------------------------------------------------------------------------- sets
def test_rules_of_several_files_are_told_apart(tmp_path: Path) -> None:
    def read(path: Path) -> object:
        raise AssertionError(path)

    catalog: Catalog = CATALOG
    files = [parse(Source(name, f"w: {LINE}"))[0] for name in ("one.lt", "two.lt")]
    rules, found = check(files, catalog, read)  # type: ignore[arg-type]
    assert not found
    assert [r.name for r in rules.rules] == ["one.w", "two.w"]
    line, _ = parse(Source(COMMAND_LINE, LINE))
    rules, _ = check([line, line], catalog, read)  # type: ignore[arg-type]
    assert len({r.name for r in rules.rules}) == 2


def test_imports_define_and_do_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lib.lt").write_text(PARAMS)
    rules = good_rules('import "lib.lt" as l\nrule mine = l.fast(n = 1)\n')
    assert [r.name for r in rules.rules] == ["mine"]
    assert {p.name for p in rules.params} >= {"mine.limit", "mine.n"}
