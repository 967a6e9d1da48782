"""`ltrules run`: attach rules to the running kernel and print their alerts."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click

from ltrules.cli.loading import Duration, get_catalog, load_rules, rule_options, wants_color
from ltrules.engines.libbpf import LibbpfEngine, LibbpfSession
from ltrules.errors import EngineUnavailable, InputError
from ltrules.model import RuleSet
from ltrules.sinks import FORMATS, Sink, make_sink
from ltrules.units import format_duration

_POLL_SECONDS = 0.2


@click.command()
@rule_options
@click.option("--duration", "-d", type=Duration(), help="Stop after this time, as `10s`.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="Print alerts and losses, nothing around them.")
@click.option("-n", "--count", type=click.IntRange(min=1), help="Stop after this many alerts.")
@click.option("-c", "--command", help="Run a command, and stop when it ends; no shell is involved.")
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
    words = _words(command)
    sink = make_sink(form, sys.stdout, sys.stderr, color=wants_color(sys.stdout), quiet=quiet)
    with stop_signals() as stopped, chosen.open(rules) as session:
        if not quiet:
            _say_started(rules, session, chosen.name)
        until = None if duration is None else time.monotonic_ns() + duration
        with _running(words) as child:
            unseen = _loop(session, sink, stopped, until, count, child)
        last = session.stop()
        if unseen is None:
            sink.alerts(last)
        elif unseen + len(last):
            click.echo(
                f"ltrules: {unseen + len(last)} more came before the end and are not shown (-n {count})", err=True
            )
        sink.summary(session.stats())


def _words(command: str | None) -> list[str] | None:
    if command is None:
        return None
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InputError(f"-c {command}: {str(error).lower()}") from None
    if not words:
        raise InputError("-c needs a command")
    if shutil.which(words[0]) is None:
        raise InputError(f"cannot run {words[0]}: there is no such program")
    return words


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


class Stopped:
    """Whether a signal has asked to stop."""

    def __init__(self) -> None:
        self.asked = False

    def __bool__(self) -> bool:
        return self.asked


@contextmanager
def stop_signals() -> Iterator[Stopped]:
    """Turn the first SIGINT or SIGTERM into a wish to stop; the next one takes its usual course."""
    stopped = Stopped()
    before: dict[signal.Signals, Any] = {}

    def ask(number: int, frame: FrameType | None) -> None:
        stopped.asked = True
        for other, handler in before.items():
            signal.signal(other, handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.getsignal(number)
        signal.signal(number, ask)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _running(words: list[str] | None) -> Iterator[subprocess.Popen[bytes] | None]:
    """Run a command beside the session; it is ended if the session ends first."""
    if words is None:
        yield None
        return
    try:
        child = subprocess.Popen(words)
    except OSError as error:
        raise InputError(f"cannot run {words[0]}: {(error.strerror or str(error)).lower()}") from None
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(2)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        elif child.returncode:
            click.echo(f"ltrules: the command ended with status {child.returncode}", err=True)


def _loop(
    session: LibbpfSession,
    sink: Sink,
    stopped: Stopped,
    until: int | None,
    count: int | None,
    child: subprocess.Popen[bytes] | None,
) -> int | None:
    """Print alerts until a signal, the end of the time or of the command, or enough alerts.

    Return how many came beyond `count`, None if it was not reached.
    """
    left = count
    while not stopped:
        wait = _POLL_SECONDS
        if until is not None:
            wait = min(wait, (until - time.monotonic_ns()) / 1e9)
            if wait <= 0:
                return None
        alerts = session.poll(wait)
        shown = alerts if left is None else alerts[:left]
        try:
            sink.alerts(shown)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return None
        if left is not None:
            left -= len(shown)
            if not left:
                return len(alerts) - len(shown)
        if child is not None and child.poll() is not None:
            return None
    return None
