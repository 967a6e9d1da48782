"""Syntax kept between runs: most texts are run again, and loading Lark takes longer than all else at the start."""

from __future__ import annotations

import functools
import hashlib
import io
import pickle
import sys
from pathlib import Path
from typing import Any

from ltrules import cache, syntax
from ltrules.resources import resource
from ltrules.source import Source


def name_of(text: str, start: int, what: str) -> str:
    """Return the name under which the node of a text is kept: it depends on all that makes the node."""
    return f"syntax-{hashlib.sha256(repr((_code(), what, start, text)).encode()).hexdigest()[:32]}"


@functools.cache
def _code() -> str:
    """Tell apart what makes nodes: Python, the grammar, and the modules of parser and syntax."""
    places = (resource("grammar"), Path(__file__).parent, Path(syntax.__file__).parent)
    files = sorted(path for place in places for path in place.iterdir() if path.is_file())
    return repr((sys.version, [(str(path), (facts := path.stat()).st_mtime_ns, facts.st_size) for path in files]))


def read(name: str, source: Source) -> Any:
    """Return the node that is kept under a name, its spans in `source`; None if there is none."""
    data = cache.read(name)
    if data is None:
        return None
    try:
        return _Unpickler(source, data).load()
    except Exception:  # an entry may be damaged in any way; it is made anew
        return None


def write(name: str, source: Source, node: Any) -> None:
    """Keep a node whose spans are in `source`."""
    buffer = io.BytesIO()
    try:
        _Pickler(source, buffer).dump(node)
    except RecursionError:  # a very long chain of operators
        return
    cache.write(name, buffer.getvalue())


class _Pickler(pickle.Pickler):
    """Leaves the source out: the reader has it."""

    def __init__(self, source: Source, file: io.BytesIO) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._source = source

    def persistent_id(self, obj: Any) -> str | None:
        return "source" if obj is self._source else None


class _Unpickler(pickle.Unpickler):
    """Puts the source back."""

    def __init__(self, source: Source, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self._source = source

    def persistent_load(self, pid: Any) -> Source:
        return self._source
