"""`ltrules record`: keep the events that rules look at, to replay them later and elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from ltrules.cli.ending import command_words, reader_may_leave, rounds, running, stop_signals
from ltrules.cli.loading import Duration, get_catalog, load_rules, rule_options
from ltrules.cli.recording import Recorder
from ltrules.engines.libbpf import LibbpfEngine
from ltrules.errors import EngineUnavailable
from ltrules.recording import EVENT_BYTES
from ltrules.traces.output import recording_file
from ltrules.units import format_duration, format_size, parse_size

#: BPF ring buffers are a power of two of pages, below 2 GiB.
_LEAST_BYTES, _MOST_BYTES = 1 << 12, 1 << 30


class BufferSize(click.ParamType[int]):
    """A size as rules write it, rounded up to what a ring buffer can have; in bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            size = parse_size(value)
        except ValueError as error:
            self.fail(f"`{value}`: {error}", param, ctx)
        if not _LEAST_BYTES <= size <= _MOST_BYTES:
            self.fail(f"`{value}`: from {format_size(_LEAST_BYTES)} to {format_size(_MOST_BYTES)}", param, ctx)
        return 1 << (size - 1).bit_length()


@click.command()
@rule_options
@click.option("-o", "--output", "name", required=True, metavar="FILE", help="`.gz` is compressed, `-` is stdout.")
@click.option("--duration", "-d", type=Duration(), help="Stop after this time, as `10s`.")
@click.option("-c", "--command", help="Run a command, and stop when it ends; no shell is involved.")
@click.option("--anonymise", is_flag=True, help="Put hashes in the place of names and addresses.")
@click.option(
    "--buffer", "event_bytes", type=BufferSize(), default=EVENT_BYTES, metavar="SIZE",
    help="Room for events in the kernel.  [default: 16MiB]",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Print what is missing, and nothing else.")
@click.option("--engine", type=click.Choice(["auto", "libbpf"]), default="auto", show_default=True)
def record(
    files: tuple[str, ...],
    texts: tuple[str, ...],
    settings: tuple[str, ...],
    catalog_path: Path | None,
    name: str,
    duration: int | None,
    command: str | None,
    anonymise: bool,
    event_bytes: int,
    quiet: bool,
    engine: str,
) -> None:
    """Record the events of rules, with the fields that the rules read, until Ctrl-C.

    The file holds every firing, whatever the conditions and limits of the rules: `ltrules replay` makes the alerts of
    it that `ltrules run` would have made.

    \b
        ltrules record std:sched -o wakeups.jsonl.gz -d 10s
        ltrules record rules/block.lt -o - --duration 10s | ssh host 'cat > block.jsonl'
    """
    catalog = get_catalog(catalog_path)
    rules = load_rules(files, texts, settings, catalog)
    chosen = LibbpfEngine(catalog)
    reason = chosen.unavailable()
    if reason is not None:
        raise EngineUnavailable(reason)
    words = command_words(command)
    with reader_may_leave():
        with ExitStack() as stack:
            stopped = stack.enter_context(stop_signals())
            session = stack.enter_context(chosen.record(rules, event_bytes))
            recorder = Recorder(session, rules, stack.enter_context(recording_file(name)), name, anonymous=anonymise)
            if not quiet:
                click.echo(f"ltrules: {', '.join(session.probes)} recorded with {chosen.name} to {name}", err=True)
                click.echo("ltrules: Ctrl-C stops", err=True)
            with running(words) as child:
                for wait in rounds(stopped, duration, child, recorder.period):
                    session.poll(wait)
                    recorder.take()
            session.stop()
            recorder.finish()
        if not quiet:
            click.echo("\n".join(_summary(recorder, session.stopped_ns - session.started_ns)), err=True)
        for sentence in recorder.losses():
            click.echo(f"warning: {sentence}", err=True)


def _summary(recorder: Recorder, ns: int) -> Iterator[str]:
    width = max(map(len, recorder.counts))
    for event, count in sorted(recorder.counts.items(), key=lambda pair: -pair[1]):
        yield f"{event:<{width}} {count:>10} events"
    yield f"{sum(recorder.counts.values())} events in {format_duration(ns)}"
    if not recorder.losses():
        yield "Nothing was lost."
