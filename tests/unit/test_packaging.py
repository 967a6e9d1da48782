"""What is built can be used without the checkout: the sdist, and the wheel made from it."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
USE = """
from pathlib import Path

import bpf_codegen, ltrules
from ltrules.catalog.events import Event, Field, Shape
from ltrules.check import check
from ltrules.parse import parse
from ltrules.resources import resource
from ltrules.source import COMMAND_LINE, Source

here = Path.cwd()
for place in (ltrules.__file__, bpf_codegen.__file__, resource("grammar"), resource("rules")):
    assert Path(place).is_relative_to(here), place

class Catalog:
    description, machine = "made up", "x86_64"
    def find(self, name):
        pid = Field("pid", "pid_t", Shape.INT, 8, 4, True)
        return (Event("sched", name, {"pid": pid}),)
    def names(self):
        return ()

text = "in a key pid, out b key pid, thresh 5us"
file, mistakes = parse(Source(COMMAND_LINE, text))
rules, more = check([file], Catalog(), lambda path: None)
print(len(rules.rules), mistakes + more)
"""


def run(*arguments: str, cwd: Path) -> str:
    """Return what a run of this Python printed; fail with its errors if it fails."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        pytest.fail(done.stdout + done.stderr, pytrace=False)
    return done.stdout


def shipped() -> set[str]:
    """Return the names in a wheel that the files of this checkout stand for."""
    inside = ("ltrules/**/*.py", "ltrules/data/*", "ltrules/py.typed", "bpf_codegen/*.py", "bpf_codegen/include/*.h")
    names = {str(path.relative_to(TOP)) for pattern in inside for path in TOP.glob(pattern)}
    moved = {
        f"ltrules/{path.relative_to(TOP)}"
        for directory in ("grammar", "rules")
        for path in (TOP / directory).rglob("*")
        if path.is_file()
    }
    return names | moved


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the sdist and a wheel that was built from it."""
    directory = tmp_path_factory.mktemp("dist")
    # No isolation: hatchling is there, and a test needs no package index.
    run("-m", "build", "--no-isolation", "--outdir", str(directory), str(TOP), cwd=directory)
    return directory


def only(directory: Path, pattern: str) -> Path:
    (path,) = directory.glob(pattern)
    return path


def test_wheel_holds_all_that_is_needed(built: Path) -> None:
    with zipfile.ZipFile(only(built, "*.whl")) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        metadata = {Path(name).name for name in wheel.namelist() if ".dist-info/" in name}
    assert names == shipped()
    assert {"ltrules/grammar/ltrules.lark", "ltrules/rules/sched.lt", "ltrules/data/events.json.gz"} <= names
    assert {"ltrules/rules/sched_test.lt", "ltrules/rules/traces/sched.jsonl.gz"} <= names
    assert {"bpf_codegen/include/ltrules.bpf.h", "ltrules/data/syscalls.json", "ltrules/py.typed"} <= names
    assert {"METADATA", "entry_points.txt", "LICENSE"} <= metadata


def test_sdist_holds_sources_and_tests_but_nothing_local(built: Path) -> None:
    with tarfile.open(only(built, "*.tar.gz")) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"pyproject.toml", "Makefile", "LICENSE", "README.md", "CHANGELOG.md", "tools/setup.sh"} <= names
    assert {"grammar/ltrules.lark", "rules/sched.lt", "tests/conftest.py", "tests/unit/test_packaging.py"} <= names
    tops = {name.split("/")[0] for name in names}
    assert not tops & {".venv", ".git", ".ci", ".mypy_cache", ".pytest_cache", ".hypothesis", "dist"}


def test_installed_wheel_parses_and_checks_a_rule(built: Path, tmp_path: Path) -> None:
    wheel = str(only(built, "*.whl"))
    options = ("--quiet", "--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check")
    run("-m", "pip", "install", *options, "--target", str(tmp_path), wheel, cwd=tmp_path)
    # PYTHONPATH and the current directory come before the editable checkout in site-packages.
    assert run("-c", USE, cwd=tmp_path).strip() == "1 ()"
