"""What several verbs share: options, and the way from arguments to checked rules."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from ltrules import model, report, syntax
from ltrules.catalog import Catalog, load_catalog, machine_catalog
from ltrules.check import check
from ltrules.diagnostics import Diagnostic
from ltrules.errors import InputError, RuleError
from ltrules.parse import parse
from ltrules.resources import resource, shipped_rules
from ltrules.source import COMMAND_LINE, LARGEST_FILE, Source, decode_source, read_source
from ltrules.units import parse_duration

_F = TypeVar("_F", bound=Callable[..., Any])


class Duration(click.ParamType[int]):
    """A duration as rules write it; converted to ns."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(f"`{value}`: {error}", param, ctx)


def rule_options(command: _F) -> _F:
    """Add the options that name rules, their parameters and the catalog."""
    for decorate in (
        click.argument("files", metavar="[FILE]...", nargs=-1),
        click.option("-e", "--expression", "texts", multiple=True, metavar="RULE", help="A rule as text; repeatable."),
        click.option(
            "-p", "--param", "settings", multiple=True, metavar="NAME=VALUE",
            help="Set a param: `limit=5ms` for every rule that has it, or `RULE.limit=5ms`.",
        ),
        catalog_option,
    ):  # fmt: skip
        command = decorate(command)
    return command


def catalog_option(command: _F) -> _F:
    """Add the option that takes a saved catalog."""
    return click.option(
        "--catalog", "catalog_path", type=click.Path(path_type=Path), metavar="FILE",
        help="Use a catalog made by `ltrules catalog save` instead of this machine's.",
    )(command)  # fmt: skip


def get_catalog(path: Path | None) -> Catalog:
    """Return the catalog of this machine, or a saved one."""
    return machine_catalog() if path is None else load_catalog(path)


def wants_color(stream: Any) -> bool:
    """Tell whether a stream shows colour: a terminal, and the user has not said no."""
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def parse_settings(settings: Sequence[str]) -> dict[str, str]:
    """Return the `-p` options by name. Raises InputError."""
    values = {}
    for setting in settings:
        name, sign, value = setting.partition("=")
        if not sign or not name:
            raise InputError(f"-p {setting}: write NAME=VALUE, as `-p limit=5ms`")
        values[name] = value
    return values


def read_sources(files: Sequence[str], texts: Sequence[str]) -> list[Source]:
    """Return the texts that the arguments name. Raises InputError."""
    if not files and not texts:
        raise InputError("no rules: name a file, or give a rule with -e; `ltrules run std:sched` runs a shipped one")
    sources = [_read(name) for name in files]
    if texts:
        sources.append(Source(COMMAND_LINE, "\n".join(texts)))
    return sources


def _read(name: str) -> Source:
    if name == "-":
        return decode_source("<stdin>", sys.stdin.buffer.read(LARGEST_FILE + 1))
    if name.startswith("std:"):
        return read_source(shipped(name.removeprefix("std:")))
    return read_source(Path(name))


def shipped(name: str) -> Path:
    """Return the path of a shipped rule file by its name. Raises InputError."""
    known = {path.stem: path for path in shipped_rules()}
    if name.removesuffix(".lt") not in known:
        raise InputError(f"there are no shipped rules `{name}`; there are: {', '.join(known)}")
    return known[name.removesuffix(".lt")]


def check_sources(
    sources: Sequence[Source], settings: Sequence[str], catalog: Catalog
) -> tuple[model.RuleSet, list[Diagnostic], list[syntax.File]]:
    """Parse and check; return the rules, everything found, and the syntax."""
    found: list[Diagnostic] = []
    files = []

    def read(path: Path) -> syntax.File:
        file, diagnostics = parse(read_source(path))
        found.extend(diagnostics)
        return file

    for source in sources:
        file, diagnostics = parse(source)
        found.extend(diagnostics)
        files.append(file)
    broken = any(d.severity.fatal for d in found)
    values = parse_settings(settings)
    # With a file that does not parse, a setting may belong to what could not be read.
    rules, diagnostics = check(files, catalog, read, {} if broken else values, resource("rules"))
    return rules, [*found, *diagnostics], files


def load_rules(files: Sequence[str], texts: Sequence[str], settings: Sequence[str], catalog: Catalog) -> model.RuleSet:
    """Return rules that all check; warnings go to stderr. Raises RuleError after printing what is wrong."""
    rules, found, parsed = check_sources(read_sources(files, texts), settings, catalog)
    show_diagnostics(found)
    if any(d.severity.fatal for d in found):
        raise RuleError(found)
    if not rules.rules:
        tests = any(isinstance(item, syntax.TestBlock) for file in parsed for item in file.items)
        raise InputError("there is no rule in what was given" + (", only tests: see `ltrules test`" if tests else ""))
    return rules


def show_diagnostics(found: Sequence[Diagnostic]) -> None:
    """Print diagnostics for people on stderr."""
    if found:
        click.echo(report.render(found, color=wants_color(sys.stderr)), err=True)
