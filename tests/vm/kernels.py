"""The kernels of the matrix: found in the index of Debian's packages, downloaded and unpacked, never installed."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: Where Debian puts its newest kernels, built for the stable release.
BACKPORTS = "trixie-backports"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
INDEX_SECONDS = 3600
#: `linux-image-RELEASE`, by what RELEASE matches. The highest wins.
IMAGE = "linux-image-"


@dataclass(frozen=True)
class Kernel:
    """A kernel to test: what we call it, and a regular expression of its releases, as `uname -r` says them."""

    name: str
    release: str


KERNELS = (
    Kernel("6.1", r"6\.1\.0-\d+-amd64"),
    Kernel("6.12", r"6\.12\.\d+\+deb\d+-amd64"),
    Kernel("6.12-rt", r"6\.12\.\d+\+deb\d+-rt-amd64"),
    Kernel("newest", r"\d+\.\d+\.\d+\+deb\d+-amd64"),
)


class KernelMissingError(Exception):
    """A kernel cannot be had. The message says which, why, and what to do."""


@dataclass(frozen=True)
class Unpacked:
    """A kernel on this machine."""

    kernel: Kernel
    release: str
    directory: Path

    @property
    def image(self) -> Path:
        """The kernel; newer packages have it beside the modules."""
        image = self.directory / "boot" / f"vmlinuz-{self.release}"
        return image if image.exists() else self.directory / "lib" / "modules" / self.release / "vmlinuz"


def kernel_named(name: str) -> Kernel:
    """Return a kernel of the matrix. Raises KernelMissingError."""
    for kernel in KERNELS:
        if kernel.name == name:
            return kernel
    raise KernelMissingError(f"there is no kernel {name}; there are: {' '.join(kernel.name for kernel in KERNELS)}")


def unpack(kernel: Kernel) -> Unpacked:
    """Return the newest release of a kernel, downloaded if it is not in the cache. Raises KernelMissingError."""
    try:
        release = newest(kernel.release, offered())
        if not release:
            raise KernelMissingError(f"kernel {kernel.name}: no package index has a package {IMAGE}{kernel.release}")
        directory = cache_directory() / release
        if not directory.exists():
            download(release, directory)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or ""
        raise KernelMissingError(f"kernel {kernel.name} cannot be had: {error}\n{said}".rstrip()) from error
    return Unpacked(kernel, release, directory)


def newest(pattern: str, releases: tuple[str, ...]) -> str:
    """Return the highest release that a regular expression matches, "" if there is none."""
    found = [release for release in releases if re.fullmatch(pattern, release)]
    return max(found, key=lambda release: [int(number) for number in re.findall(r"\d+", release)], default="")


@cache
def offered() -> tuple[str, ...]:
    """Return the releases that the package index offers for this machine; the index is at most an hour old."""
    updated = cache_directory() / "apt" / "updated"
    if not updated.exists() or time.time() - updated.stat().st_mtime > INDEX_SECONDS:
        apt("apt-get", "update", "--error-on=any")
        updated.touch()
    found = apt("apt-cache", "search", "--names-only", f"^{IMAGE}[0-9]")
    return tuple(line.split()[0].removeprefix(IMAGE) for line in found.splitlines())


def download(release: str, directory: Path) -> None:
    """Fetch the packages of a release and unpack them into a new directory."""
    image = f"{IMAGE}{release}"
    # Newer ones are split: the image package needs others of the same release that have the kernel and the modules.
    depends = apt("apt-cache", "depends", image)
    needed = re.findall(rf"Depends: (linux-\S+-{re.escape(release)})$", depends, re.MULTILINE)
    with tempfile.TemporaryDirectory(dir=directory.parent) as name:
        there = Path(name)
        tree = there / "tree"
        apt("apt-get", "download", image, *needed, cwd=there)
        for package in there.glob("*.deb"):
            command("dpkg-deb", "--extract", str(package), str(tree))
        if not (tree / "lib").exists():  # as on a system whose /lib is in /usr
            (tree / "lib").symlink_to("usr/lib")
        command("depmod", "--basedir", str(tree), release)
        tree.rename(directory)


def cache_directory() -> Path:
    """Return the directory that keeps unpacked kernels, made if need be."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ltrules-vm"
    home.mkdir(parents=True, exist_ok=True)
    return home


def apt(program: str, *arguments: str, cwd: Path | None = None) -> str:
    """Run a command of apt with an index of our own, so that the machine's stays as it is; return its output."""
    state = cache_directory() / "apt"
    for directory in ("lists/partial", "archives/partial"):
        (state / directory).mkdir(parents=True, exist_ok=True)
    options = {
        "Dir::Etc::SourceList": sources(state / "sources.list"),
        "Dir::Etc::SourceParts": "-",
        "Dir::State::Lists": state / "lists",
        "Dir::Cache": state,
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",
    }
    return command(program, "-q", *(f"-o{key}={value}" for key, value in options.items()), *arguments, cwd=cwd)


def command(*words: str, cwd: Path | None = None) -> str:
    """Run a program and return what it printed. Raises OSError or subprocess.SubprocessError."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    done = subprocess.run(
        words, cwd=cwd, env=os.environ | {"PATH": path}, check=True, capture_output=True, text=True, timeout=600
    )
    return done.stdout


@cache
def sources(file: Path) -> Path:
    """Write to a file the one-line sources of Debian that this machine uses, and backports; return the file.

    Raises OSError if this machine has no source for its own release.
    """
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    listed = command("apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)")
    places = {
        name: uri for name, uri in map(str.split, listed.splitlines()) if name in (release, f"{release}-security")
    }
    if release not in places:
        raise OSError(f"the sources of apt do not have Debian's {release or 'release'}")
    places[BACKPORTS] = places[release]
    file.write_text("".join(f"deb [signed-by={KEYRING}] {uri} {name} main\n" for name, uri in places.items()))
    return file


def forget_old(kept: set[Path]) -> None:
    """Remove kernels from the cache that the matrix no longer uses."""
    for directory in cache_directory().iterdir():
        if directory.name != "apt" and directory not in kept:
            shutil.rmtree(directory)
