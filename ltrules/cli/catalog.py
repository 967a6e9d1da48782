"""`ltrules catalog`: keep what this kernel offers, to check rules elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from ltrules.catalog import machine_catalog, save_catalog
from ltrules.raw import struct_paths
from ltrules.units import format_size


@click.group()
def catalog() -> None:
    """Save this kernel's events for use with `--catalog` on another machine."""


@catalog.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def save(file: Path) -> None:
    """Write the events of this kernel to FILE (compressed if its name ends in .gz)."""
    source = machine_catalog()
    save_catalog(source, file, struct_paths())
    click.echo(
        f"{file}: {sum(1 for _ in source.names())} events of {source.description}, {format_size(file.stat().st_size)}"
    )
