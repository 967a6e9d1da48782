"""`ltrules replay`: run rules on recorded events and print their alerts."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ltrules.cli.ending import Stopped, stop_signals
from ltrules.cli.loading import get_catalog, load_rules, rule_options, wants_color
from ltrules.cli.printing import print_alerts, print_end
from ltrules.engines.replay import ReplaySession
from ltrules.errors import InputError
from ltrules.sinks import FORMATS, make_sink
from ltrules.traces import Trace, needs_of, open_trace

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

_POLL_SECONDS = 0.2
#: Events come and go by the million, and none refers to itself: looking for such less often saves a tenth of the time.
_GARBAGE = 50_000
#: Traces that take longer than a moment have a progress bar.
_LONG_BYTES = 32 << 20


@click.command()
@rule_options
@click.argument("trace", metavar="TRACE")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="Print alerts, and what was wrong, nothing around them.")
@click.option("-n", "--count", type=click.IntRange(min=1), help="Stop after this many alerts.")
@click.option("--strict", is_flag=True, help="Exit with 1 if anything was wrong with the trace.")
def replay(
    files: tuple[str, ...],
    texts: tuple[str, ...],
    settings: tuple[str, ...],
    catalog_path: Path | None,
    trace: str,
    form: str,
    quiet: bool,
    count: int | None,
    strict: bool,
) -> None:
    """Run rules on recorded events, as if these happened now; needs no privilege.

    TRACE is a file, or `-` for standard input: what `ltrules record` wrote, or a trace of another tool. The alerts are
    those that `ltrules run` would have given at that time.

    \b
        ltrules replay rules/sched.lt trace.jsonl
        ltrules replay -e 'in sched_wakeup key pid, out sched_switch key next_pid, thresh 1ms' a.jsonl
        ssh server ltrules record std:sched -o - -d 10s | ltrules replay std:sched - --format json
    """
    if trace == "-" and "-" in files:
        raise InputError("standard input holds the trace or the rules, not both: name a file for one of them")
    catalog = get_catalog(catalog_path)
    rules = load_rules(files, texts, settings, catalog)
    sink = make_sink(form, sys.stdout, sys.stderr, color=wants_color(sys.stdout), quiet=quiet)
    source = sys.stdin.buffer if trace == "-" else Path(trace)
    gc.set_threshold(_GARBAGE)
    with ExitStack() as stack:
        opened = stack.enter_context(open_trace(source, catalog, needs_of(rules)))
        stopped = stack.enter_context(stop_signals())
        session = stack.enter_context(ReplaySession(rules, opened, count))
        if not quiet:
            names = ", ".join(r.name for r in rules.rules[:5]) + (", …" if len(rules.rules) > 5 else "")
            click.echo(f"ltrules: {names} on {trace} ({opened.description})", err=True)
        with _progress_bar(opened) as bar:
            rounds = _rounds(session, stopped, opened, bar)
            unseen = print_alerts(session, sink, rounds, count, _hide if bar and sys.stdout.isatty() else None)
        print_end(session, sink, unseen, count)
        if strict and opened.troubles:
            sys.exit(1)


def _progress_bar(trace: Trace) -> AbstractContextManager[ProgressBar[int] | None]:
    """Return the bar of a trace that takes a while, if there is a terminal to show it."""
    _, size = trace.progress()
    if size is None or size < _LONG_BYTES or not sys.stderr.isatty():
        return nullcontext()
    return click.progressbar(length=size, label="replayed", file=sys.stderr)


def _hide() -> None:
    """Clear the line of the bar, for alerts on the same terminal; it is drawn again after them."""
    click.echo("\r\x1b[K", nl=False, err=True)


def _rounds(session: ReplaySession, stopped: Stopped, trace: Trace, bar: ProgressBar[int] | None) -> Iterator[float]:
    """Iterate until the trace ends or a signal comes; yield how many seconds to wait for alerts."""
    while not session.ended and not stopped:
        yield _POLL_SECONDS
        if bar:
            bar.update(trace.progress()[0] - bar.pos)
