"""The numbers at the end, as lines for people; losses in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ltrules.alert import Distribution, HistogramStats, RuleStats, StatisticStats, Stats
from ltrules.units import format_duration, format_size

_BAR = 40
#: Groups of one histogram that are drawn; the others are counted.
_DRAWN = 8
#: The parts of `opened`, in the order of the identity.
_PARTS = ("closed", "cancelled", "replaced", "expired", "refused", "pending")
_BESIDE = ("kept", "unmatched", "clock_skew")


def clean(text: str) -> str:
    """Return text that cannot play tricks with a terminal: the kernel's strings are other people's."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def summary_lines(stats: Stats, brief: bool = False) -> list[str]:
    """Return the numbers of every rule; `brief` leaves out what is drawn."""
    lines: list[str] = []
    for rule in stats.rules:
        lines += ["", *_rule(rule)]
        if not brief:
            for histogram in (h for h in rule.histograms if h.groups):
                lines += ["", *_histogram(histogram)]
            for statistic in (s for s in rule.statistics if s.groups):
                lines += ["", *_statistic(statistic)]
            if not rule.histograms and rule.latency.count:
                lines += ["", *_histogram(HistogramStats("latency", "duration", False, (), (rule.latency,)))]
    losses = loss_sentences(stats)
    lines += ["", *(f"warning: {s}" for s in losses)] if losses else ["", "Nothing was lost."]
    return lines


def loss_sentences(stats: Stats) -> list[str]:
    """Return what was lost, in words; empty if nothing was."""
    said = []
    for rule in stats.rules:
        c = rule.counters
        if c["refused"]:
            said.append(
                f"{rule.rule}: {c['refused']} measurement{_s(c['refused'])} refused for want of room; raise `inflight`"
            )
        if c["lost"]:
            said.append(f"{rule.rule}: {c['lost']} alert{_s(c['lost'])} lost, made faster than they were read")
        unseen = c["alerts"] + c["timeouts"] - c["delivered"] - c["lost"]
        if unseen:
            said.append(f"{rule.rule}: {unseen} alert{_s(unseen)} made but not delivered")
        if not rule.balanced:
            said.append(f"{rule.rule}: the numbers do not add up; this is a bug in ltrules")
    for probe, count in stats.missed.items():
        said.append(f"{probe}: {count} event{_s(count)} missed, another program ran on that CPU")
    return [*said, *stats.troubles]


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _rule(rule: RuleStats) -> Iterator[str]:
    c = rule.counters
    parts = " + ".join(f"{c[name]} {name}" for name in _PARTS if c[name]) or "0"
    yield f"{rule.rule}: {c['opened']} opened = {parts}"
    beside = [f"{c[name]} {name.replace('_', ' ')}" for name in _BESIDE if c[name]]
    made = f"{c['alerts']} alert{_s(c['alerts'])}, {c['timeouts']} timeout{_s(c['timeouts'])}"
    held = f", {c['suppressed']} held back by `rate`" if c["suppressed"] else ""
    yield f"  {made}{held}" + (f"; {', '.join(beside)}" if beside else "")
    d = rule.latency
    if d.count:
        p50, p90, p99 = (format_duration(d.percentile(p)) for p in (50, 90, 99))
        yield f"  latency: p50 {p50}  p90 {p90}  p99 {p99}  max {format_duration(d.greatest)}  ({d.count} measured)"


def _show(value: int, unit: str) -> str:
    if unit == "duration":
        return format_duration(value)
    return format_size(value) if unit == "size" else str(value)


def _histogram(histogram: HistogramStats) -> Iterator[str]:
    for group in histogram.groups[:_DRAWN]:
        title = f"  {histogram.name}"
        if group.group:
            title += ": " + clean(", ".join(group.group))
        p50, p99 = (_show(group.percentile(p), histogram.unit) for p in (50, 99))
        yield f"{title}  ({group.count}; p50 {p50}, p99 {p99}, max {_show(group.greatest, histogram.unit)})"
        yield from _bars(group, histogram)
    rest = histogram.groups[_DRAWN:]
    if rest:
        yield f"  … and {len(rest)} more groups with {sum(g.count for g in rest)} measurements"


def _bars(group: Distribution, histogram: HistogramStats) -> Iterator[str]:
    rows = list(group.buckets) if histogram.linear else octaves(group.buckets)
    most = max((count for _, _, count in rows), default=1)
    for low, high, count in rows:
        bar = "#" * max(round(count * _BAR / most), 1 if count else 0)
        span = f"{_show(low, histogram.unit)} - {_show(high, histogram.unit)}"
        yield f"    {span:>19} {count:>9} |{bar:<{_BAR}}|"


def octaves(buckets: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Return log-linear buckets added up to powers of two, with the empty ones between the first and the last."""
    sums: dict[int, int] = {}
    for low, _, count in buckets:
        sums[low.bit_length()] = sums.get(low.bit_length(), 0) + count
    if not sums:
        return []
    return [(1 << bits - 1 if bits else 0, 1 << bits, sums.get(bits, 0)) for bits in range(min(sums), max(sums) + 1)]


def _statistic(statistic: StatisticStats) -> Iterator[str]:
    yield f"  {statistic.name}"
    for group, value in statistic.groups[: 2 * _DRAWN]:
        yield f"    {clean(', '.join(group)) or 'all':<30} {_show(value, statistic.unit):>12}"
    rest = len(statistic.groups) - 2 * _DRAWN
    if rest > 0:
        yield f"    … and {rest} more groups"
