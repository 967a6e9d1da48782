"""Many rules at the same events: they share programs and maps and agree; the limit is said in words."""

from __future__ import annotations

import pytest

from helpers import Child, assert_accounted, catalog, nanosleep, rule_set, run_rules
from ltrules.engines.libbpf import LibbpfEngine
from ltrules.errors import LoadError

pytestmark = pytest.mark.kernel

RULE = (
    "rule r{0} {{ in sched_wakeup key pid where pid != 0 out sched_switch key next_pid"
    " cancel sched_process_exit key pid thresh {1}us {2} inflight 1000 }}"
)


def rules(count: int, more: str = "") -> str:
    """Return the text of some rules that measure the same."""
    return "\n".join(RULE.format(i, i + 1, more) for i in range(count))


def sleeps(rounds: int) -> None:
    for _ in range(rounds):
        nanosleep(1)


@pytest.mark.parametrize(("count", "more"), [(10, ""), (100, "timeout 1s")])
def test_rules_that_measure_the_same_agree(count: int, more: str) -> None:
    with Child(sleeps, 50) as child:
        _, stats = run_rules(rules(count, more), child.work)
    for rule in stats.rules:
        assert_accounted(rule)
        assert rule.counters["closed"] >= 50
    assert len({rule.counters["closed"] for rule in stats.rules}) == 1
    assert len({rule.latency.total for rule in stats.rules}) == 1  # they share the clock, too


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (rules(300, "timeout 1s"), "run fewer of them at once"),
        (rules(70, "hist latency by key.pid"), "run fewer of these rules at once, or group less"),
    ],
)
def test_too_many_are_refused_before_they_are_loaded(text: str, reason: str) -> None:
    with pytest.raises(LoadError, match=reason):
        LibbpfEngine(catalog()).open(rule_set(text))
