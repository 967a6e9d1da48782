"""The command line: one module a verb, each imported when its verb is asked for."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from io import TextIOWrapper

import click

from ltrules import __version__
from ltrules.errors import LtrulesError

#: verb -> module; a verb's function has its name.
VERBS = {
    "run": "run",
    "record": "record",
    "replay": "replay",
    "check": "check",
    "test": "test",
    "show": "show",
    "explain": "explain",
    "events": "events",
    "catalog": "catalog",
    "doctor": "doctor",
    "completion": "completion",
}


class Verbs(click.Group):
    """Loads the module of a verb when it is used: `ltrules events` has no need of a compiler."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = getattr(import_module(f"ltrules.cli.{VERBS[cmd_name]}"), cmd_name)
        return command


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", message="ltrules %(version)s")
def ltrules() -> None:
    """Declarative latency rules for the Linux kernel.

    A rule says which event opens a measurement, which one closes it, what pairs them, and how long it may take:

    \b
        ltrules run -e 'in sched_wakeup key pid, out sched_switch key next_pid, thresh 5ms'
        ltrules run std:block --duration 10s
    """


def main() -> None:
    """Run the command line; trouble in the world is one sentence on stderr."""
    # What a start makes, it keeps: to look for garbage among it takes a tenth of the time.
    gc.set_threshold(300_000)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # Names of files and what the kernel says may have no place in the terminal's encoding.
            stream.reconfigure(errors="backslashreplace")
    try:
        ltrules.main(prog_name="ltrules")
    except LtrulesError as error:
        if error.log:
            click.echo(error.log.rstrip("\n"), err=True)
        click.echo(f"ltrules: {error}", err=True)
        sys.exit(error.exit_status)
    except BrokenPipeError:
        # The reader has gone, as `head` does: nothing to say, and nothing more to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
