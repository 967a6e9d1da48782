"""Rule text to rule sets, plans and C on a fixed catalog, so that results depend on no machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from bpf_codegen import plan, render
from ltrules import model, syntax
from ltrules.catalog.events import Catalog, Event
from ltrules.catalog.machine import shipped_catalog
from ltrules.check import check
from ltrules.diagnostics import Diagnostic
from ltrules.lower import lower
from ltrules.parse import parse
from ltrules.raw import struct_paths
from ltrules.source import Source, read_source

RULE = "rule.lt"


class FixedCatalog:
    """The shipped catalog, some events more, and a BTF that has every structure member that the raw table follows."""

    description = "a catalog for tests"
    machine = "x86_64"

    def __init__(self, *more: Event) -> None:
        self._more = {event.full_name: event for event in more}
        self._paths = frozenset(struct_paths())

    def find(self, name: str) -> tuple[Event, ...]:
        mine = tuple(e for e in self._more.values() if name in (e.name, e.full_name))
        return mine + shipped_catalog().find(name)

    def names(self) -> Iterator[str]:
        return iter(sorted([*self._more, *shipped_catalog().names()]))

    def has_path(self, struct: str, path: str) -> bool | None:
        return (struct, path) in self._paths


CATALOG: Catalog = FixedCatalog()


def check_text(
    text: str, settings: Mapping[str, str] | None = None, catalog: Catalog = CATALOG, name: str = RULE
) -> tuple[model.RuleSet, tuple[Diagnostic, ...]]:
    """Parse and check a text; return its rules and all its diagnostics. Imports are read from the current directory."""
    found: list[Diagnostic] = []

    def read(path: Path) -> syntax.File:
        source = read_source(path)
        short = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        file, diagnostics = parse(Source(str(short), source.text))
        found.extend(diagnostics)
        return file

    file, diagnostics = parse(Source(name, text))
    rules, mistakes = check([file], catalog, read, settings)
    return rules, (*diagnostics, *found, *mistakes)


def good_rules(text: str, settings: Mapping[str, str] | None = None, catalog: Catalog = CATALOG) -> model.RuleSet:
    """Check a text that must have no mistake."""
    rules, diagnostics = check_text(text, settings, catalog)
    assert not diagnostics, [f"{d.span} {d.code} {d.message}" for d in diagnostics]
    return rules


def plan_of(text: str, catalog: Catalog = CATALOG) -> plan.Plan:
    """Return the plan of a text that must have no mistake."""
    return lower(good_rules(text, catalog=catalog), catalog)


def c_of(text: str, catalog: Catalog = CATALOG) -> str:
    """Return the C of a text that must have no mistake."""
    return render(plan_of(text, catalog))
