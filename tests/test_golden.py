"""The corpus: every case gives exactly its golden files, and clang takes every golden program without a warning."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bpf_codegen import INCLUDE
from golden import CASES, Golden, case_files, case_names
from ltrules.engines.compiler import FLAGS, find_clang


@pytest.fixture(params=case_names())
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a case, which is the current one, so that imports are found and no path is printed."""
    directory = CASES / request.param
    monkeypatch.chdir(directory)
    return directory


def test_case_matches_its_golden_files(case: Path, golden: Golden) -> None:
    first, second = case_files(case), case_files(case)
    assert first == second, "not deterministic"
    assert any(first.values())
    for name, text in first.items():
        golden.check(case / name, text)


def test_clang_has_nothing_to_say_about_a_golden_program(case: Path) -> None:
    clang = find_clang()
    if clang is None:
        pytest.skip("clang is not installed")
    programs = list(case.glob("*.bpf.c"))
    assert programs or (case / "diagnostics.txt").exists()
    for program in programs:
        done = subprocess.run(
            [clang, *FLAGS, "-Werror", "-Wno-unused-function", "-I", INCLUDE, "-c", program, "-o", "/dev/null"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_the_corpus_is_not_empty() -> None:
    assert len(case_names()) >= 15
