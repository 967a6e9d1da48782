"""The file of a recording: for its owner alone, compressed if its name says so."""

from __future__ import annotations

import gzip
import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from ltrules.errors import InputError

#: Of 9 levels; the next ones cost much more time than they save room.
_LEVEL = 3
_BUFFER = 1 << 18


@contextmanager
def recording_file(name: str) -> Iterator[BinaryIO]:
    """Open a file to write a recording to; "-" is standard output, and stays open.

    The file has mode 0600. One of this user's that is there already is replaced; a link, or what belongs to others or
    is no file at all, is refused. With a name that ends in ".gz" it is compressed. Raises InputError.
    """
    if name == "-":
        yield sys.stdout.buffer
        return
    try:
        with ExitStack() as stack:
            out: BinaryIO = stack.enter_context(os.fdopen(_create(Path(name)), "wb", _BUFFER))
            if name.endswith(".gz"):
                # Flushing the outer buffer leaves what the compressor holds where it is: each flush of that costs room.
                packed = gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=out)
                out = stack.enter_context(io.BufferedWriter(cast(io.RawIOBase, packed), _BUFFER))
            yield out
    except OSError as error:
        raise InputError(f"cannot write {name}: {error.strerror or error}") from None


def _create(path: Path) -> int:
    """Return the descriptor of a new file; what was there must be a file of ours, and goes."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileExistsError:
        facts = path.lstat()
        if not stat.S_ISREG(facts.st_mode):
            raise InputError(f"cannot write {path}: it is there already, and is not a plain file") from None
        if facts.st_uid != os.geteuid():
            raise InputError(f"cannot write {path}: it is there already, and belongs to another user") from None
        path.unlink()
        return os.open(path, flags, 0o600)
