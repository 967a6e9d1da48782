"""The kernel tests, in a guest with each kernel of the matrix: `make vm-test`, or `make vm-test KERNELS='6.1 6.12'`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.vm.guest import run
from tests.vm.kernels import Kernel, unpack

#: What runs in a guest. Of the tests of the command one: each starts it anew, which takes a quarter of a minute there.
TESTS = ("tests/vm/inside", "tests/kernel", "-k", "not test_cli_run or test_json")
#: A guest that takes longer than this hangs.
SECONDS = 1200


def test_kernel(kernel: Kernel, tmp_path: Path) -> None:
    def show(line: str) -> None:
        print(f"{kernel.name:>8} | {line}", flush=True)

    unpacked = unpack(kernel)
    show(unpacked.release)
    settings = [f"LTRULES_KERNEL={kernel.name}", "LTRULES_KERNEL_TESTS=1", "LTRULES_PATIENCE=120"]
    pytest = [sys.executable, "-m", "pytest", "-vv", "-rs", "-p", "no:cacheprovider", "--basetemp=/run/tmp/pytest"]
    ended = run(unpacked, ["env", *settings, *pytest, *TESTS], tmp_path, SECONDS, show)
    show(f"{ended.seconds:.0f} s")
    assert ended.status == 0, f"tests failed on {unpacked.release}, see above"
