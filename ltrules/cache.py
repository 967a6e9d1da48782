"""Keep derived data between runs, in a directory that nobody else can write.

Readers may unpickle or load what they find here. That is sound only because every directory on the way
belongs to this user or to root and is closed to others, and every entry belongs to this user.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path


def cache_directory() -> Path | None:
    """Return the user's cache directory for ltrules, made if need be; None where none can be trusted."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        # The specification of XDG_CACHE_HOME says to ignore a relative path.
        parent = Path(base) if base.startswith("/") else Path.home() / ".cache"
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        parent = parent.resolve(strict=True)
        if not all(_trusted(place) for place in (parent, *parent.parents)):
            return None
        directory = parent / "ltrules"
        directory.mkdir(mode=0o700, exist_ok=True)
        facts = directory.lstat()
    except (OSError, RuntimeError):  # RuntimeError: there is no home directory
        return None
    private = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & 0o022
    return directory if private else None


def read(name: str) -> bytes | None:
    """Return the data kept under a name; None where there is none that this user wrote."""
    directory = cache_directory()
    if directory is None:
        return None
    try:
        # Not blocking, so that a pipe put in the place of an entry cannot hold us.
        descriptor = os.open(directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
                return None
            return file.read()
    except OSError:
        return None


def write(name: str, data: bytes) -> None:
    """Keep data under a name, all of it or none; does nothing where there is no place for it."""
    directory = cache_directory()
    if directory is None:
        return
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=directory)  # mode 0600
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(temporary).replace(directory / name)
    except OSError:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def _trusted(place: Path) -> bool:
    """Tell whether others can put something else in the place of a directory's entries."""
    facts = place.stat()
    closed = not facts.st_mode & 0o022 or bool(facts.st_mode & stat.S_ISVTX)
    return closed and facts.st_uid in (0, os.geteuid())
