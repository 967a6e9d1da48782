"""Find the files that hold tests."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ltrules.errors import InputError
from ltrules.source import TESTS, Source, read_source

_RULES = ".lt"
_BLOCK = re.compile(r'^[ \t]*test\s+"', re.MULTILINE)


def find_sources(paths: Sequence[Path]) -> list[Source]:
    """Return the files with tests that some paths stand for, each once.

    A directory stands for those in it and below; hidden directories and links are passed over. A rule file stands for
    itself, if it holds tests, and for its `NAME_test.lt`. Raises InputError for what cannot be read, and for a path
    that has no tests.
    """
    found: dict[Path, Source] = {}
    for path in paths:
        here = [(p, s) for p in _candidates(path) if (s := read_source(p)) and _has_tests(s)]
        if not here:
            raise InputError(_none(path))
        for each, source in here:
            found.setdefault(each.resolve(), source)
    return list(found.values())


def _candidates(path: Path) -> Iterator[Path]:
    if path.is_dir():
        for directory, names, files in os.walk(path):
            names[:] = sorted(name for name in names if not name.startswith("."))
            for name in sorted(files):
                inside = Path(directory, name)
                if name.endswith(_RULES) and not name.startswith(".") and not inside.is_symlink():
                    yield inside
        return
    yield path
    beside = path.with_name(path.stem + TESTS)
    if path.suffix == _RULES and not path.name.endswith(TESTS) and beside.is_file():
        yield beside


def _has_tests(source: Source) -> bool:
    return source.name.endswith(TESTS) or _BLOCK.search(source.text) is not None


def _none(path: Path) -> str:
    if path.is_dir():
        return f"no tests in {path}: no file there has a `test` block"
    return f"no tests in {path}: write `test` blocks there, or in {path.with_name(path.stem + TESTS)}"
