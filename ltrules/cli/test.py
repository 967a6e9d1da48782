"""`ltrules test`: run the tests of rule files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import click

from ltrules import report
from ltrules.cases import Case
from ltrules.catalog import Catalog, load_catalog
from ltrules.catalog.machine import shipped_catalog
from ltrules.cli.loading import catalog_option, shipped, wants_color
from ltrules.errors import InputError
from ltrules.source import Source, read_source
from ltrules.testing.coverage import Coverage, coverage_lines
from ltrules.testing.files import find_sources
from ltrules.testing.jsonl import json_lines
from ltrules.testing.junit import junit
from ltrules.testing.results import Result, run_cases
from ltrules.testing.suites import Loaded, load
from ltrules.testing.text import file_lines, total_line
from ltrules.testing.updating import rewrite

_File = tuple[Loaded, Sequence[Result]]


@click.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@click.option(
    "--run", "pattern", metavar="PATTERN", help="Only tests whose title or rule has this in it, or matches it."
)
@click.option("--coverage", "with_coverage", is_flag=True, help="Tell what no test reached.")
@click.option("--update", is_flag=True, help="Write what the traces of replay tests give into the files.")
@click.option("--format", "form", type=click.Choice(["text", "json", "junit"]), default="text", show_default=True)
@click.option("-v", "--verbose", is_flag=True, help="Name the tests that passed, too.")
@catalog_option
def test(
    paths: tuple[str, ...],
    pattern: str | None,
    with_coverage: bool,
    update: bool,
    form: str,
    verbose: bool,
    catalog_path: Path | None,
) -> None:
    """Run the tests of rule files; needs no privilege, and attaches nothing.

    PATH is a file, or a directory with all below it; by default the current one. A rule file stands for its tests in
    NAME_test.lt, too. Without --catalog, tests are checked against the catalog that comes with ltrules, so that they
    give the same everywhere.

    \b
        ltrules test rules
        ltrules test --run 'idle*' --coverage rules/sched.lt
        ltrules test --format junit >results.xml

    Exit status: 0 if all tests passed, 1 if one failed or a rule is wrong, 2 if a file cannot be read.
    """
    catalog = shipped_catalog() if catalog_path is None else load_catalog(catalog_path)
    coverage = Coverage() if with_coverage else None
    color = wants_color(sys.stdout)
    files: list[_File] = []
    for source in find_sources([_path(p) for p in paths or (".",)]):
        loaded, results = _run(source, catalog, pattern, coverage)
        if update and (changed := rewrite(source, results)):
            click.echo(f"{source.name}: {changed} test{'s' * (changed != 1)} rewritten", err=True)
            loaded, results = _run(read_source(Path(source.name)), catalog, pattern, coverage)
        files.append((loaded, results))
        if loaded.diagnostics:
            click.echo(report.render(loaded.diagnostics, color=wants_color(sys.stderr)), err=True)
        if form == "text" and (results or pattern is None):
            click.echo("\n".join(file_lines(source.name, results, color, verbose)))
    every = [result for _, results in files for result in results]
    sound = all(loaded.sound for loaded, _ in files)
    if not every and sound:
        raise InputError("there is no test" if pattern is None else f"no test matches `{pattern}`")
    covered = coverage.of(rule for loaded, _ in files for rule in loaded.suite.every_rule) if coverage else None
    match form:
        case "json":
            click.echo("\n".join(json_lines(files, covered)))
        case "junit":
            click.echo(junit(files), nl=False)
        case _:
            lines = [] if covered is None else coverage_lines(covered)
            click.echo("\n".join([*lines, total_line(every, color)]))
    sys.exit(max([int(not sound), *(result.exit_status for result in every)]))


def _run(source: Source, catalog: Catalog, pattern: str | None, coverage: Coverage | None) -> _File:
    """Run the tests of a file that a pattern chooses."""
    loaded = load(source, catalog)
    chosen = [case for case in loaded.suite.cases if pattern is None or _matches(case, pattern)]
    return loaded, list(run_cases(chosen, coverage))


def _path(name: str) -> Path:
    return shipped(name.removeprefix("std:")) if name.startswith("std:") else Path(name)


def _matches(case: Case, pattern: str) -> bool:
    names = [case.title, *(rule.name for rule in case.rules.rules)]
    if any(c in pattern for c in "*?["):
        return any(fnmatchcase(name, pattern) for name in names)
    return any(pattern in name for name in names)
