"""The kernel matrix without a guest: which kernels, what a run says that goes wrong, and the page about them."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.vm import compiling, guest, kernels, page
from tests.vm.guest import Ended, GuestError, GuestHungError
from tests.vm.kernels import KERNELS, Kernel, KernelMissingError, Unpacked, kernel_named, newest, unpack

OFFERED = (
    *("6.1.0-9-amd64", "6.1.0-56-amd64", "6.1.0-56-rt-amd64", "6.1.0-56-cloud-amd64", "6.1.0-56-amd64-dbg"),
    *("6.12.98+deb12-amd64", "6.12.117+deb12-amd64", "6.12.117+deb12-rt-amd64", "6.12.117+deb12-amd64-unsigned"),
    *("7.2.12+deb13-amd64", "7.3.4+deb13-amd64", "7.3.4+deb13-rt-amd64", "7.3.4+deb13-cloud-amd64"),
)


def test_the_newest_release_of_each_kernel_is_taken() -> None:
    assert {kernel.name: newest(kernel.release, OFFERED) for kernel in KERNELS} == {
        "6.1": "6.1.0-56-amd64",
        "6.12": "6.12.117+deb12-amd64",
        "6.12-rt": "6.12.117+deb12-rt-amd64",
        "newest": "7.3.4+deb13-amd64",
    }


def test_the_page_has_a_column_for_each_kernel() -> None:
    assert list(page.columns()) == [kernel.name for kernel in KERNELS]


def test_a_kernel_that_no_index_has_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "offered", lambda: OFFERED)
    with pytest.raises(KernelMissingError, match=r"kernel 5\.4: no package index has"):
        unpack(Kernel("5.4", r"5\.4\..*"))


def test_a_kernel_that_cannot_be_downloaded_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(release: str, directory: Path) -> None:
        raise subprocess.CalledProcessError(100, ["apt-get", "download"], stderr="E: 404  Not Found")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kernels, "offered", lambda: OFFERED)
    monkeypatch.setattr(kernels, "download", fail)
    with pytest.raises(KernelMissingError, match=r"(?s)kernel 6\.1 cannot be had: .*404"):
        unpack(kernel_named("6.1"))


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(KernelMissingError, match=r"no kernel 2\.6; there are: 6\.1 6\.12 "):
        kernel_named("2.6")


@pytest.fixture
def console() -> list[str]:
    return []


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, console: list[str]) -> object:
    """Return how to run a shell script in the place of a guest, for so many seconds; the console is kept."""
    kernel = Unpacked(kernel_named("6.1"), "6.1.0-56-amd64", tmp_path)
    monkeypatch.setattr(compiling, "find_clang", lambda: Path(sys.executable))
    monkeypatch.setattr(guest, "QEMU", "sh")

    def end(script: str, seconds: int = 30) -> Ended:
        monkeypatch.setattr(guest, "virtme", lambda kernel, shared: ["sh", "-c", script, "sh", str(shared)])
        return guest.run(kernel, ["true"], tmp_path, seconds, console.append)

    return end


def test_the_status_of_the_command_comes_out_and_booting_is_not_shown(ended: object, console: list[str]) -> None:
    assert ended(f"echo BIOS; echo {guest.BOOTED}; echo done; echo 7 >$1/status").status == 7  # type: ignore[operator]
    assert console == ["done"]


def test_a_guest_that_hangs_is_killed_and_what_it_said_is_shown(ended: object, console: list[str]) -> None:
    begin = time.monotonic()
    with pytest.raises(GuestHungError, match=r"kernel 6\.1: the guest did not end within 1 s"):
        ended(f"echo {guest.BOOTED}; echo working; sleep 60; echo 0 >$1/status", seconds=1)  # type: ignore[operator]
    assert time.monotonic() - begin < 20
    assert console == ["working"]


def test_a_guest_that_does_not_boot_shows_its_console_and_is_tried_once_more(
    ended: object, console: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest, "BOOT_SECONDS", 1)
    again = f"echo panic; [ -e $1/second ] && echo {guest.BOOTED} && echo 0 >$1/status || touch $1/second; "
    assert ended(again + "[ -e $1/status ] || exec sleep 60").status == 0  # type: ignore[operator]
    assert console == ["panic", "kernel 6.1: the guest did not boot; once more"]
    with pytest.raises(GuestError, match="did not boot"):
        ended("echo panic")  # type: ignore[operator]


def test_a_machine_without_qemu_is_told_so(ended: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "QEMU", "qemu-system-nowhere")
    with pytest.raises(GuestError, match=r"kernel 6\.1: qemu-system-nowhere is missing or may not be run"):
        ended("true")  # type: ignore[operator]


def test_a_guest_that_crashes_is_no_success(ended: object, console: list[str]) -> None:
    with pytest.raises(GuestError, match="crashed"):
        ended(f"echo {guest.BOOTED}; echo Oops")  # type: ignore[operator]
    assert console == ["Oops"]


def test_clang_is_run_for_a_guest_that_asks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compiling, "find_clang", lambda: Path(sys.executable))
    (tmp_path / "tmp").mkdir()
    there = Path("/there")
    script = "print('said')\nopen('made', 'w').close()\nraise SystemExit(3)"
    with compiling.compiling(tmp_path, there):
        answer = tmp_path / "clang" / "12"
        answer.with_suffix(".new").write_text("\n".join([str(there / "tmp"), "-c", "exec(input())", "unfinished"]))
        time.sleep(5 * compiling.PERIOD)
        assert not answer.with_suffix(".status").exists()
        (tmp_path / "tmp" / "script.py").write_text(script)
        answer.with_suffix(".new").write_text("\n".join([str(there / "tmp"), "script.py", "end"]))
        deadline = time.monotonic() + 20
        while not answer.with_suffix(".status").exists() and time.monotonic() < deadline:
            time.sleep(compiling.PERIOD)
    assert answer.with_suffix(".status").read_text() == "3\n"
    assert answer.with_suffix(".output").read_text() == "said\n"
    assert (tmp_path / "tmp" / "made").exists()
