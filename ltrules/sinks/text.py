"""Alerts and numbers for people: one line an alert, under 100 columns where the message allows it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
from typing import TextIO

from ltrules.alert import Alert, Heading, Stats
from ltrules.sinks.summary import clean, summary_lines
from ltrules.units import format_duration

_COLORS = {"critical": "31", "warning": "33", "info": "36"}


class TextSink:
    """Writes lines for people; the summary goes to the other stream."""

    def __init__(self, out: TextIO, err: TextIO, *, color: bool, quiet: bool) -> None:
        self.out = out
        self.err = err
        self.color = color
        self.quiet = quiet
        self._rule_width = 8
        self._began = False

    def alerts(self, alerts: Sequence[Alert]) -> None:
        """Write one line an alert."""
        if not alerts:
            return
        self._rule_width = min(max(self._rule_width, *(len(a.rule) for a in alerts)), 20)
        if not self._began and not self.quiet:
            self.out.write(f"{'TIME':<15} {'RULE':<{self._rule_width}} {'LATENCY':>9}  KEY AND CAPTURES\n")
        self._began = True
        self.out.write("".join(self._line(a) + "\n" for a in alerts))
        self.out.flush()

    def summary(self, stats: Stats) -> None:
        """Write the numbers of every rule."""
        if self._began:
            self.out.flush()
        self.err.write("\n".join(summary_lines(stats, brief=self.quiet)) + "\n")
        self.err.flush()

    def _line(self, alert: Alert) -> str:
        stamp = time.strftime("%H:%M:%S", time.localtime(alert.wall_ns // 1_000_000_000))
        micros = alert.wall_ns // 1000 % 1_000_000
        sign = ">" if alert.kind == "timeout" else ""
        latency = sign + format_duration(alert.latency_ns)
        line = f"{stamp}.{micros:06} {alert.rule:<{self._rule_width}} {self._paint(f'{latency:>9}', alert.severity)}  "
        return line + clean(alert.message or details(alert)) + notes(alert)

    def _paint(self, text: str, severity: str) -> str:
        return f"\x1b[{_COLORS.get(severity, '33')}m{text}\x1b[0m" if self.color else text


def details(alert: Alert) -> str:
    """Return key and captures in a row: `pid=42 prio=120 comm=fio`."""
    columns = zip(_labels(alert.heading), alert.heading.columns, alert.values, strict=True)
    parts = [f"{label}={column.show(value)}" for label, column, value in columns]
    if alert.outcome not in ("", "out", "at"):
        parts.append(f"[{alert.outcome}]")
    return " ".join(parts)


@cache
def _labels(heading: Heading) -> tuple[str, ...]:
    """Return what each value is called; a name that two ends share is told apart."""
    names = [c.name for c in heading.columns]
    return tuple(
        c.name if c.scope == "key" or names.count(c.name) == 1 else f"{c.scope}.{c.name}" for c in heading.columns
    )


def notes(alert: Alert) -> str:
    """Return what is to be said of the report itself."""
    said = []
    if alert.kind == "timeout":
        said.append("ended after its timeout" if alert.late else "still open")
    elif alert.late:
        said.append("late")
    if alert.suppressed:
        said.append(f"{alert.suppressed} more not shown")
    return f"  ({', '.join(said)})" if said else ""
