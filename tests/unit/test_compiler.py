"""The compiler: which clang, what the cache saves, and what is said when it cannot."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from ltrules import cache
from ltrules.engines import compiler
from ltrules.errors import CompileError, EngineUnavailable

PROGRAM = """#include "ltrules.bpf.h"
char LICENSE[] SEC("license") = "GPL";
SEC("tp_btf/sched_switch") int on_switch(u64 *ctx) { return 0; }
"""

needs_clang = pytest.mark.skipif(compiler.find_clang() is None, reason="clang is not installed")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory as the whole PATH."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    return directory


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def counting_clang(directory: Path, name: str = "clang") -> Callable[[], int]:
    """Put a clang there that writes its arguments as the object; return how to learn how often it was started."""
    log = directory.parent / f"{name}.log"
    script(directory / name, f'echo started >>{log}\necho "object of $*" >rules.o')
    return lambda: len(log.read_text().splitlines()) if log.exists() else 0


def test_plain_clang_is_preferred(path: Path) -> None:
    script(path / "clang-19", "exit 0")
    plain = script(path / "clang", "exit 0")

    assert compiler.find_clang() == plain


def test_the_newest_numbered_clang_is_next(path: Path) -> None:
    for name in ("clang-9", "clang-14", "clang-tidy-20", "clang-format"):
        script(path / name, "exit 0")
    (path / "clang-30").write_text("not executable")

    assert compiler.find_clang() == path / "clang-14"


def test_no_clang_says_what_to_install(path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="apt-get install clang"):
        compiler.compile_object(PROGRAM)


@needs_clang
def test_an_object_is_a_bpf_elf_with_btf_and_without_dwarf() -> None:
    data = compiler.compile_object(PROGRAM)

    assert data[:4] == b"\x7fELF"
    assert int.from_bytes(data[18:20], "little") == 247  # EM_BPF
    assert b".BTF.ext" in data
    if shutil.which("llvm-strip"):
        assert b".debug_info" not in data


@needs_clang
def test_an_object_names_no_directory_of_the_machine(tmp_path: Path) -> None:
    data = compiler.compile_object(PROGRAM)

    assert str(compiler.INCLUDE).encode() not in data
    assert b"/tmp" not in data


@needs_clang
def test_a_refused_text_carries_what_clang_said() -> None:
    with pytest.raises(CompileError, match="bug in ltrules") as caught:
        compiler.compile_object(PROGRAM + "int broken(void) { return undeclared; }\n")

    assert "undeclared" in caught.value.log
    assert "rules.bpf.c:4" in caught.value.log


@needs_clang
def test_calling_an_unknown_function_is_refused() -> None:
    with pytest.raises(CompileError):
        compiler.compile_object(PROGRAM + "int broken(void) { return nobody_knows(); }\n")


def test_a_second_compilation_starts_no_clang(path: Path) -> None:
    started = counting_clang(path)

    first = compiler.compile_object(PROGRAM)
    second = compiler.compile_object(PROGRAM)

    assert first == second
    assert started() == 1


def test_another_text_is_compiled(path: Path) -> None:
    started = counting_clang(path)

    compiler.compile_object(PROGRAM)
    compiler.compile_object(PROGRAM + "\n")

    assert started() == 2


def test_another_header_is_compiled(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = counting_clang(path)
    include = tmp_path / "include"
    include.mkdir()
    monkeypatch.setattr(compiler, "INCLUDE", include)

    for text in ("/* one */", "/* two */"):
        (include / "ltrules.bpf.h").write_text(text)
        compiler.compile_object(PROGRAM)

    assert started() == 2


def test_another_compiler_compiles_anew(path: Path) -> None:
    started = counting_clang(path)

    compiler.compile_object(PROGRAM)
    os.utime(path / "clang", (1, 1))
    compiler.compile_object(PROGRAM)

    assert started() == 2


@pytest.mark.parametrize("damage", [lambda data: data[:-3], lambda data: b"", lambda data: data + b"x"])
def test_a_damaged_object_is_made_again(path: Path, damage: Callable[[bytes], bytes]) -> None:
    started = counting_clang(path)
    whole = compiler.compile_object(PROGRAM)
    directory = cache.cache_directory()
    assert directory is not None
    (stored,) = directory.glob("object-*.o")
    stored.write_bytes(damage(stored.read_bytes()))

    assert compiler.compile_object(PROGRAM) == whole
    assert started() == 2


def test_a_cached_object_needs_no_clang(path: Path) -> None:
    counting_clang(path)
    assert not compiler.anything_cached()
    data = compiler.compile_object(PROGRAM)
    (path / "clang").unlink()

    assert compiler.anything_cached()
    assert compiler.compile_object(PROGRAM) == data
    with pytest.raises(EngineUnavailable):
        compiler.compile_object(PROGRAM + "\n")


def test_cached_objects_are_private(path: Path) -> None:
    counting_clang(path)
    compiler.compile_object(PROGRAM)

    directory = cache.cache_directory()
    assert directory is not None
    (stored,) = directory.glob("object-*.o")
    assert stat.S_IMODE(stored.stat().st_mode) & 0o077 == 0


def test_without_a_cache_directory_it_compiles_each_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = counting_clang(path)
    monkeypatch.setattr(cache, "cache_directory", lambda: None)

    compiler.compile_object(PROGRAM)
    compiler.compile_object(PROGRAM)

    assert started() == 2


def test_a_hanging_clang_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(path / "clang", "echo thinking; exec /bin/sleep 10")
    monkeypatch.setattr(compiler, "TIME_LIMIT", 0.2)

    with pytest.raises(CompileError, match="did not finish"):
        compiler.compile_object(PROGRAM)


def test_a_clang_without_bpf_is_unfit(path: Path) -> None:
    script(path / "clang", "echo 'error: unable to create target: No available targets'; exit 1")

    with pytest.raises(EngineUnavailable, match="cannot compile for BPF"):
        compiler.compile_object(PROGRAM)


def test_an_old_clang_is_unfit(path: Path) -> None:
    script(path / "clang", "echo 'Debian clang version 9.0.1-16'; exit 1")

    with pytest.raises(EngineUnavailable, match="version 9: 12 or newer"):
        compiler.compile_object(PROGRAM)


def test_a_clang_that_does_not_start_is_named(path: Path) -> None:
    (path / "clang").write_bytes(b"\x7fELF no program")
    (path / "clang").chmod(0o755)

    with pytest.raises(EngineUnavailable, match="cannot be started"):
        compiler.compile_object(PROGRAM)


def test_a_failing_strip_leaves_the_object(path: Path) -> None:
    counting_clang(path)
    script(path / "llvm-strip", "exit 1")

    assert compiler.compile_object(PROGRAM).startswith(b"object of -O2")
