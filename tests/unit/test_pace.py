"""The pace of the sweep: within the slack of every rule, and no faster than that asks for."""

from __future__ import annotations

import pytest

from ltrules.engines import pace as paces
from ltrules.engines.pace import Pace, pace, slack_ns, user_sweep_ns
from ltrules.evaluate import Constants
from ltrules.lower import lower
from support import CATALOG, good_rules

WAKE = "in sched_wakeup key pid, out sched_switch key next_pid"


def pace_of(clauses: str, **params: int) -> Pace:
    rules = good_rules("\n".join(f"r{i}: {WAKE}, {c}" for i, c in enumerate(clauses.split(" | "))))
    return pace(rules, lower(rules, CATALOG), {**{p.name: p.value for p in rules.params}, **params})


@pytest.mark.parametrize("timeout", ["6us", "1ms", "70ms", "1s", "100s"])
@pytest.mark.parametrize("slack", ["", "slack 60us", "slack 5ms"])
def test_a_pending_measurement_is_looked_at_within_its_slack(timeout: str, slack: str) -> None:
    rules = good_rules(f"{WAKE}, timeout {timeout} {slack}")
    params = {p.name: p.value for p in rules.params}
    found = pace(rules, lower(rules, CATALOG), params)
    allowed = slack_ns(rules.rules[0], Constants(params))
    assert found.grace + (1 << found.rules[0].shift) + found.interval <= allowed
    # And not needlessly often, but for the bounds.
    assert found.interval >= min(allowed // 4, paces.MOST_INTERVAL_NS) or found.rules[0].scan_ns * 256 < allowed


def test_the_tightest_rule_sets_the_interval() -> None:
    tight, both = pace_of("timeout 6us"), pace_of("timeout 10s | timeout 6us")
    assert (both.interval, both.grace) == (tight.interval, tight.grace)
    assert both.rules[0].timeout == 10 * 10**9
    assert both.rules[0].shift > both.rules[1].shift


def test_what_is_due_first_is_the_least_limit() -> None:
    (rule,) = pace_of("timeout 2s, expire 30s").rules
    assert (rule.due, rule.timeout) == (2 * 10**9, 2 * 10**9)
    (rule,) = pace_of("thresh 1ms").rules
    assert (rule.due, rule.timeout) == (60 * 10**9, 0)


def test_everything_is_looked_at_in_an_eighth_of_the_expiry() -> None:
    (rule,) = pace_of("thresh 1ms, expire 8s").rules
    assert rule.scan_ns * rule.sets == pytest.approx(10**9, rel=0.01)


def test_the_present_limits_count() -> None:
    slow, fast = pace_of("timeout 10s"), pace_of("timeout 10s", **{"r0.timeout": 1_000_000})
    assert fast.interval < slow.interval
    assert fast.rules[0].timeout == 1_000_000


def test_nothing_that_pends_nothing_to_sweep() -> None:
    rules = good_rules("at irq_handler_entry took 1us, thresh 1us")
    assert pace(rules, lower(rules, CATALOG), {}).interval == 0
    assert user_sweep_ns(rules.rules, Constants({})) is None


def test_user_space_sweeps_every_10_ms_at_most() -> None:
    rules = good_rules(f"{WAKE}, timeout 6us")
    assert user_sweep_ns(rules.rules, Constants({p.name: p.value for p in rules.params})) == 10_000_000
