"""`ltrules explain`: what a rule costs and how it is attached, before it runs."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import click

from bpf_codegen import layout, plan
from ltrules import model
from ltrules.cli.loading import get_catalog, load_rules, rule_options
from ltrules.engines.features import has_timers
from ltrules.engines.pace import slack_ns, timeout_ns, user_sweep_ns
from ltrules.errors import InputError
from ltrules.evaluate import Constants
from ltrules.lower import lower
from ltrules.resources import shipped_rules
from ltrules.units import format_duration, format_size

_WAYS_IN = {
    plan.Access.RAW: "raw tracepoint with BTF (tp_btf), the cheapest way",
    plan.Access.RECORD: "classic tracepoint, fields relocated through BTF",
    plan.Access.OFFSET: "classic tracepoint, fields at the offsets of its format",
}
COUNTERS = {
    "opened": "measurements begun",
    "closed": "ended by `out`",
    "cancelled": "ended by `cancel`",
    "replaced": "begun again while pending",
    "expired": "dropped by `expire` or `timeout … drop`",
    "refused": "no room in flight: not taken in, or with `evict` dropped for a new one",
    "pending": "still open",
    "kept": "openings ignored by `duplicate keep`",
    "unmatched": "`out` events without a measurement",
    "clock_skew": "negative times, counted as 0",
    "alerts": "longer than `thresh`",
    "timeouts": "open longer than `timeout`",
    "suppressed": "held back by `rate`",
    "unqueued": "openings whose timeout is found by a slower way",
    "lost": "made faster than they were read",
}


@click.command()
@rule_options
def explain(
    files: tuple[str, ...], texts: tuple[str, ...], settings: tuple[str, ...], catalog_path: Path | None
) -> None:
    """Explain rules: probes and how each is attached, maps and memory, timeouts, counters.

    FILE may also be the name of a shipped rule, as `wakeup`.
    """
    catalog = get_catalog(catalog_path)
    named = [f for f in files if f != "-" and not f.startswith("std:") and not Path(f).exists()]
    paths = [str(_shipped_with(f)) if f in named else f for f in files]
    rules = load_rules(paths, texts, settings, catalog)
    planned = lower(rules, catalog)
    for rule, one in zip(rules.rules, planned.rules, strict=True):
        if named and len(named) == len(files) and rule.name not in named:
            continue
        click.echo("\n".join(_rule(rule, one, rules, planned)) + "\n")
    click.echo("Counters: opened = closed + cancelled + replaced + expired + refused + pending, always.")
    for name, text in COUNTERS.items():
        click.echo(f"  {name:<11} {text}")


def _shipped_with(rule: str) -> Path:
    for path in shipped_rules():
        if f"rule {rule} " in path.read_text(encoding="utf-8"):
            return path
    raise InputError(f"`{rule}` is neither a file nor a shipped rule")


def _rule(rule: model.Rule, one: plan.Rule, rules: model.RuleSet, planned: plan.Plan) -> Iterator[str]:
    yield f"{rule.name}: {rule.title}  ({rule.span.source.name}:{rule.span.line})"
    if rule.doc:
        yield from (f"  {line}" for line in rule.doc.splitlines())
    yield "  probes"
    for program in planned.programs:
        roles = dict.fromkeys(h.role.value for h in program.handlers if planned.rules[h.rule] is one)
        if roles:
            yield f"    {program.category}:{program.event} ({', '.join(roles)}): {_WAYS_IN[program.access]}"
    params = [p for p in rules.params if p.name.startswith(f"{rule.name}.")]
    if params:
        yield "  params"
        for p in params:
            value = format_duration(int(p.value)) if p.type.kind.value == "duration" else str(p.value)
            yield f"    {p.short} = {value}  {p.doc}".rstrip()
    yield from _memory(rule, one)
    yield from _timeouts(rule, rules)


def _memory(rule: model.Rule, one: plan.Rule) -> Iterator[str]:
    yield "  memory"
    if one.sets:
        size = layout.set_size(one)
        yield (
            f"    pairing table: {format_size(one.sets * size)}, {one.sets * plan.WAYS} slots of {size // plan.WAYS} B"
            f" for {rule.inflight} in flight"
        )
        refused = refused_share(one.sets, rule.inflight)
        odds = f"1 in {round(1 / refused):,}" if refused > 1e-9 else "none"
        what = "the oldest of its set is dropped for" if rule.evict else "refused are"
        yield f"    with {rule.inflight} in flight, {what} {odds} of new ones; fewer with fewer in flight"
    for histogram in one.histograms:
        groups = layout.group_count(histogram.group)
        size = (histogram.buckets + 2) * 8 * groups
        yield f"    {histogram.name}: {format_size(size)} a CPU" + (
            f", {groups - 1} groups at most" if groups > 1 else ""
        )
    yield f"    one alert: {struct.calcsize(layout.record_format(one))} B in the ring buffer"


def _timeouts(rule: model.Rule, rules: model.RuleSet) -> Iterator[str]:
    if rule.timeout is None:
        return
    values = Constants({p.name: p.value for p in rules.params})
    period = None if has_timers() else user_sweep_ns(rules.rules, values)
    by = "a timer in the kernel" if period is None else "a sweep from user space: no BPF timers here, or no root"
    yield "  timeout"
    limit = format_duration(timeout_ns(rule, values))
    yield f"    {limit}, then the measurement is {'dropped' if rule.timeout.drop else 'kept'}"
    within = format_duration(period or slack_ns(rule, values))
    yield f"    a pending one is reported within {within} of its deadline, by {by};"
    yield "    one that ends before that is reported at its end, marked late: none is missed"


def refused_share(sets: int, inflight: int) -> float:
    """Return the share of openings that find their set full when `inflight` keys are spread over the sets by chance.

    The number of keys in a set has a Poisson distribution. The live table was measured to agree: docs/performance.md.
    """
    mean = inflight / sets
    share, overflow = math.exp(-mean), 0.0
    for count in range(1, 60):
        share *= mean / count
        overflow += share * max(count - plan.WAYS, 0)
    return overflow / mean
