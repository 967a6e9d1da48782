"""`ltrules check`: are these rules right?"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ltrules import report
from ltrules.cli.loading import check_sources, get_catalog, read_sources, rule_options, wants_color


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
    """Check rules without running them; needs no privilege.

    Exit status: 0 if all rules are right, 1 if one is not, 2 if a file cannot be read.
    """
    catalog = get_catalog(catalog_path)
    rules, found, _ = check_sources(read_sources(files, texts), settings, catalog)
    text = report.render(found, form, wants_color(sys.stdout))
    if text:
        click.echo(text, nl=False)
    errors = sum(d.severity.fatal for d in found)
    if form == "full" and not quiet:
        count = len(rules.rules)
        said = (
            f"{errors} error{'s' if errors != 1 else ''}"
            if errors
            else f"{count} rule{'s' if count != 1 else ''} right"
        )
        click.echo(f"{said} (catalog: {catalog.description})", err=bool(errors))
    if errors:
        sys.exit(1)
