"""From the text of a file to its tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ltrules import cases, syntax
from ltrules.catalog.events import Catalog
from ltrules.check.tests import check_tests
from ltrules.diagnostics import Diagnostic
from ltrules.parse import parse
from ltrules.resources import resource
from ltrules.source import Source, read_source


@dataclass(frozen=True, slots=True)
class Loaded:
    """The tests of a file, as far as they have no mistakes, and all that is wrong."""

    source: Source
    suite: cases.Suite
    diagnostics: tuple[Diagnostic, ...]

    @property
    def sound(self) -> bool:
        return not any(d.severity.fatal for d in self.diagnostics)


def load(source: Source, catalog: Catalog) -> Loaded:
    """Parse and check the tests of a file. Raises InputError for a file beside it that cannot be read."""
    found: list[Diagnostic] = []

    def read(path: Path) -> syntax.File:
        return take(read_source(path))

    def take(text: Source) -> syntax.File:
        file, mistakes = parse(text)
        found.extend(mistakes)
        return file

    suite, mistakes = check_tests(take(source), catalog, read, resource("rules"))
    return Loaded(source, suite, tuple(dict.fromkeys([*found, *mistakes])))
