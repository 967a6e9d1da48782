"""Open a trace: find out its format by its content, and read it in time order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from ltrules.alert import Scalar
from ltrules.catalog.events import Catalog
from ltrules.errors import InputError
from ltrules.traces.event import TraceEvent
from ltrules.traces.jsonl import JsonLines, read_header
from ltrules.traces.needs import Needs
from ltrules.traces.streams import Counted, line_blocks
from ltrules.traces.troubles import Troubles

_ENOUGH = 1 << 16


class Trace:
    """An open trace: iterate once over its events; a context manager that closes it.

    Events come in time order; one counted as `troubles.late` has a time before that of its predecessor. Each has all
    that `needs` lists for it, of the right type, but for what is counted in `troubles.lacking`: that is absent. Events
    that are not in `needs` are left out. `description` names the format for people, `header` is what the trace says of
    itself. `troubles`, `seen` (events by name) and `end_ns` (until when was recorded, None if the trace does not say)
    are complete when the iteration has ended. Iterating raises InputError where the file cannot be read.
    """

    def __init__(self, stream: Counted, size: int | None, catalog: Catalog, needs: Needs) -> None:
        self.troubles = Troubles()
        self.seen: Counter[str] = Counter()
        self._stream, self._size, self._needs = stream, size, needs
        self.header: Mapping[str, Scalar] = {}
        self._reader = JsonLines(catalog, needs, self.seen, self.troubles)
        start = stream.start(_ENOUGH).split(b"\n", 1)[0].decode("utf-8", "replace")
        header = read_header(start, stream.name)
        if header is None:
            raise InputError(f"{stream.name} is no trace that ltrules can read")
        self.header = header
        self.description = f"recording, kernel {header.get('kernel', 'not known')}"

    def __iter__(self) -> Iterator[TraceEvent]:
        blocks = line_blocks(self._stream, self.troubles, "replace")
        yield from self._reader.events(blocks)
        self.troubles.absent = tuple(sorted(self._needs.keys() - self.seen.keys()))

    @property
    def end_ns(self) -> int | None:
        return self._reader.end_ns

    def progress(self) -> tuple[int, int | None]:
        """Return the bytes that were read of the file, and how many it has, None if that is not known."""
        return self._stream.count, self._size

    def close(self) -> None:
        """Close the file, and end what was started to read it."""
        self._stream.close()

    def __enter__(self) -> Trace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def open_trace(source: Path | BinaryIO, catalog: Catalog, needs: Needs) -> Trace:
    """Open a file, or a stream such as `sys.stdin.buffer`; raise InputError if it cannot be read, or is no trace."""
    if not isinstance(source, Path):
        return Trace(Counted(source, "standard input"), None, catalog, needs)
    try:
        file = source.open("rb")
        size = source.stat().st_size if source.is_file() else None
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror}") from error
    try:
        return Trace(Counted(file, str(source)), size, catalog, needs)
    except BaseException:
        file.close()
        raise
