"""Where alerts go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TextIO

from ltrules.alert import Alert, Stats
from ltrules.sinks.jsonl import JsonlSink
from ltrules.sinks.text import TextSink

__all__ = ["FORMATS", "Sink", "make_sink"]

FORMATS = ("text", "json")


class Sink(Protocol):
    """An open output."""

    def alerts(self, alerts: Sequence[Alert]) -> None:
        """Write some alerts, and see that they get out."""

    def summary(self, stats: Stats) -> None:
        """Write the numbers at the end."""


def make_sink(form: str, out: TextIO, err: TextIO, *, color: bool, quiet: bool) -> Sink:
    """Return the sink of a format; `err` takes what is for people beside the format's own output."""
    if form == "json":
        return JsonlSink(out, err, quiet=quiet)
    return TextSink(out, err, color=color, quiet=quiet)
