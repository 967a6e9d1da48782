"""The option that chooses kernels; and tests for guests are collected in guests only."""

from __future__ import annotations

import os

import pytest

from tests.vm.kernels import KERNELS, kernel_named

collect_ignore = [] if "LTRULES_SHARED" in os.environ else ["inside"]


def pytest_addoption(parser: pytest.Parser) -> None:
    names = " ".join(kernel.name for kernel in KERNELS)
    parser.addoption("--kernels", default=names, metavar="NAMES", help=f"of {names}; all by default")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kernel" in metafunc.fixturenames:
        names = metafunc.config.getoption("--kernels").split()
        metafunc.parametrize("kernel", [kernel_named(name) for name in names], ids=names)
