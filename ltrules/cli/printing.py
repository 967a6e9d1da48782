"""Print what a session tells: its alerts while it works, the rest and the numbers when it has stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click

from ltrules.cli.ending import forget_reader
from ltrules.engines import Session
from ltrules.sinks import Sink


def print_alerts(
    session: Session, sink: Sink, waits: Iterable[float], count: int | None, after: Callable[[], None] | None = None
) -> int | None:
    """Print the alerts of a session, polled for so many seconds in each round, until `count` are printed.

    Return how many came beyond `count`, None if it was not reached. `after` is called between polling and printing.
    """
    left = count
    for wait in waits:
        alerts = session.poll(wait)
        if after:
            after()
        shown = alerts if left is None else alerts[:left]
        try:
            sink.alerts(shown)
        except BrokenPipeError:
            forget_reader()
            return None
        if left is not None:
            left -= len(shown)
            if not left:
                return len(alerts) - len(shown)
    return None


def print_end(session: Session, sink: Sink, unseen: int | None, count: int | None) -> None:
    """Stop a session; print the alerts that were on their way unless `count` was reached, and the numbers."""
    last = session.stop()
    if unseen is None:
        sink.alerts(last)
    elif unseen + len(last):
        click.echo(f"ltrules: {unseen + len(last)} more came before the end and are not shown (-n {count})", err=True)
    sink.summary(session.stats())
