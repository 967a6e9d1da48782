"""`ltrules run`: attach rules to the running kernel and print their alerts."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ltrules.cli.ending import command_words, rounds, running, stop_signals
from ltrules.cli.loading import Duration, get_catalog, load_rules, rule_options, wants_color
from ltrules.cli.printing import print_alerts, print_end
from ltrules.engines.libbpf import LibbpfEngine, LibbpfSession
from ltrules.errors import EngineUnavailable, InputError
from ltrules.model import RuleSet
from ltrules.recording import EVENT_BYTES
from ltrules.sinks import FORMATS, make_sink
from ltrules.units import format_duration

if TYPE_CHECKING:
    from ltrules.cli.recording import Recorder

_POLL_SECONDS = 0.2


@click.command()
@rule_options
@click.option("--duration", "-d", type=Duration(), help="Stop after this time, as `10s`.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="Print alerts and losses, nothing around them.")
@click.option("-n", "--count", type=click.IntRange(min=1), help="Stop after this many alerts.")
@click.option("-c", "--command", help="Run a command, and stop when it ends; no shell is involved.")
@click.option("--record", metavar="FILE", help="Record the events of the rules too, as `ltrules record` does.")
@click.option("--engine", type=click.Choice(["auto", "libbpf"]), default="auto", show_default=True)
def run(
    files: tuple[str, ...],
    texts: tuple[str, ...],
    settings: tuple[str, ...],
    catalog_path: Path | None,
    duration: int | None,
    form: str,
    quiet: bool,
    count: int | None,
    command: str | None,
    record: str | None,
    engine: str,
) -> None:
    """Run rules until Ctrl-C, and print an alert for whatever took too long.

    \b
        ltrules run rules/block.lt -p limit=5ms
        ltrules run -e 'in sched_wakeup key pid, out sched_switch key next_pid, thresh 5ms'
        ltrules run std:syscalls -c 'ls -R /usr'
    """
    catalog = get_catalog(catalog_path)
    rules = load_rules(files, texts, settings, catalog)
    chosen = LibbpfEngine(catalog)
    reason = chosen.unavailable()
    if reason is not None:
        raise EngineUnavailable(reason)
    words = command_words(command)
    if record == "-":
        raise InputError("--record needs a file: alerts go to standard output")
    sink = make_sink(form, sys.stdout, sys.stderr, color=wants_color(sys.stdout), quiet=quiet)
    with ExitStack() as stack:
        stopped = stack.enter_context(stop_signals())
        session = stack.enter_context(chosen.open(rules, EVENT_BYTES if record else 0))
        recorder = _recorder(stack, session, rules, record) if record else None
        if not quiet:
            _say_started(rules, session, chosen.name)
        with running(words) as child:
            waits = rounds(stopped, duration, child, recorder.period if recorder else _POLL_SECONDS)
            unseen = print_alerts(session, sink, waits, count, recorder.take if recorder else None)
        print_end(session, sink, unseen, count)
        if recorder:
            recorder.finish()
            for sentence in recorder.losses():
                click.echo(f"ltrules: {record}: {sentence}", err=True)


def _recorder(stack: ExitStack, session: LibbpfSession, rules: RuleSet, name: str) -> Recorder:
    from ltrules.cli.recording import Recorder
    from ltrules.traces.output import recording_file

    return Recorder(session, rules, stack.enter_context(recording_file(name)), name)


def _say_started(rules: RuleSet, session: LibbpfSession, engine: str) -> None:
    names = ", ".join(r.name for r in rules.rules[:5]) + (", …" if len(rules.rules) > 5 else "")
    probes = session.probes
    shown = ", ".join(probes[:4]) + (f" and {len(probes) - 4} more" if len(probes) > 4 else "")
    click.echo(f"ltrules: {names} attached with {engine} to {shown}", err=True)
    if session.user_sweep_ns is not None and any(r.timeout for r in rules.rules):
        click.echo(
            "ltrules: this kernel has no BPF timers: timeouts are told within"
            f" {format_duration(session.user_sweep_ns)}, or when the measurement ends",
            err=True,
        )
    click.echo("ltrules: Ctrl-C stops", err=True)
