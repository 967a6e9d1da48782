"""C text to a BPF object with clang, cached by what goes into it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from bpf_codegen import INCLUDE
from ltrules import cache
from ltrules.errors import CompileError, EngineUnavailable

#: Version 3 of the instruction set has 32-bit jumps (Linux 5.1) and lets clang use compare-and-swap with results.
FLAGS = (
    *("-O2", "-g", "-target", "bpf", "-mcpu=v3", "-std=gnu11", "-nostdinc", "-fno-strict-aliasing", "-fwrapv"),
    # Some distributions turn this on for every target; BPF has no function to report a smashed stack to.
    "-fno-stack-protector",
    *("-Wall", "-Werror=implicit-function-declaration", "-Werror=incompatible-pointer-types"),
    *("-Werror=int-conversion", "-Werror=return-type", "-Werror=uninitialized"),
    # The object is the same wherever it is compiled, and still quotes its own lines in the verifier's log.
    "-fdebug-compilation-dir=.",
)
SOURCE = "rules.bpf.c"
OLDEST_CLANG = 12
TIME_LIMIT = 60.0  # s
NO_CLANG = f"clang is missing: install it (version {OLDEST_CLANG} or newer), on Debian by `apt-get install clang`"


def find_clang() -> Path | None:
    """Return `clang`, else the newest `clang-N`, on PATH; None if there is none."""
    if plain := shutil.which("clang"):
        return Path(plain)
    found: dict[int, Path] = {}
    for directory in os.get_exec_path():
        with contextlib.suppress(OSError):
            for path in Path(directory).glob("clang-*"):
                version = path.name.removeprefix("clang-")
                if version.isdecimal() and os.access(path, os.X_OK):
                    found.setdefault(int(version), path)
    return found[max(found)] if found else None


def compile_object(text: str) -> bytes:
    """Return the BPF object of a generated C text; from the cache, where no clang is started, or even needed.

    Raises EngineUnavailable if there is no clang that can do it, and CompileError if clang refuses the text.
    """
    key = _key(text)
    clang = find_clang()
    if clang is None:
        data = _cached_by_any(key)
        if data is None:
            raise EngineUnavailable(NO_CLANG)
        return data
    name = f"{key}-{_identity(clang)}.o"
    data = _cached(name)
    if data is None:
        data = _compile(clang, text)
        cache.write(name, hashlib.sha256(data).digest() + data)
    return data


def anything_cached() -> bool:
    """Tell whether the cache holds an object, so that some rules may run without clang."""
    directory = cache.cache_directory()
    return directory is not None and any(directory.glob("object-*.o"))


def _key(text: str) -> str:
    """Return the name of what is compiled: the text, the headers and the flags."""
    digest = hashlib.sha256(repr(FLAGS).encode())
    for header in _headers():
        digest.update(header.name.encode() + b"\0" + header.read_bytes() + b"\0")
    digest.update(text.encode())
    return f"object-{digest.hexdigest()[:32]}"


def _identity(clang: Path) -> str:
    """Return a name for this very compiler, without starting it."""
    real = clang.resolve()
    status = real.stat()
    return hashlib.sha256(f"{real} {status.st_mtime_ns} {status.st_size}".encode()).hexdigest()[:16]


def _headers() -> list[Path]:
    return sorted(INCLUDE.glob("*.h"))


def _cached(name: str) -> bytes | None:
    """Return the object stored under a name, if it is there and whole."""
    stored = cache.read(name)
    if stored is None or hashlib.sha256(stored[32:]).digest() != stored[:32]:
        return None
    return stored[32:]


def _cached_by_any(key: str) -> bytes | None:
    """Return an object of this text, whichever compiler made it."""
    directory = cache.cache_directory()
    names = sorted(path.name for path in directory.glob(f"{key}-*.o")) if directory else []
    return next((data for data in map(_cached, names) if data is not None), None)


def _compile(clang: Path, text: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="ltrules-") as name:
        directory = Path(name)
        for header in _headers():
            shutil.copyfile(header, directory / header.name)
        (directory / SOURCE).write_text(text)
        result = _run([str(clang), *FLAGS, "-I", ".", "-c", SOURCE, "-o", "rules.o"], directory)
        if result.returncode:
            raise _refusal(clang, result.stdout)
        _strip(clang, directory)
        return (directory / "rules.o").read_bytes()


def _strip(clang: Path, directory: Path) -> None:
    """Remove DWARF, which only the kernel's BTF was made from; without llvm-strip the object is just larger."""
    suffix = clang.name.removeprefix("clang")
    beside = clang.resolve().with_name("llvm-strip")
    strip = shutil.which(f"llvm-strip{suffix}") or shutil.which(str(beside))
    if strip and _run([strip, "-g", "rules.o", "-o", "stripped.o"], directory).returncode == 0:
        (directory / "stripped.o").replace(directory / "rules.o")


def _run(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the compiler's in a directory; its output, both streams, is text in English."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    try:
        return subprocess.run(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=TIME_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        output = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else ""
        raise CompileError(f"{command[0]} did not finish within {TIME_LIMIT:.0f} s", output) from None
    except OSError as error:
        raise EngineUnavailable(f"{command[0]} cannot be started: {error.strerror}") from None


def _refusal(clang: Path, output: str) -> CompileError | EngineUnavailable:
    """Return what to say of a clang that failed: it may be unfit, else the text is to blame."""
    if "No available targets are compatible" in output or "unable to create target" in output:
        return EngineUnavailable(f"{clang} cannot compile for BPF: install the distribution's own clang", output)
    version = re.search(r"clang version (\d+)", _run([str(clang), "--version"], Path("/")).stdout)
    if version and int(version[1]) < OLDEST_CLANG:
        return EngineUnavailable(f"{clang} is version {version[1]}: {OLDEST_CLANG} or newer is needed", output)
    return CompileError(f"{clang} refuses the generated C: this is a bug in ltrules, please report it", output)
