"""`ltrules show`: what the rules become, stage by stage."""

from __future__ import annotations

import dataclasses
from enum import Enum
from pathlib import Path
from typing import Any

import click

from bpf_codegen import render
from ltrules.cli.loading import get_catalog, load_rules, read_sources, rule_options, show_diagnostics
from ltrules.errors import RuleError
from ltrules.lower import lower
from ltrules.parse import parse
from ltrules.source import Span


@click.command()
@rule_options
@click.option("--c", "stage", flag_value="c", default="c", help="The generated C.  [default]")
@click.option("--plan", "stage", flag_value="plan", help="The plan: programs, maps and record layouts.")
@click.option("--syntax", "stage", flag_value="syntax", help="The syntax tree.")
def show(
    files: tuple[str, ...], texts: tuple[str, ...], settings: tuple[str, ...], catalog_path: Path | None, stage: str
) -> None:
    """Print what rules become; needs no privilege."""
    if stage == "syntax":
        for source in read_sources(files, texts):
            file, found = parse(source)
            show_diagnostics(found)
            if found:
                raise RuleError(found)
            for item in file.items:
                click.echo("\n".join(_tree(item)))
        return
    catalog = get_catalog(catalog_path)
    planned = lower(load_rules(files, texts, settings, catalog), catalog)
    click.echo(render(planned) if stage == "c" else "\n".join(_tree(planned)), nl=stage != "c")


def _tree(value: Any, name: str = "", depth: int = 0) -> list[str]:
    """Return a value as indented lines; empty and default members are left out."""
    indent = "  " * depth + (f"{name}: " if name else "")
    if isinstance(value, Enum):
        return [f"{indent}{value.value}"]
    if isinstance(value, Span):
        return []
    if dataclasses.is_dataclass(value):
        members = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
        members = [(n, v) for n, v in members if v not in (None, (), "") and not isinstance(v, Span)]
        title = type(value).__name__
        simple = [(n, v) for n, v in members if not isinstance(v, tuple) and not dataclasses.is_dataclass(v)]
        rest = [(n, v) for n, v in members if (n, v) not in simple]
        inline = "".join(f" {n}={v.value if isinstance(v, Enum) else v!r}" for n, v in simple)
        lines = [f"{indent}{title}{inline}"]
        for n, v in rest:
            lines += _tree(v, n, depth + 1)
        return lines
    if isinstance(value, tuple):
        if not any(dataclasses.is_dataclass(v) or isinstance(v, tuple) for v in value):
            return [f"{indent}{', '.join(str(v) for v in value)}"]
        return [f"{indent.rstrip()}", *(line for v in value for line in _tree(v, "", depth + 1))]
    return [f"{indent}{value!r}"]
