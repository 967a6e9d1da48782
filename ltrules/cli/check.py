"""`ltrules check`: are these rules right?"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ltrules import report, syntax
from ltrules.cli.loading import check_sources, get_catalog, read_sources, rule_options, wants_color
from ltrules.testing.suites import load


@click.command()
@rule_options
@click.option("--format", "form", type=click.Choice(report.FORMATS), default="full", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing when all is right.")
def check(
    files: tuple[str, ...],
    texts: tuple[str, ...],
    settings: tuple[str, ...],
    catalog_path: Path | None,
    form: str,
    quiet: bool,
) -> None:
    """Check rules and their tests without running them; needs no privilege.

    Exit status: 0 if all is right, 1 if one is not, 2 if a file cannot be read.
    """
    catalog = get_catalog(catalog_path)
    rules, found, parsed = check_sources(read_sources(files, texts), settings, catalog)
    tests = 0
    for file in parsed:
        if any(isinstance(item, syntax.TestBlock) for item in file.items):
            loaded = load(file.source, catalog)
            tests += len(loaded.suite.cases)
            found = list(dict.fromkeys([*found, *loaded.diagnostics]))
    text = report.render(found, form, wants_color(sys.stdout))
    if text:
        click.echo(text, nl=False)
    errors = sum(d.severity.fatal for d in found)
    if form == "full" and not quiet:
        counts = [_count(len(rules.rules), "rule"), *([_count(tests, "test")] if tests else [])]
        said = _count(errors, "error") if errors else f"{' and '.join(counts)} right"
        click.echo(f"{said} (catalog: {catalog.description})", err=bool(errors))
    if errors:
        sys.exit(1)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
