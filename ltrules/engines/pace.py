"""How often the sweep looks at what, by the limits of the rules: the rule's `slack` is kept, and no time wasted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bpf_codegen import plan
from ltrules import model
from ltrules.alert import Scalar
from ltrules.evaluate import Constants, evaluate

#: How late a timeout may be told, where the rule does not say: a tenth of it, and never less than this.
LEAST_SLACK_NS = 100_000
#: Timers in the kernel fire no more often than this; a tenth of a CPU would go into waking up otherwise.
LEAST_INTERVAL_NS = 10_000
MOST_INTERVAL_NS = 1_000_000_000
#: How long an event may take from its reading of the clock to the measurement that it ends, and be heard before a sweep
#: tells its timeout, but a quarter of the slack at most. An interrupt with its softirqs takes some 30 us in a guest.
GRACE_NS = 250_000
#: A span of a queue, as a power of two in ns: 4 us to 2 s.
LEAST_SHIFT, MOST_SHIFT = 12, 31
#: All sets are looked at within an eighth of `expire`, within these bounds.
LEAST_ROUND_NS = 10_000_000
MOST_ROUND_NS = 10_000_000_000
#: Sets to look at in one run, so that no run takes long.
SETS_A_RUN = 256
#: Without timers in the kernel, a sweep is a system call and a walk over everything: not more often than this.
LEAST_SWEEP_NS = 10_000_000
FOREVER = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class RulePace:
    """The pace of one rule: members of `struct pace`, in order. Times are in ns, 0 where there is no such thing."""

    due: int
    timeout: int
    shift: int
    scan_ns: int
    sets: int


@dataclass(frozen=True, slots=True)
class Pace:
    """How the kernel sweeps, in ns: the interval of the timers, 0 if nothing is ever due, and the grace of events.

    `rules` is each rule's own pace.
    """

    interval: int
    grace: int
    rules: tuple[RulePace, ...]


def pace(rules: model.RuleSet, planned: plan.Plan, params: Mapping[str, Scalar]) -> Pace:
    """Return the pace that the present limits ask for."""
    values = Constants(params)
    found, intervals = [], []
    slacks = [slack_ns(rule, values) for rule in rules.rules if rule.timeout]
    grace = min([GRACE_NS, *(slack // 4 for slack in slacks)])
    for rule, one in zip(rules.rules, planned.rules, strict=True):
        timeout = timeout_ns(rule, values) if one.sets else 0
        expire = int(evaluate(rule.expire, values)) if one.sets and rule.expire else 0
        shift, scan = LEAST_SHIFT, 0
        if timeout:
            # A span and an interval may pass until a slot's turn comes, and the grace: together three quarters of the
            # slack at most, so that a timer may be somewhat late.
            slack = slack_ns(rule, values)
            shift = min(max((slack // 8).bit_length() - 1, LEAST_SHIFT), MOST_SHIFT)
            intervals.append(slack * 3 // 8)
        if expire:
            round_ns = min(max(expire // 8, LEAST_ROUND_NS), MOST_ROUND_NS)
            scan = max(round_ns // one.sets, 1)
            intervals.append(scan * SETS_A_RUN)
        due = min((limit for limit in (timeout, expire) if limit), default=FOREVER)
        found.append(RulePace(due, timeout, shift, scan, one.sets))
    interval = min(max(min(intervals), LEAST_INTERVAL_NS), MOST_INTERVAL_NS) if intervals else 0
    return Pace(interval, grace, tuple(found))


def timeout_ns(rule: model.Rule, values: Constants) -> int:
    """Return a rule's timeout now, 0 if it has none. One of nothing is taken as 1 ns: whatever pends is overdue."""
    return max(int(evaluate(rule.timeout.limit, values)), 1) if rule.timeout else 0


def slack_ns(rule: model.Rule, values: Constants) -> int:
    """Return how late a timeout of a rule may be told."""
    if rule.timeout is not None and rule.timeout.slack_ns is not None:
        return rule.timeout.slack_ns
    return max(timeout_ns(rule, values) // 10, LEAST_SLACK_NS)


def user_sweep_ns(rules: Sequence[model.Rule], values: Constants) -> int | None:
    """Return how often user space sweeps where the kernel has no timers for it, in ns; None if no rule needs it."""
    periods = []
    for rule in rules:
        if not rule.pairs:
            continue
        periods.append(MOST_INTERVAL_NS)
        if rule.timeout:
            periods.append(slack_ns(rule, values))
        if rule.expire:
            periods.append(int(evaluate(rule.expire, values)) // 8)
    return max(min(periods), LEAST_SWEEP_NS) if periods else None
