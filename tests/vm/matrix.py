"""The kernel tests, in a guest with each kernel of the matrix: `make vm-test`, or `make vm-test KERNELS='6.1 6.12'`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm.guest import run
from tests.vm.kernels import Kernel, unpack

PYTEST = (
    *(sys.executable, "-m", "pytest", "-vv", "--tb=short", "--no-summary", "--durations=10"),
    *("-p", "tests.vm.at_once", "-p", "no:cacheprovider", "--basetemp=/run/tmp/pytest"),
)
#: A test that takes longer shows where it is.
STUCK = 180


@dataclass(frozen=True)
class Suite:
    """What a guest runs: arguments of pytest, settings of the environment; and the time after which it hangs, in s."""

    name: str
    arguments: tuple[str, ...]
    settings: tuple[str, ...] = ()
    seconds: int = 1500


SUITES = (
    # Of the tests that start the command one: that alone takes a quarter of a minute in a guest.
    Suite(
        "libbpf",
        (
            *("tests/vm/inside", "tests/kernel", "--ignore=tests/kernel/test_record.py"),
            *("--ignore=tests/kernel/test_traces.py", "-k", "not test_cli_run or test_json"),
        ),
    ),
)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_kernel(kernel: Kernel, suite: Suite, tmp_path: Path) -> None:
    def show(line: str) -> None:
        print(f"{kernel.name:>8} | {line}", flush=True)

    unpacked = unpack(kernel)
    show(unpacked.release)
    settings = (f"LTRULES_KERNEL={kernel.name}", "LTRULES_KERNEL_TESTS=1", "LTRULES_PATIENCE=120", *suite.settings)
    command = ["env", *settings, *PYTEST, "-o", f"faulthandler_timeout={STUCK}", *suite.arguments]
    ended = run(unpacked, command, tmp_path, suite.seconds, show)
    show(f"{ended.seconds:.0f} s")
    assert ended.status == 0, f"tests failed on {unpacked.release}, see above"
