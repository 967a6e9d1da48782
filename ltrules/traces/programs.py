"""Programs that read what ltrules does not read by itself: their output as a stream."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from typing import IO

from ltrules.errors import InputError
from ltrules.traces.streams import CHUNK, Stream
from ltrules.traces.troubles import Troubles

_LONGEST_WORDS = 1 << 16
_PATIENCE_S = 0.5


class ProgramStream:
    """The output of a program; one that fails cuts the trace short, and its last words say why.

    `failure` says so then. `feed` is what it gets as input, and `heed` is given its last words at the end. Raises
    InputError if the program is missing; `package` is Debian's name for it.
    """

    def __init__(
        self,
        argv: Sequence[str],
        package: str,
        troubles: Troubles,
        heed: Callable[[str, Troubles], None] | None = None,
        feed: Stream | None = None,
    ) -> None:
        self.name = argv[0]
        self.failure = ""
        self._troubles, self._feed, self._heed = troubles, feed, heed
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the stream
        try:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL if feed is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._words,
                env={**os.environ, "LC_ALL": "C"},
            )
        except OSError as error:
            self._words.close()
            raise InputError(
                f"this trace is read by the program `{argv[0]}`, which does not run here ({error.strerror}): "
                f"install it (Debian: apt-get install {package})"
            ) from error
        self._closed = False
        self._pumping: threading.Thread | None = None
        if feed is not None:
            self._pumping = threading.Thread(target=self._pump, args=(feed,), daemon=True)
            self._pumping.start()

    def read(self) -> bytes:
        if self._closed or self._process.stdout is None:
            return b""
        data = self._process.stdout.read1(CHUNK)  # type: ignore[attr-defined]
        if not data:
            self._end()
        return bytes(data)

    def _end(self) -> None:
        """Take note of how the program ended, and of the end of what it wrote to its standard error."""
        status = self._process.wait()
        size = self._words.seek(0, os.SEEK_END)
        self._words.seek(max(size - _LONGEST_WORDS, 0))
        words = self._words.read(_LONGEST_WORDS).decode("utf-8", "backslashreplace")
        if self._heed is not None:
            self._heed(words, self._troubles)
        if status != 0:
            last = next((line.strip() for line in reversed(words.splitlines()) if line.strip()), _status(status))
            self.failure = f"{self.name} failed ({last})"
            self._troubles.cut = f"{self.failure}: only what it wrote until then was read"

    def close(self) -> None:
        """End the program if it still runs."""
        if self._closed:
            return
        self._closed = True
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._words.close()
        if self._pumping is not None:
            self._pumping.join(_PATIENCE_S)  # it may be waiting for a terminal or a pipe
        if self._feed is not None and (self._pumping is None or not self._pumping.is_alive()):
            self._feed.close()

    def _pump(self, feed: Stream) -> None:
        """Write all of a stream to the program; it may end before it has read all."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError), self._process.stdin as pipe:
            try:
                while data := feed.read():
                    pipe.write(data)
            except InputError as error:
                self._troubles.cut = str(error)


def _status(status: int) -> str:
    return f"ended by signal {-status}" if status < 0 else f"exit status {status}"
