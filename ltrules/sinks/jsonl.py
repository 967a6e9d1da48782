"""One JSON object a line: alerts as they come, the summary last. The records are described in docs/outputs.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, TextIO

from ltrules.alert import Alert, Distribution, RuleStats, Stats
from ltrules.sinks.summary import loss_sentences


class JsonlSink:
    """Writes JSON Lines to one stream, and losses in words to the other."""

    def __init__(self, out: TextIO, err: TextIO, *, quiet: bool) -> None:
        self.out = out
        self.err = err
        self.quiet = quiet

    def alerts(self, alerts: Sequence[Alert]) -> None:
        """Write one line an alert."""
        if alerts:
            self.out.write("".join(json.dumps(as_record(a), ensure_ascii=False) + "\n" for a in alerts))
            self.out.flush()

    def summary(self, stats: Stats) -> None:
        """Write the summary record."""
        self.out.write(json.dumps(summary_record(stats), ensure_ascii=False) + "\n")
        self.out.flush()
        for sentence in loss_sentences(stats):
            self.err.write(f"ltrules: {sentence}\n")


def as_record(alert: Alert) -> dict[str, Any]:
    """Return an alert as plain data."""
    seconds, ns = divmod(alert.wall_ns, 1_000_000_000)
    stamp = datetime.fromtimestamp(seconds, timezone.utc)
    return {
        "type": "alert",
        "id": alert.id,
        "rule": alert.rule,
        "kind": alert.kind,
        "severity": alert.severity,
        "time": f"{stamp:%Y-%m-%dT%H:%M:%S}.{ns:09}Z",
        "opened": alert.opened_ns,
        "closed": alert.closed_ns,
        "latency_ns": alert.latency_ns,
        "thresh_ns" if alert.kind == "alert" else "timeout_ns": alert.limit_ns,
        "outcome": alert.outcome,
        "late": alert.late,
        "cpu": alert.cpu,
        "key": dict(alert.key),
        "captured": {scope: dict(values) for scope, values in alert.captured.items()},
        "suppressed": alert.suppressed,
        "message": alert.message,
    }


def summary_record(stats: Stats) -> dict[str, Any]:
    """Return the numbers of a session as plain data."""
    return {
        "type": "summary",
        "engine": stats.engine,
        "rules": {rule.rule: _rule(rule) for rule in stats.rules},
        "missed": dict(stats.missed),
        "losses": loss_sentences(stats),
    }


def _rule(rule: RuleStats) -> dict[str, Any]:
    return {
        "counters": dict(rule.counters),
        "balanced": rule.balanced,
        "latency_ns": _percentiles(rule.latency),
        "histograms": {
            h.name: {
                "unit": h.unit,
                "by": list(h.by),
                "groups": [
                    {"group": list(g.group), **_percentiles(g), "buckets": [list(b) for b in g.buckets]}
                    for g in h.groups
                ],
            }
            for h in rule.histograms
        },
        "stats": {
            s.name: {
                "function": s.function,
                "unit": s.unit,
                "by": list(s.by),
                "groups": [{"group": list(g), "value": v} for g, v in s.groups],
            }
            for s in rule.statistics
        },
    }


def _percentiles(d: Distribution) -> dict[str, Any]:
    return {
        "count": d.count,
        "sum": d.total,
        "p50": d.percentile(50),
        "p90": d.percentile(90),
        "p99": d.percentile(99),
        "max": d.greatest,
    }
