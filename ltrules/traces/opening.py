"""Open a trace: find out its format by its content, and read it in time order."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

from ltrules.alert import Scalar
from ltrules.catalog.events import Catalog
from ltrules.errors import InputError
from ltrules.traces.compressed import unpacked
from ltrules.traces.ctf import BABELTRACE, CTF, CtfLines, note_discarded
from ltrules.traces.dialects import FTRACE, PERF, Dialect
from ltrules.traces.event import TraceEvent
from ltrules.traces.jsonl import JsonLines, read_header
from ltrules.traces.needs import Needs
from ltrules.traces.programs import ProgramStream
from ltrules.traces.streams import Ahead, FileStream, Stream, line_blocks
from ltrules.traces.text import TextLines
from ltrules.traces.troubles import Troubles

#: How much of a file is looked at to tell its format: more than any header has.
_ENOUGH = 1 << 16
#: First bytes of files that other programs read, what they are, how to call the programs, and what these write.
_PROGRAMS = {
    b"\x17\x08Dtracing": ("trace.dat", ("trace-cmd", "report", "-N", "-R", "-t", "-i"), "trace-cmd", FTRACE),
    b"PERFILE2": (
        "perf.data",
        ("perf", "script", "--ns", "--show-lost-events", "-F", "comm,pid,tid,cpu,time,event,trace", "-i"),
        "linux-perf",
        PERF,
    ),
}
_UNKNOWN = (
    "is no trace that ltrules can read: it is neither a recording of ltrules nor text of trace-cmd, ftrace, perf script"
    " or babeltrace2, nor a trace.dat, perf.data or CTF directory"
)


class _Reader(Protocol):
    """What turns lines into events."""

    @property
    def end_ns(self) -> int | None:
        """Until when was recorded: at least the time of the last event, wanted or not."""

    def events(self, blocks: Iterable[list[str]]) -> Iterator[TraceEvent]:
        """Iterate over the wanted events of all blocks of lines in time order."""


class Trace:
    """An open trace: iterate once over its events; a context manager that closes it.

    Events come in time order; one counted as `troubles.late` has a time before that of its predecessor. Each has all
    that `needs` lists for it, of the right type, but for what is counted in `troubles.lacking`: that is absent. Events
    that are not in `needs` are left out. `description` names the format for people, `header` is what the trace says of
    itself. `troubles`, `seen` (events by name) and `end_ns` (until when was recorded: at least the time of the last
    event, wanted or not; None without any) are complete when the iteration has ended. Opening and iterating raise
    InputError where something cannot be read.
    """

    def __init__(self, source: Path | BinaryIO, catalog: Catalog, needs: Needs) -> None:
        self.troubles = Troubles()
        self.seen: Counter[str] = Counter()
        self.header: Mapping[str, Scalar] = {}
        self.description = ""
        self._catalog, self._needs = catalog, needs
        self._file: FileStream | None = None
        self._size: int | None = None
        self._is_json = False
        with ExitStack() as opened:
            self._stream, self._reader = self._open(source, opened)
            self._opened = opened.pop_all()

    def __iter__(self) -> Iterator[TraceEvent]:
        # Names that are no UTF-8 look as in the alerts of a live kernel. JSON is UTF-8, and shows if a line is whole.
        errors = "replace" if self._is_json else "backslashreplace"
        blocks = line_blocks(self._stream, self.troubles, errors, ended=not self._is_json)
        return chain(self._reader.events(blocks), self._note_absent())

    def _note_absent(self) -> Iterator[TraceEvent]:
        """Take note of what has not come, when all events have; there is none after them."""
        self.troubles.absent = tuple(sorted(self._needs.keys() - self.seen.keys()))
        yield from ()

    @property
    def end_ns(self) -> int | None:
        return self._reader.end_ns

    def progress(self) -> tuple[int, int | None]:
        """Return the bytes that were read of the file, and how many it has, None if that is not known."""
        return (0, None) if self._file is None else (self._file.count, self._size)

    def close(self) -> None:
        """Close the file, and end what was started to read it."""
        self._opened.close()

    def __enter__(self) -> Trace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, source: Path | BinaryIO, opened: ExitStack) -> tuple[Stream, _Reader]:
        if isinstance(source, Path) and source.is_dir():
            program = ProgramStream([*BABELTRACE, str(source.absolute())], "babeltrace2", self.troubles, note_discarded)
            self.description = "CTF, read by babeltrace2"
            return self._output(program, CTF, str(source), opened)
        self._file = _file(source)
        opened.callback(self._file.close)
        if isinstance(source, Path) and source.is_file():
            self._size = source.stat().st_size
        plain = Ahead(self._file)
        stream = unpacked(plain, self._file.name, self.troubles)
        opened.callback(stream.close)
        start = stream.start(_ENOUGH)
        for magic, (what, argv, package, dialect) in _PROGRAMS.items():
            if start.startswith(magic):
                seekable = self._size is not None and stream is plain
                path = source if isinstance(source, Path) and seekable else _spooled(stream, opened)
                self._size = None
                program = ProgramStream([*argv, str(path.absolute())], package, self.troubles)
                self.description = f"{what}, read by {program.name}"
                return self._output(program, dialect, self._file.name, opened)
        return stream, self._recognised(start, self._file.name)

    def _output(self, program: ProgramStream, dialect: Dialect, name: str, opened: ExitStack) -> tuple[Stream, _Reader]:
        """Return the output of a program and its reader; raise InputError if there is none."""
        opened.callback(program.close)
        stream = Ahead(program)
        if not stream.start(1):  # trace-cmd is silent about a damaged file
            raise InputError(f"cannot read {name}: {program.failure or f'{program.name} finds nothing in it'}")
        return stream, self._lines(dialect)

    def _recognised(self, start: bytes, name: str) -> _Reader:
        """Return the reader of what begins like this; raise InputError if there is none."""
        lines = start.decode("utf-8", "replace").split("\n")
        header = read_header(lines[0], name)
        if header is not None:
            self.header, self._is_json = header, True
            self.description = f"recording of ltrules, kernel {header.get('kernel', 'not known')}"
            return JsonLines(self._catalog, self._needs, self.seen, self.troubles)
        events = {d: [found for line in lines if (found := d.line.match(line))] for d in (PERF, FTRACE, CTF)}
        dialect = max(events, key=lambda d: len(events[d]))
        if not events[dialect]:
            raise InputError(f"{name} {_UNKNOWN if start else 'is empty'}")
        coarse = len(events[dialect][0]["fraction"]) < 9
        self.description = f"{dialect.name}{', times in whole microseconds' if coarse else ''}"
        return self._lines(dialect)

    def _lines(self, dialect: Dialect) -> _Reader:
        kind = CtfLines if dialect is CTF else TextLines
        return kind(dialect, self._catalog, self._needs, self.seen, self.troubles)


def open_trace(source: Path | BinaryIO, catalog: Catalog, needs: Needs) -> Trace:
    """Open a file or directory, or a stream such as `sys.stdin.buffer`; raise InputError if it is no trace."""
    return Trace(source, catalog, needs)


def _file(source: Path | BinaryIO) -> FileStream:
    if not isinstance(source, Path):
        return FileStream(source, "standard input", owned=False)
    try:
        return FileStream(source.open("rb"), str(source), owned=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"cannot read {source}: {reason}") from error


def _spooled(stream: Stream, opened: ExitStack) -> Path:
    """Return a temporary file with the bytes of a stream, for a program that must seek."""
    file = opened.enter_context(tempfile.NamedTemporaryFile(prefix="ltrules-"))  # noqa: SIM115 - closed with the trace
    try:
        while data := stream.read():
            file.write(data)
        file.flush()
    except OSError as error:
        raise InputError(f"cannot unpack the trace to {file.name}: {error.strerror}") from error
    return Path(file.name)
