"""The layers of the code: who may import what, and how large a module may be."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
PACKAGES = ("ltrules", "bpf_codegen")
MODULES = sorted(path for package in PACKAGES for path in (TOP / package).rglob("*.py"))
MOST_LINES = 350

#: A library, and the only part of the package that may import it.
HOMES = {"lark": "ltrules.parse", "click": "ltrules.cli", "ctypes": "ltrules.engines"}
#: Parts that must not know of others.
STRANGERS = {
    "ltrules.parse": ("ltrules.check", "ltrules.lower", "ltrules.engines", "ltrules.sinks", "ltrules.cli"),
    "ltrules.catalog": ("ltrules.parse", "ltrules.check", "ltrules.engines", "ltrules.sinks", "ltrules.cli"),
    "ltrules.check": ("ltrules.lower", "ltrules.engines", "ltrules.sinks", "ltrules.cli", "bpf_codegen"),
    "ltrules.lower": ("ltrules.parse", "ltrules.engines", "ltrules.sinks", "ltrules.cli"),
    "ltrules.recording": ("ltrules.parse", "ltrules.check", "ltrules.engines", "ltrules.sinks", "ltrules.cli"),
    "ltrules.traces": (
        "ltrules.parse",
        "ltrules.check",
        "ltrules.lower",
        "ltrules.semantics",
        "ltrules.engines",
        "ltrules.sinks",
        "ltrules.cli",
        "bpf_codegen",
    ),
    "ltrules.semantics": (
        "ltrules.parse",
        "ltrules.check",
        "ltrules.lower",
        "ltrules.naming",
        "ltrules.engines",
        "ltrules.sinks",
        "ltrules.cli",
        "bpf_codegen",
    ),
    "ltrules.engines": ("ltrules.parse", "ltrules.check", "ltrules.sinks", "ltrules.cli"),
    "ltrules.testing": ("ltrules.lower", "ltrules.naming", "ltrules.engines", "ltrules.cli", "bpf_codegen"),
    "ltrules.sinks": ("ltrules.engines", "ltrules.lower", "ltrules.cli", "bpf_codegen"),
}


def name_of(path: Path) -> str:
    """Return the dotted name of a module or package."""
    parts = path.relative_to(TOP).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Iterate over the modules that a file imports, anywhere in it; `from a import b` counts as a and a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield module
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.ImportFrom():
                pytest.fail(f"{path}:{node.lineno}: imports are absolute here")


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def breaches(*, inside: str = "", outside: str = "", of: tuple[str, ...]) -> list[str]:
    """Return "module imports other" for each module of a package, or out of one, that imports one of these."""
    return [
        f"{name_of(path)} imports {module}"
        for path in MODULES
        if (not inside or within(name_of(path), inside)) and not (outside and within(name_of(path), outside))
        for module in imports(path)
        if any(within(module, package) for package in of)
    ]


def test_modules_are_found() -> None:
    names = [name_of(path) for path in MODULES]
    assert {"ltrules", "ltrules.source", "ltrules.engines.libbpf", "bpf_codegen.render"} <= set(names)
    assert breaches(inside="ltrules.parse", of=("lark",)), "the search for imports finds nothing"


@pytest.mark.parametrize(("library", "home"), HOMES.items())
def test_library_stays_at_home(library: str, home: str) -> None:
    assert not breaches(outside=home, of=(library,))


@pytest.mark.parametrize(("part", "strangers"), STRANGERS.items())
def test_part_does_not_know_strangers(part: str, strangers: tuple[str, ...]) -> None:
    assert any(within(name_of(path), part) for path in MODULES), f"there is no {part}"
    assert not breaches(inside=part, of=strangers)


def test_code_generator_is_a_leaf() -> None:
    known = {*sys.stdlib_module_names, "bpf_codegen"}
    foreign = {
        m for p in MODULES if within(name_of(p), "bpf_codegen") for m in imports(p) if m.split(".")[0] not in known
    }
    assert not foreign


def test_nothing_imports_the_command_line() -> None:
    found = breaches(outside="ltrules.cli", of=("ltrules.cli",))
    assert not [breach for breach in found if not breach.startswith("ltrules.__main__ ")]


def test_modules_are_small() -> None:
    sizes = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert not {name: lines for name, lines in sizes.items() if lines > MOST_LINES}


def test_every_module_says_what_it_is_for() -> None:
    assert not [name_of(p) for p in MODULES if not ast.get_docstring(ast.parse(p.read_text(encoding="utf-8")))]
