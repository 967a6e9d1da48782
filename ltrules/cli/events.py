"""`ltrules events`: which events there are, and their fields as rules see them."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click

from ltrules.catalog import Event, Field, Shape
from ltrules.cli.loading import catalog_option, get_catalog
from ltrules.diagnostics import closest
from ltrules.errors import InputError


@click.command()
@click.argument("pattern", default="*", required=False)
@click.option("-f", "--fields", is_flag=True, help="Show fields even for many events.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object an event.")
@catalog_option
def events(pattern: str, fields: bool, as_json: bool, catalog_path: Path | None) -> None:
    """List events whose name matches PATTERN; needs no privilege.

    PATTERN is a name (`sched_switch`, `sched:sched_switch`), a part of one (`softirq`), or has `*` in it. Fields
    are shown when at most eight events match.
    """
    catalog = get_catalog(catalog_path)
    names = list(catalog.names())
    found = [n for n in names if _matches(n, pattern)]
    if not found:
        meant = closest(pattern, [n.split(":", 1)[1] for n in names])
        raise InputError(f"no event matches `{pattern}`" + (f"; did you mean `{meant}`?" if meant else ""))
    detailed = fields or len(found) <= 8
    for name in found:
        if as_json:
            click.echo(json.dumps(_record(catalog.find(name)[0])))
        elif detailed:
            click.echo("\n".join(_lines(catalog.find(name)[0])))
        else:
            click.echo(name)


def _matches(name: str, pattern: str) -> bool:
    bare = name.split(":", 1)[1]
    if "*" in pattern:
        return fnmatchcase(name, pattern) or fnmatchcase(bare, pattern)
    return pattern in (name, bare) or pattern in name


def sort_of(field: Field) -> str:
    """Return the type of a field as rules see it."""
    match field.shape:
        case Shape.STRING:
            return f"string({field.size})"
        case Shape.DYNAMIC_STRING:
            return "string"
        case Shape.INT:
            return "pointer" if field.pointer else f"{'s' if field.signed else 'u'}{8 * field.size}"
    if field.element_size:
        return f"{'s' if field.signed else 'u'}{8 * field.element_size}[{field.size // field.element_size}]"
    return "not readable"


def _lines(event: Event) -> list[str]:
    width = max((len(n) for n in event.fields), default=0)
    lines = [event.full_name]
    for field in event.fields.values():
        line = f"  {field.name:<{width}}  {sort_of(field):<12} {field.c_type}"
        if field.symbols:
            shown = ", ".join(list(field.symbols.values())[:6])
            line += f"  ({shown}{', …' if len(field.symbols) > 6 else ''})"
        lines.append(line.rstrip())
    return lines


def _record(event: Event) -> dict[str, Any]:
    return {
        "event": event.full_name,
        "fields": [
            {
                "name": f.name,
                "type": sort_of(f),
                "c_type": f.c_type,
                "symbols": {str(k): v for k, v in f.symbols.items()},
            }
            for f in event.fields.values()
        ],
    }
