"""What ends a run: a signal, its time, or the command that it was for."""

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
from types import FrameType
from typing import Any

import click

from ltrules.errors import InputError


def command_words(command: str | None) -> list[str] | None:
    """Return the words of `-c`, None without it. Raises InputError if it cannot be run."""
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
def reader_may_leave() -> Iterator[None]:
    """End quietly what is within if nobody reads standard output any more, as after `| head`."""
    try:
        yield
    except BrokenPipeError:
        forget_reader()


def forget_reader() -> None:
    """Let nothing fail that is still written to standard output, or flushed at exit: its reader has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def running(words: list[str] | None) -> Iterator[subprocess.Popen[bytes] | None]:
    """Run a command beside the session; it is ended if the session ends first. Raises InputError."""
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


def rounds(
    stopped: Stopped, duration: int | None, child: subprocess.Popen[bytes] | None, seconds: float
) -> Iterator[float]:
    """Iterate until a signal, or the end of `duration` (ns) or of the command; yield how many seconds to wait."""
    until = None if duration is None else time.monotonic_ns() + duration
    while not stopped:
        wait = seconds if until is None else min(seconds, (until - time.monotonic_ns()) / 1e9)
        if wait <= 0:
            return
        yield wait
        if child is not None and child.poll() is not None:
            return
